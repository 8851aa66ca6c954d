"""Tables, figures and one piece of advice from the records of `gcdp.experiments.directions_record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from gcdp.evaluation.measures import MEASURES
from gcdp.reporting.figures import draw_estimates
from gcdp.reporting.formatting import difference_text, estimate_text

COLORS = {"repaint": "#0b2a45", "direct": "#c1440e", "specialist": "#3f8f4f"}  # by the first word of a method's key
OTHER = "#555555"
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


def column(key: str) -> str:
    """How tables and axes call a measure."""
    return ACCURACY if key == "accuracy" else MEASURES[key].column.replace("_", " ")


def method_rows(rows: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, str]]:
    """One row a method: its label, network calls for each pair, and the measures that one of them has."""
    keys = [key for key in keys if any(key in row["measures"] for row in rows.values())]
    return [
        {"": row["label"], "calls": str(row["network_calls"] or "–")}
        | {column(key): estimate_text(row["measures"].get(key), _digits(key)) for key in keys}
        for row in rows.values()
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


def draw_by_calls(panel: Axes, rows: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """A measure of every method over its network calls, which stand on a logarithmic axis; without calls a line."""
    for name, row in rows.items():
        estimate = row["measures"].get(key)
        color = COLORS.get(name.split("_")[0], OTHER)
        if not estimate or estimate["value"] is None:
            continue
        if not row["network_calls"]:
            panel.axhline(estimate["value"], color="#888888", linewidth=0.8, linestyle=":", label=row["label"])
            continue
        marker = MARKERS.get(name) or SUFFIX_MARKERS[name.partition("_")[2]]
        look = {"color": color, "marker": marker, "label": row["label"]}
        draw_estimates(panel, [row["network_calls"]], [estimate], **look)
    panel.set(xscale="log", xlabel="network calls for each pair", ylabel=column(key))
    calls = sorted({row["network_calls"] for row in rows.values()} - {0})
    panel.set_xticks(calls, map(str, calls))
    panel.minorticks_off()


def draw_paths(panel: Axes, paths: Mapping[str, Sequence[tuple[int, int]]], colors: Sequence[str]) -> None:
    """Paths through the square of times, a dot for each call of the network; see `gcdp.diffusion.paths`."""
    for (name, path), color in zip(paths.items(), colors, strict=False):
        xs, ys = zip(*path)
        panel.plot(xs, ys, ".-", color=color, linewidth=1, markersize=3, label=name)
    panel.set(xlabel="$t_x$ of the image", ylabel="$t_y$ of the layout", aspect="equal")
    panel.legend()


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
