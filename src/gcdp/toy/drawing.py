"""Primitives of the drawn worlds: dice, sprites and rasterization.

Everything that reaches a pixel is integer arithmetic, so a seed gives the same bytes on any machine.
Coordinates are design units on a canvas that is 256 high.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

HEIGHT = 256
SUPERSAMPLING = 2

# Cosine and sine of the twelve directions of a clock, in 1/256.
CIRCLE = (
    (256, 0),
    (222, 128),
    (128, 222),
    (0, 256),
    (-128, 222),
    (-222, 128),
    (-256, 0),
    (-222, -128),
    (-128, -222),
    (0, -256),
    (128, -222),
    (222, -128),
)

Point = tuple[int, int]
Color = tuple[int, int, int]


class Dice:
    """Random integers of one scene, from PCG64 raw words (independent of NumPy's bounded-integer method)."""

    def __init__(self, *entropy: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))
        self._words: list[int] = []

    def word(self) -> int:
        """Next non-negative 31-bit integer."""
        if not self._words:
            self._words = (self._bits.random_raw(1024) >> np.uint64(33)).tolist()
        return self._words.pop()

    def between(self, low: int, high: int) -> int:
        """Integer in low..high, both included."""
        return low + self.word() % (high - low + 1)

    def chance(self, per_mille: int) -> bool:
        """True with probability per_mille / 1000."""
        return self.word() % 1000 < per_mille

    def pick(self, options):
        """One element of a sequence."""
        return options[self.word() % len(options)]

    def shuffled(self, options) -> list:
        """The elements in random order."""
        left = list(options)
        return [left.pop(self.word() % len(left)) for _ in range(len(left))]

    def grain(self, height: int, width: int, reach: int) -> np.ndarray:
        """Triangular noise int32 (height, width) in -reach..reach."""
        words = self._bits.random_raw((height * width + 3) // 4).astype("<u8").view(np.uint8).reshape(-1, 2)
        total = words.astype(np.int32).sum(axis=1)[: height * width]
        return (((total - 255) * reach) >> 8).reshape(height, width)


class Sprite:
    """One thing of the scene: drawing commands with one label id.

    `depth` is its distance in cm (fog and order), `role` is "ground", "structure", "object" or "sky".
    Sprites sharing a `bond` (sign and its pole, rider and bicycle) are dropped together.
    """

    __slots__ = ("bond", "commands", "depth", "label", "role")

    def __init__(self, label: int, depth: int, role: str = "object", bond: int | None = None):
        self.label, self.depth, self.role, self.bond = label, depth, role, bond
        self.commands: list[tuple] = []

    def poly(self, points, color, solid=True, glow=False):
        """Filled polygon; solid: it belongs to the silhouette (label); glow: not dimmed by the light."""
        self.commands.append(("polygon", points, color, 0, solid, glow))

    def oval(self, box, color, solid=True, glow=False):
        """Filled ellipse in the box (two corners in any order); color None marks the silhouette alone."""
        (a, b), (c, d) = box
        corners = ((min(a, c), min(b, d)), (max(a, c), max(b, d)))
        self.commands.append(("ellipse", corners, color, 0, solid, glow))

    def ring(self, box, color, width):
        """Outline of an ellipse (image only)."""
        (a, b), (c, d) = box
        corners = ((min(a, c), min(b, d)), (max(a, c), max(b, d)))
        self.commands.append(("ring", corners, color, width, False, False))

    def line(self, points, color, width, solid=True, glow=False):
        """Line of the given width."""
        self.commands.append(("line", points, color, width, solid, glow))

    def shadow(self, points, strength):
        """Darken ground under the polygon by strength / 256."""
        self.commands.append(("shadow", points, strength, 0, False, False))


def _scaled(points, unit: int):
    if unit == HEIGHT:
        return points
    return tuple((x * unit // HEIGHT, y * unit // HEIGHT) for x, y in points)


def _stroke(draw, kind, points, fill, width, unit):
    points = _scaled(points, unit)
    width = width * unit // HEIGHT if width else 0
    if kind == "polygon":
        draw.polygon(points, fill=fill)
    elif kind == "ellipse":
        draw.ellipse(points, fill=fill)
    elif kind == "ring":
        draw.ellipse(points, outline=fill, width=max(1, width))
    else:
        draw.line(points, fill=fill, width=max(1, width))


def raster_ids(sprites: list[Sprite], size: tuple[int, int]) -> np.ndarray:
    """Index of the frontmost sprite at each pixel, uint8 (H, W); sprites come back to front."""
    unit = size[0] * SUPERSAMPLING
    image = Image.new("L", (size[1] * SUPERSAMPLING, unit))
    draw = ImageDraw.Draw(image)
    for index, sprite in enumerate(sprites):
        for kind, points, _, width, solid, _ in sprite.commands:
            if solid:
                _stroke(draw, kind, points, index, width, unit)
    return np.asarray(image)[1::2, 1::2].copy()


def raster_colors(sprites: list[Sprite], size: tuple[int, int], gain: Color) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) lit by gain / 256 per channel, and the shadow plane uint8 (H, W)."""
    unit = size[0] * SUPERSAMPLING
    wide = size[1] * SUPERSAMPLING
    image, shade = Image.new("RGB", (wide, unit)), Image.new("L", (wide, unit))
    draw, dark = ImageDraw.Draw(image), ImageDraw.Draw(shade)
    red, green, blue = gain
    for sprite in sprites:
        for kind, points, color, width, _, glow in sprite.commands:
            if kind == "shadow":
                dark.polygon(_scaled(points, unit), fill=color)
            elif color is not None:
                if not glow:
                    color = (color[0] * red >> 8, color[1] * green >> 8, color[2] * blue >> 8)
                _stroke(draw, kind, points, color, width, unit)
    return np.asarray(image.reduce(SUPERSAMPLING)), np.asarray(shade.reduce(SUPERSAMPLING))
