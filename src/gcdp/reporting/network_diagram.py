"""A drawing of a U-Net read off the built network: levels, blocks, attention, skips, ends, and where text and times
enter. Nothing in it is drawn by hand, so it fits every configuration of `gcdp.network.unet`.
"""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from gcdp.reporting.plotting import IMAGE_COLOR, LAYOUT_COLOR, LEGEND_POINTS, WIDTH

RESIDUAL, READING = "residual block", "residual block, reads the text (cross-attention)"
SELF, BOTH = "self-attention", "self-attention that also reads the text"
FILLS = {RESIDUAL: "#d4d4d4", READING: "#7fbfae", SELF: "#c7b2de", BOTH: "#8a63b5"}
READERS = {READING: "green", BOTH: "dark violet"}  # names of their colors
LINE, SKIP = "#555555", "#999999"
COLORS = {"image": IMAGE_COLOR, "layout": LAYOUT_COLOR}
POINTS = 8.0

# Inches: two columns, the way down and the way up, with room for the skips between them.
SIDE, MARGIN, ROW, GAP = 2.72, 0.1, 0.46, 0.27
BLOCK, STEP = 0.27, 0.36  # edge of the square of a block; from one noise level to the next


class Stage(NamedTuple):
    """What happens at one resolution: name of its tap, (height, width), channels, and the kinds of its blocks."""

    name: str
    size: tuple[int, int]
    channels: int
    blocks: tuple[str, ...]


class EndStage(NamedTuple):
    """Layers at full resolution of one half or both: inputs and outputs as text, kernels, channels, and the halves."""

    halves: tuple[str, ...]
    inputs: str
    outputs: str
    kernels: tuple[int, ...]
    channels: int


def stages(network, size: tuple[int, int]) -> tuple[list[Stage], Stage, list[Stage]]:
    """Levels on the way down, the middle, and levels on the way up (finest first) of a `UNet` for maps of `size`."""
    sizes = [tuple(side // 2 ** (i + 1) for side in size) for i in range(len(network.down))]
    sides = [
        [
            Stage(f"{way}.{i}", sizes[i], level.entry.conv2.out_channels, _kinds(level))
            for i, level in enumerate(getattr(network, way))
        ]
        for way in ("down", "up")
    ]
    parts = (network.mid_in, network.mid_attention, network.mid_out)
    middle = Stage("mid", sizes[-1], network.mid_out.conv2.out_channels, tuple(_kind(part) for part in parts))
    return sides[0], middle, sides[1]


def ends(network) -> list[EndStage]:
    """The stem and the last layers, once, or of each half where it has its own."""
    config, found = network.config, []
    twice = (lambda count: f"{count} + {count}") if config.low_resolution else str
    inputs = {
        "image": f"$x_t$: {twice(config.image_channels)} channels",
        "layout": f"$y_t$: {config.num_classes} classes as {twice(config.layout_embedding)} channels",
    }
    for end in network.ends:
        out = {half: head.out_channels for half, head in end.heads.items()}
        texts = {"image": f"image output: {out.get('image')} channels", "layout": f"K = {out.get('layout')} logits"}
        convolutions = end.stem.convs
        kernels = tuple(each.kernel_size[0] for each in convolutions)
        channels = sum(each.out_channels for each in convolutions)
        halves = tuple(out)
        given, made = ("; ".join(part[half] for half in halves) for part in (inputs, texts))
        found.append(EndStage(halves, given, made, kernels, channels))
    return found


def network_diagram(network, size: tuple[int, int]) -> Figure:
    """The drawing, for a `UNet` and the (height, width) of the maps that it takes."""
    down, middle, up = stages(network, size)
    around, conditions = ends(network), _conditions(network)
    tall = 0.32 + 0.16 * (len(around) - 1)  # narrow boxes have three lines
    rows = ROW + (len(down) + 1) * (ROW + GAP) + 2 * GAP
    height = 2 * MARGIN + tall + rows + STEP * max(3, len(conditions)) + 0.6
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    y = _draw_ends(axes, around, size, height - MARGIN, tall)
    y = _draw_levels(axes, down, middle, up, y)
    kinds = {kind for stage in (*down, middle, *up) for kind in stage.blocks}
    _draw_conditions(axes, network, conditions, kinds, y - GAP)
    patches = [Patch(facecolor=color, edgecolor=LINE, linewidth=0.5) for kind, color in FILLS.items() if kind in kinds]
    names = [kind for kind in FILLS if kind in kinds]
    place = {"loc": "lower center", "ncols": 2, "handlelength": 1.1, "frameon": False}
    figure.legend(patches, names, fontsize=LEGEND_POINTS, **place)
    return figure


def _kind(part) -> str:
    """What a block is, by the layers it has."""
    if hasattr(part, "attention"):
        return SELF if part.attention.context_kv is None else BOTH
    return RESIDUAL if part.cross is None else READING


def _kinds(level) -> tuple[str, ...]:
    parts = [level.entry, *level.blocks, *([] if level.transformer is None else [level.transformer])]
    return tuple(_kind(part) for part in parts)


def _conditions(network) -> list[tuple[str, str]]:
    """What else the network is told: text of each source, and its color."""
    found = [
        ("noise level of $x_t$ (log-SNR)", IMAGE_COLOR, network.noise_x),
        ("noise level of $y_t$ (log-SNR)", LAYOUT_COLOR, network.noise_y),
        ("noise level of the smaller pair", LINE, network.low_noise),
    ]
    text = f"caption: token states, {network.text.project.in_features} wide"
    return [(name, color) for name, color, part in found if part is not None] + [(text, LINE)]


def _draw_ends(axes: Axes, around: list[EndStage], size: tuple[int, int], top: float, tall: float) -> float:
    """Inputs above stems at the left, outputs above the last blocks at the right; returns the y of their lower edge."""
    number = len(around)
    wide = (SIDE - 0.2 * (number - 1)) / number
    low = top - tall - GAP - ROW
    for i, end in enumerate(around):
        color = COLORS[end.halves[0]] if len(end.halves) == 1 else LINE
        enter, leave = MARGIN + i * (wide + 0.2), WIDTH - MARGIN - wide - i * (wide + 0.2)
        kernels = ", ".join(f"{kernel}×{kernel}" for kernel in end.kernels)
        for x, text in ((enter, end.inputs), (leave, end.outputs)):
            narrow = text.replace(": ", ":\n").replace(" as ", " as\n")
            _box(axes, x, top - tall, wide, tall, text.replace("; ", ";\n") if number == 1 else narrow, color)
        channels, apart = f"{end.channels} channels", " " if number == 1 else "\n"
        _box(axes, enter, low, wide, ROW, f"stem{apart}{kernels}\n{channels}", color)
        _box(axes, leave, low, wide, ROW, f"residual block,{apart}head\n{channels}", color, FILLS[RESIDUAL])
        y = low + ROW * (0.5 if number == 1 else 0.75 - 0.5 * i)
        _arrow(axes, (enter + wide, y), (leave, y), SKIP, "--")
        for x, down in ((enter + wide / 2, True), (leave + wide / 2, False)):
            ends_at = ((x, top - tall), (x, low + ROW))
            _arrow(axes, *(ends_at if down else ends_at[::-1]), color)
            ends_at = ((x, low), (x, low - GAP))
            _arrow(axes, *(ends_at if down else ends_at[::-1]), color)
    _between(axes, low + ROW * (0.5 if number == 1 else 0.75), f"{size[0]} × {size[1]}")
    return low - GAP


def _draw_levels(axes: Axes, down: list[Stage], middle: Stage, up: list[Stage], top: float) -> float:
    """Each level down beside its level up, the middle below them; returns the y of the lower edge."""
    left, right = MARGIN, WIDTH - MARGIN - SIDE
    for i, (first, second) in enumerate(zip(down, up, strict=True)):
        low = top - ROW
        for x, stage in ((left, first), (right, second)):
            _level(axes, x, low, SIDE, stage)
        maps = len([kind for kind in first.blocks if kind in (RESIDUAL, READING)])
        _arrow(axes, (left + SIDE, low + ROW / 2), (right, low + ROW / 2), SKIP, "--")
        _between(axes, low + ROW / 2, f"{first.size[0]} × {first.size[1]}")
        skips = f"{maps} skip{'s' if maps > 1 else ''}"
        _between(axes, low + ROW / 2, f"{first.channels} channels\n{skips}", above=False)
        if i + 1 < len(down):
            _arrow(axes, (left + SIDE / 2, low), (left + SIDE / 2, low - GAP))
            _arrow(axes, (right + SIDE / 2, low - GAP), (right + SIDE / 2, low))
        top = low - GAP
    low = top - ROW
    wide = 1.75
    x, y = (WIDTH - wide) / 2, low + ROW / 2
    axes.plot([left + SIDE / 2] * 2, [top + GAP, y], color=LINE, linewidth=0.9)
    _arrow(axes, (left + SIDE / 2, y), (x, y))
    axes.plot([x + wide, right + SIDE / 2], [y, y], color=LINE, linewidth=0.9)
    _arrow(axes, (right + SIDE / 2, y), (right + SIDE / 2, top + GAP))
    _level(axes, x, low, wide, middle)
    return low


def _draw_conditions(axes: Axes, network, conditions: list[tuple[str, str]], kinds: set[str], top: float) -> None:
    """Noise levels and text at the left; at the right the vector that they make, and the tokens that are read."""
    latents, tokens = network.text.resampler.latents.shape
    texts = [
        f"sum of what they become, one vector of {network.text.null_pooled.shape[1]}:\n"
        "scales and shifts the features\ninside every residual block",
        f"{latents + network.text.POOLED_TOKENS} context tokens, {tokens} wide:\n"
        f"read by the {' and the '.join(READERS[kind] for kind in READERS if kind in kinds)} blocks",
    ]
    wide, tall = SIDE - 0.6, 0.48
    x, total = WIDTH - MARGIN - SIDE - 0.4, STEP * max(3, len(conditions))
    targets = [(x, top - total * place) for place in (0.22, 0.8)][: 2 if kinds & READERS.keys() else 1]
    for (_, y), text in zip(targets, texts):
        _box(axes, x, y - tall / 2, SIDE + 0.4, tall, text, LINE)
    for i, (text, color) in enumerate(conditions):
        y = top - STEP * (i + 0.5)
        _box(axes, MARGIN, y - 0.13, wide, 0.26, text, color)
        of_text = i + 1 == len(conditions)  # the caption comes last
        for target in targets if of_text else targets[:1]:
            _arrow(axes, (MARGIN + wide, y), target, color)


def _box(axes: Axes, x: float, y: float, wide: float, tall: float, text: str, color: str, fill: str = "white") -> None:
    style = "round,pad=0,rounding_size=0.05"
    axes.add_patch(FancyBboxPatch((x, y), wide, tall, style, facecolor=fill, edgecolor=color, linewidth=1.0))
    if text:
        axes.text(x + wide / 2, y + tall / 2, text, ha="center", va="center", fontsize=POINTS, linespacing=1.15)


def _level(axes: Axes, x: float, y: float, wide: float, stage: Stage) -> None:
    """A box with one square a block, in order from left to right."""
    _box(axes, x, y, wide, ROW, "", LINE)
    axes.text(x + 0.07, y + ROW / 2, stage.name, ha="left", va="center", fontsize=POINTS, color=LINE)
    room = wide - 0.62
    pitch = min(BLOCK + 0.05, room / len(stage.blocks))
    start = x + 0.56 + (room - pitch * len(stage.blocks)) / 2
    for i, kind in enumerate(stage.blocks):
        edge = pitch - 0.05
        corner = start + i * pitch, y + (ROW - BLOCK) / 2
        axes.add_patch(Rectangle(corner, edge, BLOCK, facecolor=FILLS[kind], edgecolor=LINE, linewidth=0.5))


def _between(axes: Axes, y: float, text: str, above: bool = True) -> None:
    """A line of text over or under a skip."""
    shift, side = (0.04, "bottom") if above else (-0.04, "top")
    axes.text(WIDTH / 2, y + shift, text, ha="center", va=side, fontsize=POINTS, color=LINE)


def _arrow(axes: Axes, start, stop, color: str = LINE, style: str = "-") -> None:
    look = {"arrowstyle": "-|>", "color": color, "linewidth": 0.9, "linestyle": style, "mutation_scale": 8}
    # skips pass behind the boxes
    axes.annotate("", stop, start, arrowprops={**look, "shrinkA": 0, "shrinkB": 0}, zorder=0.5 if color == SKIP else 3)
