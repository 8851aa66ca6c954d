"""Figures of what referees find: their ceiling, how far they can read, and one model over guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.readability import READABLE, readable_j
from gcdp.evaluation.scores import Scores
from gcdp.reporting.figures import axis_name, draw_estimates, side
from gcdp.reporting.plotting import BLACK, GRAY, IMAGE_COLOR, LAYOUT_COLOR, SERIES, legend_below, panels

MARKS = ((LAYOUT_COLOR, "o"), (IMAGE_COLOR, "s"), (BLACK, "^"))


def area_figure(by_area: Mapping[int, Mapping[str, Any]], calibrated: int) -> Figure:
    """Recall, precision and F1 of held-out pairs by the area from which a class counts; `recall.semantic_agreement`."""
    figure, axes = panels(1, 1, height=2.5)
    panel, areas = axes[0, 0], list(by_area)
    for name, (color, marker) in zip(("recall", "precision", "f1"), MARKS):
        found = [by_area[area][name]["micro"] for area in areas]
        draw_estimates(panel, areas, found, color=color, marker=marker, linestyle="-", label=name.replace("f", "F"))
    panel.axvline(calibrated, color=GRAY, linewidth=0.8, linestyle=":", label=f"calibrated: {calibrated} pixels")
    panel.set(xscale="log", xlabel="smallest area that counts (pixels)", ylabel="held-out pairs (higher is better)")
    panel.set_xticks(areas, areas, minor=False)
    panel.minorticks_off()
    panel.legend(ncols=2)
    return figure


def class_figure(scores: Scores) -> Figure:
    """Recall, precision and IoU of held-out pairs by class, the most named first, with how many captions name it."""
    order = sorted(scores.per_class, key=lambda name: -scores.per_class[name]["n"])
    figure, axes = panels(1, 1, height=3.2)
    for measure, (color, marker) in zip(("recall", "precision", "iou"), MARKS):
        values = np.array([scores.per_class[name][measure] for name in order], float)
        label = measure.replace("iou", "IoU")
        if np.isnan(values).all():
            continue
        axes[0, 0].plot(range(len(order)), values, marker, color=color, markersize=4.5, alpha=0.8, label=label)
    names = [f"{name} ({scores.per_class[name]['n']})" for name in order]
    axes[0, 0].set_xticks(range(len(order)), names, rotation=90)
    axes[0, 0].set(ylim=(-0.03, 1.03), ylabel="held-out pairs (higher is better)")
    axes[0, 0].legend(ncols=3, loc="lower left")
    return figure


def readability_figure(points: Mapping[str, tuple[float, float]], scores: Scores) -> Figure:
    """J of spoiled held-out pairs over their distance, a mark for each spoiling, and the best J that is left."""
    figure, axes = panels(1, 1, height=2.9)
    panel = axes[0, 0]
    for number, (name, (distance, j)) in enumerate(sorted(points.items(), key=lambda each: each[1])):
        marker, color = "oDs^v"[number // len(SERIES) % 5], SERIES[number % len(SERIES)]
        panel.plot(distance, j, marker, markersize=4.5, color=color, label=name, zorder=3)
    reach = np.linspace(0, max((distance for distance, _ in points.values()), default=0), 300)
    best = [readable_j(distance, [*points.values()]) for distance in reach] if points else np.full(300, np.nan)
    panel.plot(reach, best, color=BLACK, linewidth=0.8)
    panel.axhline(READABLE, color=GRAY, linewidth=0.8, linestyle=":")
    panel.set(xlabel=axis_name("frechet", scores, 5.0), ylabel="J of spoiled held-out pairs\n(higher is better)")
    if points:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def sweep_figure(points: Sequence[Scores], ceiling: Scores, title: str) -> Figure:
    """Text, clutter and distance of one model over guidance; dotted lines are those of held-out pairs."""
    if ceiling.has_attributes:
        shown: tuple[tuple[str, ...], ...] = (("j",), ("alignment",), ("frechet",))
    else:
        shown = (("j",), ("semantic_recall_area", "precision", "f1"), ("frechet",))
    figure, axes = panels(1, 3, height=2.9, title=title)
    for panel, keys in zip(axes[0], shown, strict=True):
        for key, (color, marker) in zip(keys, MARKS):
            label = MEASURES[key].column.split("_")[0] if len(keys) > 1 else None
            _over_guidance(panel, points, ceiling, key, color=color, marker=marker, label=label)
        area = f"from {ceiling.minimum_area} pixel{'s' * (ceiling.minimum_area != 1)} on"
        name = axis_name(keys[0], ceiling, 2.0) if len(keys) == 1 else f"{area}\n({side(keys[0])})"
        panel.set(xlabel="guidance", ylabel=name)
    legend_below(figure)
    return figure


def _over_guidance(panel: Axes, points: Sequence[Scores], ceiling: Scores, key: str, **look) -> None:
    found = [point for point in points if key in point]
    draw_estimates(panel, [point.guidance for point in found], [point[key] for point in found], **look, linestyle="-")
    if MEASURES[key].of_text and key in ceiling:
        panel.axhline(ceiling.value(key), color=look["color"], linewidth=0.8, linestyle=":")


def label_figure(chosen: Scores, ceiling: Scores) -> Figure:
    """J and effect of naming of every label, the most named first, beside J of held-out pairs."""
    order = sorted(chosen.labels, key=lambda name: -chosen.labels[name]["n"])
    figure, axes = panels(1, 1, height=3.8)
    rows = {"J of held-out pairs": (ceiling.labels, "j", "o", "#bbbbbb", 7)}
    rows["J"] = (chosen.labels, "j", "o", LAYOUT_COLOR, 4)
    rows["effect of naming"] = (chosen.effects, "value", "s", IMAGE_COLOR, 4)
    for label, (found, key, marker, color, size) in rows.items():
        values = [found[name][key] if name in found else np.nan for name in order]
        axes[0, 0].plot(range(len(order)), np.array(values, float), marker, color=color, markersize=size, label=label)
    axes[0, 0].axhline(0, color=GRAY, linewidth=0.8)
    names = [f"{name.replace('_', ' ')} ({chosen.labels[name]['n']})" for name in order]
    axes[0, 0].set_xticks(range(len(order)), names, rotation=90)
    axes[0, 0].set(ylabel="higher is better, 0 is chance")
    legend_below(figure)
    return figure
