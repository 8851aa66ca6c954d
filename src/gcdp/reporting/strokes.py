"""Tables, curves and verdicts from the records of `gcdp.experiments.strokes_record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcdp.reporting.figures import draw_estimates
from gcdp.reporting.formatting import difference_text, estimate_text
from gcdp.reporting.plotting import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    entitle,
    legend_below,
    panels,
)  # fmt: skip

# method -> (color, marker)
STYLES = {
    "sdedit": (BLACK, "o"),
    "loopback": (GRAY, "s"),
    "ilvr": (SKY, "^"),
    "gradop": (ORANGE, "D"),
    "gradop_plus": (VERMILION, "v"),
    "gradop_network": (PURPLE, "X"),
}
MARKED = ("sdedit", "ilvr", "gradop_plus")  # the ends of more curves would be written over each other
NAMED_COLORS = {"sdedit": BLUE, "gradop_plus": GREEN}
ROLES = {"joint": "joint", "image_only": "image-only"}
MEASURES = {  # key -> (column, digits)
    "faithfulness": ("faithfulness", 4),
    "realism": ("realism", 3),
    "distance": ("distance to scenes", 3),
    "hit_rate": ("hit rate", 3),
}
AXES = {
    "faithfulness": "error to the strokes\n(lower is better)",
    "realism": "distance to text-only pictures\n(lower is better)",
    "hit_rate": "hit rate of names\n(higher is better)",
}


def curve(
    rows: Mapping[str, Mapping[str, Any]], role: str, method: str, steps: int | None, naming: str = "none"
) -> list[Mapping[str, Any]]:
    """The rows of a method over its strength, rising; `steps` None: whatever the number of gradient steps."""
    wanted = {"method": method, "naming": naming, "certainty": 1.0} | ({} if steps is None else {"steps": steps})
    kept = [
        row
        for row in rows.values()
        if row["role"] == role and all(row.get("guide", {}).get(key) == value for key, value in wanted.items())
    ]
    return sorted(kept, key=lambda row: row["guide"]["strength"])


def curves_figure(rows: Mapping[str, Mapping[str, Any]], roles: Sequence[str], steps: int, title: str) -> Figure:
    """Faithfulness above, hit rate below, both over realism; a column for each model of `roles`."""
    figure, axes = panels(2, len(roles), height=3.4, title=title)
    for column, role in enumerate(roles):
        draw_curves(axes[0, column], rows, role, steps, "realism", "faithfulness")
        draw_curves(axes[1, column], rows, role, steps, "realism", "hit_rate")
    legend_below(figure)
    return figure


def draw_curves(panel: Axes, rows: Mapping[str, Mapping[str, Any]], role: str, steps: int, x: str, y: str) -> None:
    """Measure `y` over measure `x` for every method of a model, a point for each strength, with 95 % intervals.

    Dashed curves are those of strokes with names, told to the layout half; the first and the last point of the curves
    of `MARKED` say their strength.
    """
    for method, (color, marker) in STYLES.items():
        found = curve(rows, role, method, None if method == "gradop_network" else steps)  # its steps cost more
        _line(panel, found, x, y, color=color, marker=marker, linestyle="-")
    for method, color in NAMED_COLORS.items():
        _line(panel, curve(rows, role, method, steps, "layout"), x, y, color=color, marker="*", linestyle="--")
    panel.set(xlabel=AXES[x], ylabel=AXES[y])
    entitle(panel, ROLES[role])


def _line(panel: Axes, found: Sequence[Mapping[str, Any]], x: str, y: str, **look) -> None:
    if not found:
        return
    points = [row["measures"] for row in found]
    named = ", named" if found[0]["guide"]["naming"] == "layout" else ""
    draw_estimates(panel, [point[x]["value"] for point in points], [point[y] for point in points], linewidth=1.1,
                   label=found[0]["label"] + named, **look)  # fmt: skip
    for number in {0, len(found) - 1} if found[0]["guide"]["method"] in MARKED and not named else ():
        at, place = [points[number][key]["value"] for key in (x, y)], (4, 3 if number else -9)
        text = f"{found[number]['guide']['strength']:g}"
        panel.annotate(text, at, textcoords="offset points", xytext=place, fontsize=8, color=look["color"])


def stroke_rows(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row a setting: model, method, what is told of names, strength, gradient steps, calls and measures."""
    return [
        {**_setting(row), "calls": str(row.get("network_calls", "–"))}
        | {name: estimate_text(row["measures"].get(key), digits) for key, (name, digits) in MEASURES.items()}
        for row in rows.values()
    ]


def _setting(row: Mapping[str, Any]) -> dict[str, str]:
    guide = row.get("guide")
    if guide is None:
        return {"model": ROLES.get(row["role"], ""), "method": row["label"], "names": "", "strength": "", "steps": ""}
    soft = f", {guide['certainty']:g}" if guide["certainty"] < 1 else ""
    steps = str(guide["steps"]) if guide["method"].startswith("gradop") else ""
    told = "" if guide["naming"] == "none" else guide["naming"] + soft
    strength = f"{guide['strength']:g}"
    return {
        "model": ROLES[row["role"]], "method": row["label"], "names": told, "strength": strength, "steps": steps
    }  # fmt: skip


def difference_rows(differences: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row a comparison, with its interval."""
    digits = {True: 4, False: 3}
    return [
        {"": _in_words(name), "difference": difference_text(each, digits["faith" in name])}
        for name, each in differences.items()
    ]


def verdicts(
    differences: Mapping[str, Mapping[str, Any]], compared: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """What the record says of the claims of GradOP's authors that it can decide, in words, with the intervals.

    Of GradOP+ against SDEdit by `compared`, where it says so: it has more pictures than `differences`.
    """
    found = []
    claims = {
        "faithfulness": "as realistic and closer to the strokes",
        "realism": "as close to them and more realistic",
        "realism by distance to held-out images": "as close to them and closer to held-out images",
    }
    decisive = {**differences, **compared}
    for (role, name), (measure, words) in product(ROLES.items(), claims.items()):
        if each := decisive.get(f"{role}: gradop_plus - sdedit, {measure}"):
            claim = f"GradOP+ is {words} than SDEdit ({name})"
            verdict = {"verdict": _decided(each, below=True), "difference": difference_text(each, 4)}
            found.append({"claim": claim, **verdict})
    for name, each in differences.items():
        if "hit rate" in name:
            claim = f"names decide what strokes become ({_in_words(name)})"
            found.append({"claim": claim, "verdict": _decided(each), "difference": difference_text(each)})
    return found


def _in_words(name: str) -> str:
    """How a comparison is called in tables."""
    return name.removesuffix(", hit rate").replace("image_only", "image-only").replace("gradop_plus", "GradOP+")


def _decided(each: Mapping[str, Any], below: bool = False) -> str:
    """Whether a difference lies above 0, or `below` it, with its whole interval."""
    if each["value"] is None:
        return "not comparable: the curves do not meet"
    if each["low"] is None:
        return "no interval"
    low, high = (-each["high"], -each["low"]) if below else (each["low"], each["high"])
    return "holds" if low > 0 else "opposite" if high < 0 else "not decided"
