"""One look for all figures: grids of pairs with their legend, training curves, files equal to the byte.

Figures are as wide as the text of a printed page. Series have the colors of Okabe and Ito, which color-blind readers
tell apart; the colors of classes are those of their dataset, whatever they are.

Figures are `matplotlib.figure.Figure` objects that pyplot does not know: a notebook cell that ends with one
shows it once, and nothing has to be closed.
"""

from __future__ import annotations

import io
import math
import sys
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError

WIDTH = 7.0  # inches of every figure: the text width of a page, so that points are points in print
MAX_HEIGHT = 10.5  # inches: a page, or a screen and a half
DPI = 300
# Okabe and Ito, without their yellow, which is too light for lines
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK, GRAY = SERIES = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#000000", "#777777",
)  # fmt: skip
IMAGE_COLOR, LAYOUT_COLOR = VERMILION, BLUE  # the two chains, in every figure
# Captions below pictures are sentences in a column as wide as the picture: at 8 points few would fit.
CAPTION_POINTS, LEGEND_POINTS, TITLE_POINTS = 7.0, 8.0, 9.5
PALETTE_UP_TO = 4096  # colors: of more, 256 would change photographs visibly
STYLE = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so that all machines draw the same
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
}
CURVE_UNITS = {"image": "image loss (mean squared error)", "layout": "layout loss (nats a pixel)"}


def use_style() -> None:
    """Set the look of all figures; inside a notebook also make PNG the only embedded format."""
    matplotlib.rcParams.update(STYLE)
    # tqdm's advice to install widgets names a folder of this machine, and would be kept in executed notebooks.
    warnings.filterwarnings("ignore", message="IProgress not found")
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png")


def panels(
    rows: int = 1, columns: int = 1, height: float = 2.5, title: str | None = None, letters: bool = True, **options
) -> tuple[Figure, np.ndarray]:
    """Empty axes (rows, columns) in a figure of the house width; `height` is inches a row, `MAX_HEIGHT` at most in all.

    Several panels get letters (a), (b), ... at their upper left, unless `letters` is False. `options` go to
    `Figure.subplots` (sharex, width_ratios, ...).
    """
    figure = Figure(figsize=(WIDTH, min(MAX_HEIGHT, rows * height)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    if letters and axes.size > 1:
        for number, panel in enumerate(axes.flat):
            panel.set_title(f"({chr(ord('a') + number)})", loc="left")
    if title:
        figure.suptitle(title, fontsize=TITLE_POINTS)
    return figure, axes


def entitle(panel: Axes, text: str) -> None:
    """Write the title of a panel behind its letter."""
    panel.set_title(f"{panel.get_title(loc='left')} {text}".strip(), loc="left")


def legend_below(figure: Figure, columns: int | None = None) -> None:
    """One legend for all panels beneath them: each name once, as many columns as fit."""
    named: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(text, handle)
    if named:
        fitting = int(WIDTH / (0.5 + max(map(len, named)) * 0.56 * LEGEND_POINTS / 72))
        columns = columns or max(1, min(len(named), fitting))
        figure.legend(named.values(), named, loc="outside lower center", ncols=columns)


def class_legend(target, classes: ClassTable, present: Iterable[int], columns: int | None = None, **placement):
    """Color patches with the names of the classes `present` (indices), in table order.

    `target` is a figure or axes; `placement` goes to its `legend` (loc, bbox_to_anchor, ...).
    """
    shown = sorted({int(index) for index in present})
    colors = [tuple(value / 255 for value in classes.colors[index]) for index in shown]
    patches = [Patch(facecolor=color, edgecolor="#666666", linewidth=0.4) for color in colors]
    names = [classes.names[index] for index in shown]
    options = {"loc": "lower center", "fontsize": LEGEND_POINTS, "handlelength": 1.3, "columnspacing": 1.4}
    options["ncols"] = columns or legend_columns(WIDTH, len(shown))
    return target.legend(patches, names, **{**options, **placement})


def legend_columns(width: float, count: int) -> int:
    """How many columns of class names fit into `width` inches."""
    return max(1, min(count, int(width / 1.22)))


def pair_grid(
    images,
    layouts,
    classes: ClassTable | None,
    captions: Sequence[str] | None = None,
    columns: int = 4,
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    legend: bool = True,
) -> Figure:
    """A grid of pairs: each image above its layout, its caption beneath, and a legend of the classes seen.

    Args:
        images: uint8 (N, H, W, 3), or None for layouts alone.
        layouts: integers (N, H, W), or None for images alone.
        classes: table of the layouts; may be None where `layouts` is.
        captions: one string a pair; long lines are wrapped, line breaks kept.
        row_labels: one string a row of pairs, written at its left.
        legend: whether to name the colors.

    Pictures are as large as the width allows, and smaller where the figure would be higher than `MAX_HEIGHT`.

    Raises DataError where there is nothing to draw or the numbers of images, layouts, captions differ.
    """
    return stacked_grids([_Grid(images, layouts, classes, captions, columns, title, row_labels, legend)])


def stacked_grids(grids: Sequence[_Grid | Mapping]) -> Figure:
    """Several grids in one figure, from top to bottom, each with its own classes and legend.

    `grids`: the arguments of `pair_grid`, by name, of each.
    """
    grids = [grid if isinstance(grid, _Grid) else _Grid(**grid) for grid in grids]
    shares = [grid.height / sum(each.height for each in grids) for grid in grids]
    for grid, share in zip(grids, shares):
        grid.fit(share * MAX_HEIGHT)
    figure = Figure(figsize=(max(grid.width for grid in grids), sum(grid.height for grid in grids)))
    parts = figure.subfigures(len(grids), 1, height_ratios=[grid.height for grid in grids], squeeze=False)
    for grid, part in zip(grids, parts[:, 0]):
        grid.draw(part, figure.get_figwidth())
    return figure


class _Grid:
    """Geometry of `pair_grid`, in inches: fixed sizes, because automatic layouts clip wrapped captions."""

    GAP, GUTTER, MARGIN = 0.04, 0.12, 0.06

    def __init__(self, images, layouts, classes, captions=None, columns=4, title=None, row_labels=None, legend=True):
        self.stacks = [np.asarray(stack) for stack in (images, layouts) if stack is not None]
        given = [len(texts) for texts in (captions,) if texts is not None]
        counts = sorted({*map(len, self.stacks), *given})
        if not self.stacks or len(counts) != 1 or 0 in counts:
            raise DataError(f"a grid needs images, layouts and captions of one number > 0, got {counts}.")
        self.classes, self.title, self.row_labels = classes, title, row_labels
        self.present = np.unique(np.asarray(layouts)) if layouts is not None and legend else []
        if layouts is not None:
            self.stacks[-1] = classes.colorize(self.stacks[-1])
        self.texts, number = captions, len(self.stacks[0])
        self.margins = 2 * self.MARGIN + (0.24 if self.row_labels else 0.0)
        self.columns = min(columns, number)
        self.rows = math.ceil(number / self.columns)
        self.top = self.MARGIN + (0.3 if self.title else 0.0)
        self.cell = min(3.2, (WIDTH - self.margins + self.GUTTER) / columns - self.GUTTER)
        self._measure()

    def fit(self, height: float) -> None:
        """Make the cells smaller until all is no higher than `height`, in inches, or lowest: captions get longer."""
        tried = {self.cell: self.height}
        while self.height > height and self.cell > 0.3:
            self.cell *= 0.97
            self._measure()
            tried[self.cell] = self.height
        self.cell = self.cell if self.height <= height else min(tried, key=tried.__getitem__)
        self._measure()

    def _measure(self) -> None:
        """Sizes that follow from the width of a cell."""
        self.width = max(4.5, self.margins + self.columns * (self.cell + self.GUTTER) - self.GUTTER)
        self.captions = [wrap_text(text, self.cell) for text in self.texts or ()]
        self.heights = [self.cell * stack.shape[1] / stack.shape[2] for stack in self.stacks]
        self.blocks = []
        for row in range(self.rows):
            texts = self.captions[row * self.columns : (row + 1) * self.columns]
            lines = max((text.count("\n") + 1 for text in texts if text), default=0)
            caption = lines * CAPTION_POINTS * 1.25 / 72 + (0.03 if lines else 0.0)
            self.blocks.append(sum(self.heights) + self.GAP * len(self.heights) + self.GUTTER + caption)
        self.legend_columns = legend_columns(self.width, len(self.present))
        legend_rows = math.ceil(len(self.present) / self.legend_columns)
        self.bottom = legend_rows * LEGEND_POINTS * 1.7 / 72 + (0.08 if legend_rows else 0.0)
        self.height = self.top + sum(self.blocks) + self.bottom

    def draw(self, figure, width: float) -> None:
        """Draw into a figure or subfigure of `width` x `self.height` inches, centered."""
        used = self.columns * (self.cell + self.GUTTER) - self.GUTTER
        left = (width - used + (0.24 if self.row_labels else 0.0)) / 2
        if self.title:
            y = 1 - 0.17 / self.height
            figure.text(0.5, y, self.title, ha="center", va="center", fontsize=TITLE_POINTS)
        for position in range(len(self.stacks[0])):
            row, column = divmod(position, self.columns)
            x, y = left + column * (self.cell + self.GUTTER), self.height - self.top - sum(self.blocks[:row])
            if self.row_labels and column == 0:
                at = ((x - 0.15) / width, (y - sum(self.heights) / 2) / self.height)
                figure.text(*at, self.row_labels[row], ha="center", va="center", rotation=90)
            self._cell(figure, width, position, x, y)
        if len(self.present):
            place = {"bbox_to_anchor": (0.5, 0.0), "borderaxespad": 0.3}
            class_legend(figure, self.classes, self.present, self.legend_columns, **place)

    def _cell(self, figure, width: float, position: int, x: float, y: float) -> None:
        for stack, tall in zip(self.stacks, self.heights):
            y -= tall
            box = (x / width, y / self.height, self.cell / width, tall / self.height)
            show_picture(figure.add_axes(box), stack[position])
            y -= self.GAP
        if self.captions:
            at = ((x + self.cell / 2) / width, (y - 0.01) / self.height)
            text = self.captions[position]
            figure.text(*at, text, ha="center", va="top", fontsize=CAPTION_POINTS, linespacing=1.2)


def wrap_text(text: str, inches: float, points: float = CAPTION_POINTS) -> str:
    """Break `text` into lines that fit `inches` at a font size of `points`; its own line breaks stay."""
    letters = max(8, int(inches * 72 / (0.56 * points)))  # 0.56 em: mean advance of the font, with margin
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def show_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show uint8 (H, W, 3) with crisp pixels, a hairline frame and no ticks."""
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.5, color="#888888")


def curve_plot(
    rows: Sequence[Mapping[str, float]] | Mapping[str, Sequence[Mapping[str, float]]],
    title: str | None = None,
    log: bool = False,
    units: Mapping[str, str] = CURVE_UNITS,
) -> Figure:
    """Training curves: one panel for each half that was trained, means of training and validation losses.

    Args:
        rows: what `gcdp.training.curve.read_curve` returns, or several of them by name (one color each).
        log: logarithmic loss axis.
        units: axis label of each half, {"image": ..., "layout": ...}.

    Raises DataError where no row holds a loss.
    """
    runs = rows if isinstance(rows, Mapping) else {"": rows}
    halves = [half for half in units if any(half in row for run in runs.values() for row in run)]
    if not halves:
        raise DataError("the training curve holds no loss: train for at least one logged step.")
    figure, axes = panels(1, len(halves), 2.6, title)
    for half, panel in zip(halves, axes[0]):
        for number, (name, run) in enumerate(runs.items()):
            color = f"C{number}" if len(runs) > 1 else {"image": IMAGE_COLOR}.get(half, LAYOUT_COLOR)
            _curve(panel, run, half, color, f"{name} " if name else "")
        panel.set(xlabel="training step", ylabel=units[half], yscale="log" if log else "linear")
        panel.legend()
    return figure


def _curve(panel: Axes, run, half: str, color: str, name: str) -> None:
    train = [(row["step"], row[half]) for row in run if half in row]
    held_out = [(row["step"], row[f"val_{half}"]) for row in run if f"val_{half}" in row]
    if train:
        panel.plot(*zip(*train), color=color, alpha=0.45, linewidth=1.0, label=f"{name}training")
    if held_out:
        panel.plot(*zip(*held_out), color=color, marker="o", markersize=3, label=f"{name}validation")


def save_figure(figure: Figure, folder: str | Path, name: str) -> Figure:
    """Write folder/name.png and .pdf without dates: equal figures give equal files. Returns the figure.

    A PNG of few colors, as of curves, is written with a palette of 256.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB")
    if picture.getcolors(PALETTE_UP_TO):
        picture = picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(folder / f"{name}.png", optimize=True, dpi=(DPI, DPI))
    blank = {"Creator": None, "Producer": None, "CreationDate": None}
    figure.savefig(folder / f"{name}.pdf", dpi=DPI, metadata=blank)
    return figure
