"""Fig. 1: which named attributes are seen, one by one, all together, and by what a layout says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.evaluation.scores import Scores
from gcdp.reporting.figures import draw_estimates, label, order, style
from gcdp.reporting.plotting import GRAY, entitle, legend_below, panels
from gcdp.reporting.tables import marked

Rows = Mapping[str, Mapping[int, Scores]]  # {model: {number of pairs: scores}}


def attribute_figure(rows: Rows, sizes: Sequence[int], ceiling: Scores, title: str) -> Figure:
    """Recall of every attribute that captions name, a panel for each number of pairs; bars are those of the ceiling."""
    named = {name: each["n"] for name, each in next(iter(rows[order(rows)[0]].values())).per_attribute.items()}
    shown = sorted((name for name in named if named[name]), key=lambda name: -ceiling.per_attribute[name]["n"])
    figure, axes = panels(1, len(sizes), height=1.2 + 0.25 * len(shown), title=title, sharey=True)
    for panel, size in zip(axes[0], sizes):
        for model, look, lift in _side_by_side(rows, 0.26):
            found = [rows[model][size].per_attribute[name] for name in shown]
            places = [row + lift for row in range(len(shown))]
            draw_estimates(panel, places, found, across=True, **{"markersize": 3.5, **look}, label=label(model, rows))
        best = [{**ceiling.per_attribute[name], "low": None, "high": None} for name in shown]
        look = {"marker": "|", "color": "black", "markersize": 9, "label": "held-out images (ceiling)"}
        draw_estimates(panel, range(len(shown)), best, across=True, **look)
        panel.set(xlim=(-0.04, 1.04), xlabel="recall (higher is better)", ylim=(len(shown) - 0.5, -0.5))
        entitle(panel, f"{size:,} pairs, {size / sizes[-1]:.0%}")
    names = [f"{name.replace('_', ' ').lower()} ({marked(named[name], named[name])})" for name in shown]
    axes[0, 0].set_yticks(range(len(shown)), names)
    legend_below(figure)
    return figure


def chance_figure(rows: Rows, sizes: Sequence[int], ceiling: Scores, title: str) -> Figure:
    """Recall of all attributes by the own caption (filled) and by those of others (hollow)."""
    figure, axes = panels(1, 1, height=2.9, title=title)
    panel = axes[0, 0]
    for model, look, lift in _side_by_side(rows, 0.12):
        scores, places = [rows[model][size] for size in sizes], [place + lift for place in range(len(sizes))]
        own = [each.get("attribute_recall") for each in scores]
        others = [each.chance.get("attribute_recall") for each in scores]
        _pair_of_recalls(panel, places, own, others, look, label(model, rows))
    ends = ceiling.get("attribute_recall"), ceiling.chance.get("attribute_recall")
    for end, line, name in zip(ends, (":", "--"), ("held-out images", "held-out images, caption of another")):
        if end:
            panel.axhline(end["value"], color=GRAY, linewidth=0.9, linestyle=line, label=name)
    n = rows[order(rows)[0]][sizes[0]]["attribute_recall"]["n"]
    panel.set_xticks(range(len(sizes)), [f"{size:,} pairs" for size in sizes])
    panel.set(ylabel=f"attribute recall, {n} captions\n(higher is better)", ylim=(0, 1.03))
    panel.set(xlim=(-0.5, len(sizes) - 0.5))
    legend_below(figure)
    return figure


def group_figure(rows: Rows, sizes: Sequence[int], ceiling: Scores, shown: Sequence[str], title: str) -> Figure:
    """The same for each group of attributes of `attribute_groups`, a panel each."""
    figure, axes = panels(2, -(-len(shown) // 2), height=2.3, sharey=True, title=title)
    for panel, group in zip(axes.flat, shown):
        for model, look, lift in _side_by_side(rows, 0.18):
            found = [rows[model][size].groups[group] for size in sizes]
            places = [place + lift for place in range(len(sizes))]
            own, others = ([each[key] for each in found] for key in ("recall", "chance"))
            _pair_of_recalls(panel, places, own, others, look, label(model, rows))
        real = ceiling.groups.get(group)
        if real and real["recall"]["value"] is not None:
            panel.axhline(real["recall"]["value"], color=GRAY, linewidth=0.9, linestyle=":", label="held-out images")
        n = found[0]["n"]
        panel.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        panel.set(ylim=(0, 1.03), xlabel="training pairs", ylabel="recall\n(higher is better)")
        panel.set(xlim=(-0.5, len(sizes) - 0.5))
        entitle(panel, f"{group} ({marked(n, n)})")
    for panel in axes.flat[len(shown) :]:
        panel.remove()
    legend_below(figure)
    return figure


def _side_by_side(rows: Rows, apart: float) -> Iterator[tuple[str, dict[str, str], float]]:
    """(model, look, how far from the place of all) of every model."""
    models = order(rows)
    for number, model in enumerate(models):
        yield model, style(model, rows), (number - (len(models) - 1) / 2) * apart


def _pair_of_recalls(panel: Axes, places, own, others, look: Mapping[str, Any], name: str) -> None:
    draw_estimates(panel, places, own, **{"markersize": 5, **look}, label=name)
    draw_estimates(panel, places, others, **{"markersize": 5, **look, "markerfacecolor": "white"})
