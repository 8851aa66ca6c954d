"""Figure and tables of `gcdp.experiments.guidance_record`: measures over the scale of the image and of the layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gcdp.evaluation.measures import MEASURES
from gcdp.reporting.figures import side
from gcdp.reporting.formatting import estimate_text, number_text
from gcdp.reporting.plotting import GREEN, VERMILION, entitle, legend_below, panels

MARKS = {"alike": VERMILION, "apart": GREEN}  # color of the frame around a chosen point
WORDS = {"alike": "best of equal scales", "apart": "best of all"}
Grid = Sequence[Mapping[str, Any]]


def grid_figure(grid: Grid, chosen: Mapping[str, tuple[float, float]], keys: Sequence[str], title: str) -> Figure:
    """A map of each of `keys` over both scales, its values written in; lighter is better, frames mark `chosen`."""
    figure, axes = panels(1, len(keys), height=2.8, title=title, letters=False)
    for panel, key in zip(axes[0], keys, strict=True):
        _map(panel, grid, key)
        for name, (image, layout) in chosen.items():
            scales = _scales(grid)
            corner = scales.index(layout) - 0.5, scales.index(image) - 0.5
            inner = 0.06 * (name == "apart")  # both frames show where they are one point
            frame = (corner[0] + inner, corner[1] + inner), 1 - 2 * inner, 1 - 2 * inner
            panel.add_patch(Rectangle(*frame, fill=False, linewidth=2, color=MARKS[name], label=WORDS[name]))
    axes[0, 0].set_ylabel("guidance of the image")
    legend_below(figure)
    return figure


def _map(panel: Axes, grid: Grid, key: str) -> None:
    scales = _scales(grid)
    values = np.full((len(scales), len(scales)), np.nan)
    for row in grid:
        value = (row["measures"].get(key) or {}).get("value")
        values[scales.index(row["image"]), scales.index(row["layout"])] = np.nan if value is None else value
    better = MEASURES[key].higher_is_better
    drawn = panel.imshow(values, cmap="viridis" if better else "viridis_r", origin="lower")
    for (y, x), value in np.ndenumerate(values):
        red, green, blue, _ = drawn.cmap(drawn.norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        text = "" if np.isnan(value) else f"{value:.{min(2, MEASURES[key].digits)}f}"
        panel.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    names = [f"{scale:g}" for scale in scales]
    panel.set_xticks(range(len(scales)), names)
    panel.set_yticks(range(len(scales)), names)
    panel.grid(False)
    panel.set_xlabel("guidance of the layout")
    entitle(panel, f"{MEASURES[key].column.replace('_', ' ')} ({side(key)})")


def _scales(grid: Grid) -> list[float]:
    return sorted({row["image"] for row in grid})


def chosen_rows(tested: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, str]]:
    """A row for each chosen guidance: its scales, and the measures that apply."""
    shown = [key for key in keys if any(key in row["measures"] for row in tested.values())]
    return [
        {"": WORDS[name], "image": number_text(row["image"], 1), "layout": number_text(row["layout"], 1)}
        | {MEASURES[key].column: estimate_text(row["measures"].get(key), MEASURES[key].digits) for key in shown}
        for name, row in tested.items()
    ]
