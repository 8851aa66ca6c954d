"""Fig. 8: clusters as pictures, one row for each way to find them, their agreement, and a view to steer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

import gcdp.experiments.features_measures as measures
from gcdp.data.classes import ClassTable
from gcdp.evaluation.agreement import largest_classes, overlap_tables
from gcdp.experiments.features_measures import Side
from gcdp.experiments.features_record import BASELINES, FeatureRecords, Row
from gcdp.reporting.figures import draw_estimates, label, style
from gcdp.reporting.plotting import (
    BLACK,
    GRAY,
    GREEN,
    LEGEND_POINTS,
    MAX_HEIGHT,
    ORANGE,
    PURPLE,
    SKY,
    TITLE_POINTS,
    WIDTH,
    class_legend,
    legend_below,
    legend_columns,
    panels,
    show_picture,
    wrap_text,
)  # fmt: skip

# condition -> what stands behind the name of the model; of what is no network: its whole name
CONDITIONS = {
    "paired": "",
    "blank": ", layout left out (t_y = T)",
    "swapped": ", layout of another pair",
}
NAMES = {
    "untrained": "untrained network",
    "noised_colors": "colors of x_t",
    "smoothed_colors": "colors of x_t, means of 5 x 5",
    "clean_colors": "colors of x_0",
    "position": "place in the image alone",
    "noised_layout": "noised layout y_t, votes of 5 x 5",
    "other_layout": "ground-truth layout of another pair",
}
SHADES = (0.0, 0.25, -0.4, 0.5, -0.65)  # toward white, or below 0 toward black
GUTTER, GAP, TOP = 1.35, 0.03, 0.32  # inches
NAME_POINTS = 8.0


def side_name(side: Side) -> str:
    """How tables and figures call a row, its block, time and number of clusters left out."""
    if side.model == BASELINES:
        return NAMES[side.row.condition]
    return label(side.model) + CONDITIONS[side.row.condition]


def paint(clusters: np.ndarray, layouts: np.ndarray, count: int, classes: ClassTable) -> np.ndarray:
    """Clusters (N, H, W) in colors, uint8 (N, H, W, 3): that of the class that a cluster covers most, in all images.

    Clusters of one class differ in shade, the largest in the color itself. Labels decide colors alone.
    """
    table = overlap_tables(clusters, layouts, count, classes).sum(0)
    colors, used = np.zeros((count, 3)), {}
    names = largest_classes(table)
    for cluster in np.argsort(-table.sum(1), kind="stable"):
        name = int(names[cluster])
        shade = SHADES[used.setdefault(name, 0) % len(SHADES)]
        used[name] += 1
        color = np.array(classes.colors[classes.labeled[name]], float)
        colors[cluster] = color + (255 - color) * shade if shade >= 0 else color * (1 + shade)
    return colors.round().astype(np.uint8)[clusters]


def picture_rows(
    rows: Mapping[str, np.ndarray], classes: ClassTable, layouts: np.ndarray, title: str | None = None
) -> Figure:
    """Pictures uint8 (N, H, W, 3) by the name of their row, N columns, above a legend of the classes in `layouts`."""
    first = next(iter(rows.values()))
    count, height, width = first.shape[:3]
    present = np.unique(layouts)
    columns = legend_columns(WIDTH, len(present))
    bottom = -(-len(present) // columns) * LEGEND_POINTS * 1.7 / 72 + 0.12
    highest = (MAX_HEIGHT - TOP - bottom) / len(rows) - GAP
    cell = min((WIDTH - GUTTER) / count - GAP, highest * width / height)
    tall = cell * height / width
    total = TOP + len(rows) * (tall + GAP) + bottom
    figure = Figure(figsize=(WIDTH, total))
    if title:
        figure.text(0.5, 1 - 0.16 / total, title, ha="center", va="center", fontsize=TITLE_POINTS)
    for number, (name, pictures) in enumerate(rows.items()):
        y = total - TOP - number * (tall + GAP) - tall
        text, place = wrap_text(name, GUTTER - 0.1, NAME_POINTS), ((GUTTER - 0.08) / WIDTH, (y + tall / 2) / total)
        figure.text(*place, text, ha="right", va="center", fontsize=NAME_POINTS)
        for column, picture in enumerate(pictures):
            box = ((GUTTER + column * (cell + GAP)) / WIDTH, y / total, cell / WIDTH, tall / total)
            show_picture(figure.add_axes(box), picture)
    class_legend(figure, classes, present, columns, bbox_to_anchor=(0.5, 0.0), borderaxespad=0.2)
    return figure


# look of each condition of the first model, and of what needs no training
CONTROLS = {"blank": {"color": SKY, "marker": "^"}, "swapped": {"color": PURPLE, "marker": "v"}}
UNTRAINED = {
    "noised_layout": (GRAY, "--"),
    "smoothed_colors": (ORANGE, "--"),
    "position": (GREEN, "-."),
    "other_layout": (BLACK, ":"),
}


def agreement_figure(
    records: FeatureRecords, sides: Sequence[Side], models: Sequence[str], shown: Row, blocks: Sequence[str],
    times: Sequence[int], title: str,
) -> Figure:  # fmt: skip
    """AMI of `sides` over `times`, the part of it that is specific to the image, and AMI of every block.

    The blocks are those of `shown.time`, with `shown.clusters`; the first two panels are of the block `shown.tap`.
    """
    figure, axes = panels(1, 3, height=3.6, title=title)
    for side in sides:
        if side.model in models:
            look = CONTROLS.get(side.row.condition, style(side.model, models)) | {"linestyle": "-"}
            _over_time(axes[0, 0], records, side, times, measures.estimate, **look, label=side_name(side))
            _over_time(axes[0, 1], records, side, times, measures.specific, **look)
        elif side.row.condition in UNTRAINED:
            color, line = UNTRAINED[side.row.condition]
            look = {"color": color, "linestyle": line, "marker": "", "linewidth": 1.1, "label": side_name(side)}
            _over_time(axes[0, 0], records, side, times, measures.estimate, **look)
    for model in models:
        first = next(iter(measures.recorded(records, model).values()))
        taps = [row.tap for row in first.values if row == shown._replace(tap=row.tap)]
        found = [measures.estimate(records, Side(model, shown._replace(tap=tap)), "ami") for tap in taps]
        draw_estimates(axes[0, 2], [blocks.index(tap) for tap in taps], found, **style(model, models))
    axes[0, 0].set(xlabel="t", ylabel=f"AMI, block {shown.tap}\n(higher is better)", ylim=(0, None))
    axes[0, 1].set(xlabel="t", ylabel="AMI, own less other layout\n(higher is better)")
    axes[0, 1].axhline(0, color=GRAY, linewidth=0.8)
    axes[0, 2].set(ylabel=f"AMI, t = {shown.time}\n(higher is better)", ylim=(0, None))
    axes[0, 2].set_xticks(range(len(blocks)), blocks, rotation=90)
    legend_below(figure)
    return figure


def _over_time(panel, records: FeatureRecords, side: Side, times: Sequence[int], measure: Callable, **look) -> None:
    """One measure of a way to find clusters, at all times of the grid."""
    rows = [side.row._replace(time=time if side.row.time else 0) for time in times]
    draw_estimates(panel, times, [measure(records, Side(side.model, row), "ami") for row in rows], **look)


def steered(show: Callable[..., Figure], live: bool, **choices: Sequence) -> Figure | None:
    """A figure with one menu for each of `choices`, or, where nobody steers (`live` False), that of the first of each.

    `show` is called with one value of each by name.
    """
    if not live:
        return show(**{name: values[0] for name, values in choices.items()})
    import ipywidgets

    menus = {name: ipywidgets.Dropdown(options=list(values), description=name) for name, values in choices.items()}
    ipywidgets.interact(show, **menus)
    return None
