"""Tables, figures and one piece of advice from the records of `gcdp.experiments.directions_record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.evaluation.measures import MEASURES
from gcdp.reporting.figures import axis_name, draw_estimates
from gcdp.reporting.formatting import difference_text, estimate_text
from gcdp.reporting.plotting import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    IMAGE_COLOR,
    ORANGE,
    SERIES,
    VERMILION,
    entitle,
    legend_below,
    panels,
)  # fmt: skip

COLORS = {"repaint": BLUE, "direct": VERMILION, "specialist": GREEN}  # by the first word of a method's key
OTHER = BLACK
LABELS = {"real": "held-out images"}  # by key, in place of what a record calls them
MARKERS = {"segmenter": "s", "referee": "*"}  # by key; others by what follows the first word
SUFFIX_MARKERS = {"": "o", "once": "^", "fewer": "v", "authors": "X", "any": "D"}
ACCURACY = "pixel accuracy"
ARMS = {"few": "layouts of a part", "alone": "that part alone", "all": "all layouts"}
OF_ARMS = {  # measure of `gcdp.experiments.few_layouts` -> its words
    "layout_miou": "image to layout: mIoU",
    "image_miou": "layout to image: mIoU",
    "image_frechet": "layout to image: distance",
    "pair_j": "from text: J",
    "pair_frechet": "from text: distance",
    "pair_miou": "from text: mIoU",
}


Block = tuple[str, Mapping[str, Mapping[str, Any]], str]  # title of a panel, rows of methods, measure


def column(key: str) -> str:
    """How tables and axes call a measure."""
    return ACCURACY if key == "accuracy" else MEASURES[key].column.replace("_", " ")


def method_rows(rows: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, str]]:
    """One row a method: its label, network calls for each pair, and the measures that one of them has."""
    keys = [key for key in keys if any(key in row["measures"] for row in rows.values())]
    return [
        {"": LABELS.get(name, row["label"]), "calls": str(row["network_calls"] or "–")}
        | {column(key): estimate_text(row["measures"].get(key), _digits(key)) for key in keys}
        for name, row in rows.items()
    ]


def difference_rows(
    rows: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """One row a pair of methods: both labels, their calls, and the difference of mIoU with its interval."""
    found = []
    for name, difference in differences.items():
        ours, theirs = (rows[key] for key in name.split(" - "))
        calls = f"{ours['network_calls']} / {theirs['network_calls']}"
        found.append({"mIoU of": ours["label"], "less": theirs["label"], "calls": calls})
        found[-1]["difference"] = difference_text(difference)
    return found


def calls_figure(blocks: Sequence[Block], title: str) -> Figure:
    """A measure of every method over its network calls, a panel a block; methods without calls are horizontal lines."""
    figure, axes = panels(1, len(blocks), height=4.0, title=title)
    for panel, (name, rows, key) in zip(axes[0], blocks):
        draw_by_calls(panel, rows, key)
        entitle(panel, name)
    legend_below(figure)
    return figure


def draw_by_calls(panel: Axes, rows: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """A measure of every method over its network calls, which stand on a logarithmic axis; without calls a line.

    Methods of equally many calls stand side by side, a few percent apart.
    """
    found = {name: row for name, row in rows.items() if (row["measures"].get(key) or {}).get("value") is not None}
    for name, row in found.items():
        color, estimate = COLORS.get(name.split("_")[0], OTHER), row["measures"][key]
        if not row["network_calls"]:
            panel.axhline(
                estimate["value"], color=GRAY, linewidth=1, linestyle=":", label=LABELS.get(name, row["label"])
            )
            continue
        alike = [other for other, each in found.items() if each["network_calls"] == row["network_calls"]]
        place = row["network_calls"] * 1.18 ** (alike.index(name) - (len(alike) - 1) / 2)
        marker = MARKERS.get(name) or SUFFIX_MARKERS[name.partition("_")[2]]
        draw_estimates(panel, [place], [estimate], color=color, marker=marker, label=row["label"])
    name = f"{ACCURACY}\n(higher is better)" if key == "accuracy" else axis_name(key)
    panel.set(xscale="log", xlabel="network calls for each pair", ylabel=name)
    calls = sorted({row["network_calls"] for row in rows.values()} - {0})
    panel.set_xticks(calls, map(str, calls))
    panel.minorticks_off()


def noise_figure(t: Sequence[int], left: Mapping[str, np.ndarray]) -> Figure:
    """Noise that one way back leaves at times `t` (S,), as a share of what the network is told, by whose code it is."""
    figure, axes = panels(1, 1, height=2.3)
    for (name, share), color, marker in zip(left.items(), (BLACK, IMAGE_COLOR), (".", "s"), strict=True):
        axes[0, 0].plot(t, share, marker=marker, markersize=3.5, color=color, label=name)
    axes[0, 0].set(xlabel="$t$", ylabel="noise after one way back\n/ noise at $t$", ylim=(0.6, 1.05))
    axes[0, 0].legend()
    return figure


def square_figure(paths: Mapping[str, Sequence[tuple[int, int]]]) -> Figure:
    """Paths through the square of times, a dot for each call of the network; see `gcdp.diffusion.paths`."""
    figure, axes = panels(1, 1, height=3.6)
    draw_paths(axes[0, 0], paths, SERIES)
    axes[0, 0].legend(bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def draw_paths(panel: Axes, paths: Mapping[str, Sequence[tuple[int, int]]], colors: Sequence[str]) -> None:
    """The paths of `square_figure` on one panel."""
    for (name, path), color, marker in zip(paths.items(), colors, "osDv^PX*", strict=False):
        xs, ys = zip(*path)
        panel.plot(xs, ys, marker=marker, color=color, linewidth=1, markersize=3, label=name)
    panel.set(xlabel="$t_x$ of the image", ylabel="$t_y$ of the layout", aspect="equal")


def lead_figure(paths: Mapping[str, Mapping[str, Any]], leads: Sequence[str], title: str) -> Figure:
    """Measures over the lead of the layout; a line for the model of the diagonal, a mark for the image drawn alone."""
    wanted = ("effect", "frechet", "miou", "effect_layouts")
    keys = [key for key in wanted if key in paths["0"]["measures"]]
    figure, axes = panels(2, -(-len(keys) // 2), height=2.4, title=title)
    for panel, key in zip(axes.flat, keys):
        found = [paths[lead]["measures"].get(key) for lead in leads]
        look = {"color": IMAGE_COLOR, "linestyle": "-", "linewidth": 1, "label": "any direction"}
        draw_estimates(panel, [float(lead) for lead in leads], found, **look)
        diagonal = paths["joint"]["measures"][key]
        if diagonal["low"] is not None:
            panel.axhspan(diagonal["low"], diagonal["high"], color=BLUE, alpha=0.12, linewidth=0)
        panel.axhline(diagonal["value"], color=BLUE, linewidth=1, label="diagonal model")
        without = paths["image_alone"]["measures"].get(key)
        draw_estimates(panel, [0.05], [without], color=ORANGE, marker="X", label="image alone")
        panel.set(xlabel="lead of the layout", ylabel=axis_name(key))
    for panel in axes.flat[len(keys) :]:
        panel.remove()
    legend_below(figure)
    return figure


def path_advice(rows: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """(lead, one sentence): which member of the family to take, by the effect of naming and the Fréchet distance.

    A lead beats the diagonal where the interval of the difference of their effects lies above 0; of several the one
    with the largest effect is taken. Where none does, a lead is taken whose distance is lower than the diagonal's, both
    intervals apart, and whose effect is not lower; else the diagonal.
    """
    effects = {key: rows[key]["measures"].get("effect") for key in differences}
    better = [key for key, each in differences.items() if each["value"] is not None and (each["low"] or 0) > 0]
    if better:
        best = max(better, key=lambda key: effects[key]["value"])
        gain = difference_text(differences[best])
        return best, f"Take a lead of {best}: its effect of naming exceeds that of the diagonal by {gain}."
    distances = {key: rows[key]["measures"].get("frechet") for key in (*differences, "0")}
    nearer = [
        key
        for key, each in differences.items()
        if distances[key] and distances[key]["high"] < distances["0"]["low"] and not (each["high"] or 0) < 0
    ]
    if nearer:
        best = min(nearer, key=lambda key: distances[key]["value"])
        ends = " against ".join(estimate_text(distances[key], 2) for key in (best, "0"))
        return best, f"Take a lead of {best}: no lead has a larger effect of naming, and its distance is {ends}."
    return "0", "Take the diagonal: no lead has a larger effect of naming, nor a lower distance at an effect as large."


def arm_rows(compared: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a measure of the trainings with few layouts, each with its mean over seeds and interval."""
    arms = compared["arms"]
    return [
        {"": text} | {name: estimate_text(arms[arm].get(key)) for arm, name in ARMS.items()}
        for key, text in OF_ARMS.items()
    ]


def arm_difference_rows(compared: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a measure: "layouts of a part" less each of the others, within a seed."""
    others = {arm: name for arm, name in ARMS.items() if arm != "few"}
    return [
        {"difference": text}
        | {
            f"less {name}": difference_text(compared["differences"][f"few - {arm}"].get(key))
            for arm, name in others.items()
        }
        for key, text in OF_ARMS.items()
    ]


def _digits(key: str) -> int:
    return MEASURES[key].digits if key in MEASURES else 3
