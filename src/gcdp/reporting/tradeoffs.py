"""Fig. 6 and 7: models as curves over guidance, small classes, and how much of each class they draw."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.records import GuidanceCurve
from gcdp.reporting.figures import axis_name, draw_estimates, label, order, style, tradeoff
from gcdp.reporting.plotting import GRAY, entitle, legend_below, panels
from gcdp.reporting.tables import marked

LEAST = 1e-5  # smallest share of pixels that a logarithmic axis shows


def distance_figure(
    curves: Mapping[str, GuidanceCurve], ceiling: Scores, keys: Sequence[str], title: str, once: Container[str] = ()
) -> Figure:
    """Fréchet distance over each of `keys`; dotted: what the referee finds in held-out pairs.

    `once`: models of a single training, where others have several.
    """
    figure, axes = panels(1, len(keys), height=3.9, sharey=True, title=title)
    for panel, key in zip(axes[0], keys):
        tradeoff(panel, curves, key, "frechet", once)
        _dotted(panel, ceiling, key)
    axes[0, 0].set(ylabel=axis_name("frechet", ceiling, 3.0))
    legend_below(figure)
    return figure


def precision_figure(curves: Mapping[str, GuidanceCurve], ceiling: Scores) -> Figure:
    """Precision over recall, both from the calibrated area on."""
    figure, axes = panels(1, 1, height=4.0)
    x, y = "semantic_recall_area", "precision"
    tradeoff(axes[0, 0], curves, x, y)
    axes[0, 0].plot(ceiling.value(x), ceiling.value(y), "k+", markersize=8, label="held-out pairs")
    axes[0, 0].set(xlabel=axis_name(x, ceiling, 5.0), ylabel=axis_name(y, ceiling, 3.0))
    legend_below(figure)
    return figure


def subset_figure(
    curves: Mapping[int, Mapping[str, GuidanceCurve]], ceiling: Scores, title: str, once: Container[str]
) -> Figure:
    """Fréchet distance over the text-image score, a panel for each number of training pairs.

    `once`: models of a single training.
    """
    figure, axes = panels(1, len(curves), height=3.6, title=title, sharey=True, sharex=True)
    most = max(curves)
    for panel, (size, shown) in zip(axes[0], curves.items()):
        tradeoff(panel, shown, "alignment", "frechet", once)
        _dotted(panel, ceiling, "alignment")
        entitle(panel, f"{size:,} pairs, {size / most:.0%}")
    axes[0, 0].set(ylabel=axis_name("frechet", ceiling, 3.0))
    legend_below(figure)
    return figure


def _dotted(panel: Axes, ceiling: Scores, key: str) -> None:
    if key in ceiling:
        panel.axvline(ceiling.value(key), color=GRAY, linewidth=1, linestyle=":", label="held-out pairs")
    panel.set(xlabel=axis_name(key, ceiling, 2.0))


def class_figure(
    recalls: Mapping[str, Mapping[str, Estimate]],
    minor: Sequence[str],
    best: Mapping[str, Scores],
    ceiling: Scores,
    shares: Mapping[str, float],
) -> Figure:
    """Recall of the classes `minor`, and the share of all pixels that each model gives to every class.

    Args:
        recalls: by model and class, with the number of captions "n".
        best: scores by model, whose shares are shown.
        ceiling: those of held-out pairs.
        shares: of all held-out pixels, by class, the largest first.
    """
    figure, axes = panels(1, 2, height=5.2, letters=False)
    entitle(axes[0, 0], "6b: recall of the smaller classes")  # 6a is `distance_figure`
    entitle(axes[0, 1], "6c: share of every class")
    names, named = list(shares), [name for name in minor if all(name in found for found in recalls.values())]
    for model, lift in _beside(list(recalls), 0.4):
        found = [recalls[model][name] for name in named]
        look = {**style(model, recalls), "label": label(model, recalls)}
        draw_estimates(axes[0, 0], np.arange(len(named)) + lift, found, across=True, **look)
    for model, lift in _beside(order(best), 0.75):
        own, look = [max(best[model].areas[name], LEAST) for name in names], style(model, best)
        axes[0, 1].plot(
            np.arange(len(names)) + lift, own, linestyle="", markersize=3.5, **look, label=label(model, best)
        )
    real = np.array([ceiling.per_class[name]["recall"] for name in named], float)
    axes[0, 0].plot(real, range(len(named)), "k|", markersize=10, label="held-out pairs")
    axes[0, 1].plot([max(share, LEAST) for share in shares.values()], color="black", linewidth=1, zorder=0)
    counts = {name: found["n"] for name, found in next(iter(recalls.values())).items()}
    _name_classes(axes[0], named, counts, names)
    legend_below(figure)
    return figure


def _beside(models: Sequence[str], width: float) -> list[tuple[str, float]]:
    """Models and how far their marks are moved, so that those of one class lie side by side within `width`."""
    return [(model, (i - (len(models) - 1) / 2) * width / len(models)) for i, model in enumerate(models)]


def _name_classes(axes: Sequence[Axes], minor: Sequence[str], counts: Mapping[str, int], names: Sequence[str]) -> None:
    axes[0].set_yticks(range(len(minor)), [f"{name} ({marked(counts[name], counts[name])})" for name in minor])
    axes[0].set(xlabel="recall, from 1 pixel (higher is better)", xlim=(-0.03, 1.03))
    axes[0].set(ylim=(len(minor) - 0.4, -0.6))
    axes[1].set_xticks(range(len(names)), names, rotation=90)
    axes[1].set(yscale="log", ylabel=f"share of all pixels (at least {LEAST:.5f} shown)")
