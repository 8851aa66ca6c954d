"""Models side by side: one name and look each in every figure, trade-off curves, estimates with intervals."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from gcdp.evaluation.attribute_groups import FEWEST
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.records import GuidanceCurve
from gcdp.reporting.plotting import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION, wrap_text

# name -> (color, marker), a color for each family of models; whatever else is shown takes the spare ones in turn
STYLES = {
    "joint": (BLUE, "o"),
    "joint_same_budget": (SKY, "o"),
    "joint_paper_settings": (SKY, "p"),
    "gaussian": (VERMILION, "s"),
    "gaussian_paper_settings": (VERMILION, "X"),
    "gaussian_same_time": (VERMILION, "P"),
    "latent": (ORANGE, "D"),
    "two_stage": (GREEN, "^"),
    "pixel_classifier": (PURPLE, "v"),
}
SPARE = ((BLACK, "P"), (GRAY, "X"), (BLACK, "*"), (GRAY, "h"))
# Its images are those of the image-only model: where both lie on one point, the larger marker shows behind the other.
BEHIND = {"pixel_classifier": 3.5}  # points added to the size of its markers
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


def side(key: str) -> str:
    """Which side of an axis is the better one: "higher is better"."""
    return f"{'higher' if MEASURES[key].higher_is_better else 'lower'} is better"


def axis_name(key: str, scores: Scores | None = None, inches: float = 2.0) -> str:
    """How an axis of `inches` calls a measure, with the better side; `scores` know the area and the text-image score.

    Axes of distances name no number of images: where several are compared, say it beside the figure.
    """
    name = MEASURES[key].column.replace("_", " ") if scores is None else scores.label(key)
    return f"{wrap_text(name, inches, 8.0)}\n({side(key)})"


def difference_name(key: str, inches: float = 1.6) -> str:
    """How an axis calls a difference of a measure, ours less another's, with the side where ours is better."""
    ahead = "above" if MEASURES[key].higher_is_better else "below"
    name = wrap_text(MEASURES[key].column.replace("_", " "), inches, 8.0)
    return f"difference in {name}\n({ahead} 0: joint is better)"


def tradeoff(panel: Axes, curves: Mapping[str, GuidanceCurve], x: str, y: str, once: Container[str] = ()) -> None:
    """Curves of measure `y` over measure `x`, a point for each guidance scale, crosses of 95 % intervals.

    `curves`: by model. The scale chosen on validation captions is drawn larger, points of fewer than `FEWEST` captions
    hollow; points that lack a measure are left out. The ends of every curve say their scale. The legend
    says "1 training" behind the models of `once`.
    """
    for model in order(curves):
        curve, look, grown = curves[model], style(model, curves), BEHIND.get(model, 0.0)
        points = [point for point in curve.points if x in point and y in point]
        xs, ys = ([point.value(measure) for point in points] for measure in (x, y))
        panel.plot(xs, ys, color=look["color"], linewidth=1.1, zorder=2)
        if not grown:
            _name_ends(panel, points, xs, ys, look["color"])
        for point in points:
            size = (7 if point.guidance == curve.guidance else 4) + grown
            errors = {"xerr": _ends([point[x]]), "yerr": _ends([point[y]])}
            faint = {"elinewidth": 0.5, "ecolor": look["color"] + "77"}
            # A distance of a study counts trainings; what stands across counts captions.
            few = max(point[x]["n"], point[y]["n"]) < FEWEST
            panel.errorbar(
                [point.value(x)], [point.value(y)], **errors, **faint, fmt=look["marker"], color=look["color"],
                markerfacecolor="white" if few else look["color"], markersize=size, zorder=2.5 if grown else 3,
            )  # fmt: skip
        panel.plot([], [], marker=look["marker"], color=look["color"], markersize=4 + grown,
                   label=label(model, curves) + " (1 training)" * (model in once))  # fmt: skip


def _name_ends(panel: Axes, points: Sequence[Scores], xs: Sequence[float], ys: Sequence[float], color: str) -> None:
    """Write the guidance at the first and the last point of a curve of several."""
    for at in {0, len(points) - 1} if len(points) > 1 else ():
        place = {"textcoords": "offset points", "xytext": (4, 4 if at else -9)}
        panel.annotate(f"{points[at].guidance:g}", (xs[at], ys[at]), color=color, fontsize=8, zorder=4, **place)


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
