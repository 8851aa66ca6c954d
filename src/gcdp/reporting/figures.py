"""Models side by side: one name and color each in every figure, trade-off curves, estimates with intervals."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from gcdp.evaluation.attribute_groups import FEWEST
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.records import GuidanceCurve

# name -> (color, marker); whatever else is shown takes the spare ones in turn
STYLES = {
    "joint": ("#0b2a45", "o"),
    "joint_same_budget": ("#1f5a8c", "o"),
    "joint_paper_settings": ("#6aa5d8", "o"),
    "gaussian": ("#c1440e", "s"),
    "gaussian_paper_settings": ("#f0b49b", "s"),
    "gaussian_same_time": ("#e58a5f", "s"),
    "latent": ("#d99a2b", "D"),
    "two_stage": ("#3f8f4f", "^"),
    "pixel_classifier": ("#8e5ea2", "v"),
}
SPARE = (("#555555", "P"), ("#a0522d", "X"), ("#008b8b", "*"), ("#b03060", "h"))
NAMES = {
    "joint": "joint",
    "joint_same_budget": "joint, budget of the rivals",
    "joint_paper_settings": "joint, the paper's settings",
    "gaussian": "image-only",
    "gaussian_paper_settings": "image-only, the paper's settings",
    "gaussian_same_time": "image-only, equal minutes",
    "latent": "latent",
    "two_stage": "layout, then image",
    "pixel_classifier": "image-only + pixel classifier",
}


def order(models: Mapping[str, Any]) -> list[str]:
    """Models in the order of every figure: ours first, rivals, then whatever else."""
    return [name for name in STYLES if name in models] + sorted(set(models) - set(STYLES))


def label(model: str, models: Container[str] = ()) -> str:
    """How figures call a model among those shown; the longer trained one says so beside its like of equal budget."""
    if model == "joint" and "joint_same_budget" in models:
        return "joint (released)"
    return NAMES.get(model, model.replace("_", " "))


def style(model: str, models: Mapping[str, Any]) -> dict[str, str]:
    """{"color", "marker"} of a model among those shown."""
    if model in STYLES:
        color, marker = STYLES[model]
    else:
        others = [name for name in order(models) if name not in STYLES]
        color, marker = SPARE[others.index(model) % len(SPARE)]
    return {"color": color, "marker": marker}


def tradeoff(panel: Axes, curves: Mapping[str, GuidanceCurve], x: str, y: str) -> None:
    """Curves of measure `y` over measure `x`, a point for each guidance scale, crosses of 95 % intervals.

    `curves`: by model. The scale chosen on validation captions is drawn larger, points of fewer than `FEWEST` captions
    hollow; points that lack a measure are left out.
    """
    for model in order(curves):
        curve, look = curves[model], style(model, curves)
        points = [point for point in curve.points if x in point and y in point]
        xs, ys = ([point.value(measure) for point in points] for measure in (x, y))
        panel.plot(xs, ys, color=look["color"], linewidth=1.1, zorder=2)
        for point in points:
            size = 7 if point.guidance == curve.guidance else 4
            errors = {"xerr": _ends([point[x]]), "yerr": _ends([point[y]])}
            faint = {"elinewidth": 0.5, "ecolor": look["color"] + "77"}
            few = min(point[x]["n"], point[y]["n"]) < FEWEST
            panel.errorbar(
                [point.value(x)], [point.value(y)], **errors, **faint, fmt=look["marker"], color=look["color"],
                markerfacecolor="white" if few else look["color"], markersize=size, zorder=3,
            )  # fmt: skip
        panel.plot([], [], marker=look["marker"], color=look["color"], markersize=4, label=label(model, curves))


def draw_estimates(
    panel: Axes, places: Sequence[float], estimates: Sequence[Estimate | None], across: bool = False, **look
) -> None:
    """Markers with 95 % intervals, upright over `places`, or lying at the heights `places` with `across`.

    What is absent leaves a gap, and an estimate without an interval has a marker alone. `look` goes to `plot`
    (color, marker, label, ...).
    """
    kept = [(place, each) for place, each in zip(places, estimates, strict=True) if each and each["value"] is not None]
    values, at = [each["value"] for _, each in kept], [place for place, _ in kept]
    bars = {"xerr" if across else "yerr": _ends([each for _, each in kept])}
    x, y = (values, at) if across else (at, values)
    if kept:
        panel.errorbar(x, y, **bars, fmt="none", elinewidth=0.8, ecolor=look.get("color"))
    panel.plot(x, y, **{"linestyle": "", "marker": "o", "markersize": 4, **look})


def _ends(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Distances to the ends of intervals as matplotlib wants them, 0 where there is none."""
    ends = [(each["value"], each["low"], each["high"]) for each in estimates]
    below = [0.0 if low is None else max(0.0, value - low) for value, low, _ in ends]
    return [below, [0.0 if high is None else max(0.0, high - value) for value, _, high in ends]]
