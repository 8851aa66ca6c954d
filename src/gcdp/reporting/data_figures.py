"""Figures of a dataset: its table of classes, how often each is there, how long captions are, what their states say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gcdp.data.classes import ClassTable
from gcdp.reporting.plotting import LAYOUT_COLOR, panels


def table_figure(classes: ClassTable) -> Figure:
    """Index, color, name and phrase of every class, in three columns."""
    columns, rows = 3, -(-classes.num_classes // 3)
    figure, axes = panels(height=0.24 * rows)
    table = axes[0, 0]
    for k, name in enumerate(classes.names):
        column, row = divmod(k, rows)
        color = tuple(value / 255 for value in classes.colors[k])
        table.add_patch(Rectangle((column, -row), 0.1, 0.7, facecolor=color, edgecolor="#666666", linewidth=0.4))
        phrase = "never named" if k == classes.unlabeled else classes.phrases[k]
        table.text(column + 0.13, 0.35 - row, f"{k} {name}", va="center")
        table.text(column + 0.56, 0.35 - row, phrase, va="center", color="#777777", style="italic")
    table.set(xlim=(0, columns), ylim=(0.2 - rows, 0.9))
    table.axis("off")
    return figure


def tail_figure(presence: np.ndarray, area: np.ndarray, order: np.ndarray, classes: ClassTable) -> Figure:
    """Bars of the share of scenes and of the share of pixels (K,) of the classes in `order`."""
    figure, axes = panels(1, 2, height=3.0)
    colors = [tuple(value / 255 for value in classes.colors[k]) for k in order]
    for panel, values, label in zip(axes[0], (presence, area), ("share of scenes", "share of all pixels, log scale")):
        panel.bar(range(len(order)), values[order], color=colors, edgecolor="#666666", linewidth=0.4)
        panel.set_xticks(range(len(order)), [classes.names[k] for k in order], rotation=90)
        panel.set_ylabel(label)
        panel.grid(axis="x", visible=False)
    axes[0, 1].set(yscale="log", ylim=(area[area > 0].min() / 2, None))
    return figure


def length_figure(lengths: np.ndarray, areas: np.ndarray, marked: int) -> Figure:
    """Numbers of classes that captions name, and sorted areas of named classes in pixels with a line at `marked`."""
    figure, axes = panels(1, 2, height=2.5)
    bins = np.arange(lengths.min(), lengths.max() + 2) - 0.5
    axes[0, 0].hist(lengths, bins, color=LAYOUT_COLOR, edgecolor="white")
    axes[0, 0].set(xlabel="classes named in a caption", ylabel="training pairs")
    axes[0, 1].step(areas, np.arange(1, len(areas) + 1) / len(areas), color=LAYOUT_COLOR, where="post")
    axes[0, 1].axvline(marked, color="#777777", linestyle="--", linewidth=1)
    axes[0, 1].text(marked * 1.08, 0.92, f"{marked} pixels", color="#555555")
    axes[0, 1].set(xlabel="area of a named class (pixels)", ylabel="share of named classes", xscale="log")
    axes[0, 1].set_ylim(0, 1.02)
    return figure


def norm_figure(norms: np.ma.MaskedArray) -> Figure:
    """Norms of states, a row a caption (N, L); masked tokens are gray."""
    figure, axes = panels(height=2.2)
    axes[0, 0].set_facecolor("#d0d0d0")
    drawn = axes[0, 0].imshow(norms, aspect="auto", interpolation="nearest", cmap="viridis")
    axes[0, 0].set(xlabel="token", ylabel="caption", yticks=range(len(norms)))
    axes[0, 0].grid(False)
    figure.colorbar(drawn, label="norm of the state")
    return figure


def similarity_figure(cosine: np.ndarray, phrases: Sequence[str]) -> Figure:
    """Cosines (K, K) between the states of K phrases."""
    figure, axes = panels(height=4.6)
    drawn = axes[0, 0].imshow(cosine, vmin=0, vmax=1, cmap="cividis", interpolation="nearest")
    axes[0, 0].set_xticks(range(len(phrases)), phrases, rotation=90)
    axes[0, 0].set_yticks(range(len(phrases)), phrases)
    axes[0, 0].grid(False)
    figure.colorbar(drawn, label="cosine similarity of mean token states")
    return figure
