"""Figures of the noise process: one jump back, tables of signal and what they leave of a layout, densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.evaluation.votes import information, readability
from gcdp.reporting.plotting import BLUE, GRAY, IMAGE_COLOR, LAYOUT_COLOR, VERMILION, entitle, legend_below, panels

STYLES = ((VERMILION, "-"), (GRAY, "--"), (BLUE, "-."))  # of up to three tables


def jump_figure(s, weights: Mapping[str, np.ndarray], labels: np.ndarray, title: str) -> Figure:
    """One jump back to times `s` (S,): Gaussian weights by name, each (S,), and probabilities of labels (S, K).

    Label 0 is the clean one, label 1 the present one.
    """
    figure, axes = panels(1, 2, height=2.5, title=title)
    for (name, curve), line in zip(weights.items(), ("-", "--", ":")):
        axes[0, 0].plot(s, curve, line, color=IMAGE_COLOR, label=name)
    rest, t = labels[:, 2:].sum(1), float(max(s))
    axes[0, 1].stackplot(s, labels[:, 0], labels[:, 1], rest, colors=[LAYOUT_COLOR, "#9cc3e0", "#e4e4e4"])
    axes[0, 1].text(0.20 * t, 0.30, "the clean label $y_0$", color="white", ha="center")
    axes[0, 1].text(0.97 * t, 0.42, "the present label $y_t$")
    axes[0, 1].text(0.62 * t, 0.88, f"the other {labels.shape[1] - 2} labels", ha="center")
    for panel, label in zip(axes[0], ("$q(x_s | x_t, x_0)$", "probability of $y_s$")):
        panel.set(xlabel="s", ylabel=label, xlim=(t, 0))
    axes[0, 0].legend(loc="center right")
    return figure


def table_figure(tables: Mapping[str, np.ndarray], count: int) -> Figure:
    """Tables alpha_bar (T + 1,) by name: the signal, its log-SNR, and what a pixel tells of one of `count` classes."""
    figure, axes = panels(1, 3, height=2.6)
    for (name, table), (color, line) in zip(tables.items(), STYLES):
        every, look = np.arange(len(table)), {"color": color, "linestyle": line}
        axes[0, 0].plot(every, table, label=name, **look)
        axes[0, 1].plot(every[1:-1], np.log(table[1:-1] / (1 - table[1:-1])), **look)
        axes[0, 2].plot(every, information(table, count), **look)
    for panel, label in zip(axes[0], (r"$\bar\alpha_t$", "log-SNR (nats)", f"nats a pixel, K = {count}")):
        panel.set(xlabel="t", ylabel=label)
    axes[0, 1].set_ylim(-12, 12)
    legend_below(figure)
    return figure


def region_figure(tables: Mapping[str, np.ndarray], sides: Sequence[int], count: int) -> Figure:
    """How likely square regions of `sides` pixels a side can be read by vote at every time, a panel a table."""
    levels = np.linspace(0, 1, 401) ** 2
    curves = {side: readability(side**2, count, levels) for side in sides}
    figure, axes = panels(1, len(tables), height=2.8, sharey=True)
    for panel, (name, table) in zip(axes[0], tables.items()):
        for side, shade in zip(sides, np.linspace(0.25, 1, len(sides))):
            readable = np.interp(table, levels, curves[side])
            panel.plot(readable, color=LAYOUT_COLOR, alpha=shade, label=f"{side} x {side} pixels")
        panel.set(xlabel="t", ylim=(0, 1.02))
        entitle(panel, f"layout, {name}")
    axes[0, 0].set(ylabel=f"readable by vote, K = {count}")
    legend_below(figure)
    return figure


def ridgelines(axes: Axes, x, density, labels: Sequence[str], colors: Sequence[str], top: float) -> None:
    """Curves density (K, len(x)), one above the other in the order of `labels`, the first in front.

    Every curve has its own baseline one unit above the last; `top` is the density drawn 1.5 units high.
    """
    for k in reversed(range(len(density))):
        curve = k + 1.5 * density[k] / top
        axes.fill_between(x, k, curve, color=colors[k], alpha=0.55, linewidth=0, zorder=10 - k)
        axes.plot(x, curve, color=colors[k], linewidth=1.2, zorder=10 - k)
    axes.set(yticks=range(len(labels)), xlim=(x[0], x[-1]), ylim=(-0.08, len(labels) + 0.6))
    axes.set_yticklabels(labels)
    axes.grid(axis="y", visible=True)
