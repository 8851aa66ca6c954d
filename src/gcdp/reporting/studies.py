"""Figures of repeated trainings: every training as a dot, and differences of two models over the number of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.study_measures import each_training, estimate
from gcdp.experiments.study_record import Study
from gcdp.reporting.figures import difference_name, draw_estimates, side
from gcdp.reporting.plotting import BLACK, BLUE, VERMILION, panels, wrap_text


def training_figure(study: Study, groups: Mapping[tuple[str, int], str], keys: Sequence[str]) -> Figure:
    """One dot a training, and its group's mean with a 95 % interval; `groups`: names by (model, number of pairs)."""
    dots = {key: found for key in keys if (found := each_training(study, key))}
    rows, columns = _rows_and_columns(len(dots), 3)
    height = min(5.0, 0.8 + 0.3 * len(groups))
    figure, axes = panels(rows, columns, height=height, sharey=True)
    for panel, (key, found) in zip(axes.flat, dots.items()):
        for row, (model, size) in enumerate(groups):
            values = [value for trial, value in found.items() if (trial.model, trial.pairs) == (model, size)]
            panel.plot(values, [row - 0.15] * len(values), "o", markersize=3, color=BLUE, alpha=0.6)
            mean = estimate(study, model, size, key)
            draw_estimates(panel, [row + 0.15], [mean], across=True, color=BLACK, marker="D", markersize=3.5)
        name = wrap_text(MEASURES[key].column.replace("_", " "), 1.6, 8.0)
        panel.set(xlabel=f"{name}\n({side(key)})", ylim=(len(groups) - 0.5, -0.5))
    for panel in axes.flat[len(dots) :]:
        panel.remove()
    axes[0, 0].set_yticks(range(len(groups)), [wrap_text(name, 1.7, 8.0) for name in groups.values()])
    return figure


def gain_figure(gains: Mapping[int, Mapping[str, Any]], keys: Sequence[str], title: str) -> Figure:
    """Differences of two models, ours less the other, by number of training pairs; intervals as they are given."""
    rows, columns = _rows_and_columns(len(keys), 4 if len(keys) > 6 else 3)
    figure, axes = panels(rows, columns, height=2.4, title=title)
    sizes = list(gains)
    for panel, key in zip(axes.flat, keys):
        found: list[Estimate | None] = [gains[size].get(key) for size in sizes]
        draw_estimates(panel, sizes, found, color=BLUE, linestyle="-", linewidth=1)
        panel.axhline(0, color=VERMILION, linewidth=0.8)
        panel.set(xscale="log", xlabel="training pairs", ylabel=difference_name(key))
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
    for panel in axes.flat[len(keys) :]:
        panel.remove()
    return figure


def _rows_and_columns(count: int, most: int) -> tuple[int, int]:
    """Of `count` panels, at most so many in a row."""
    return -(-count // most), min(count, most)
