"""Palettes that both worlds use, shared between classes (color alone never tells a class), and mixing of colors."""

from __future__ import annotations

from gcdp.toy.drawing import Color, Dice

MASONRY = (
    (156, 92, 74),
    (190, 168, 132),
    (150, 148, 144),
    (214, 204, 182),
    (122, 96, 78),
    (196, 148, 130),
    (110, 116, 124),
    (222, 220, 214),
    (172, 150, 96),
    (132, 142, 132),
    (96, 72, 62),
)
FOLIAGE = (
    (58, 92, 44),
    (82, 112, 50),
    (44, 74, 46),
    (112, 118, 58),
    (134, 108, 58),
    (96, 84, 52),
    (70, 104, 66),
)
CLOTHES = (
    (40, 42, 50),
    (60, 74, 110),
    (150, 50, 48),
    (196, 190, 180),
    (90, 70, 56),
    (72, 104, 84),
    (200, 160, 60),
    (120, 124, 132),
    (214, 120, 60),
    (104, 60, 104),
    (66, 120, 160),
)


def scale(color: Color, gain: int) -> Color:
    """Color times gain / 256, clipped to a byte."""
    return tuple(min(255, c * gain >> 8) for c in color)


def mix(first: Color, second: Color, weight: int) -> Color:
    """(256 - weight) parts of the first and weight parts of the second color."""
    return tuple((a * (256 - weight) + b * weight) >> 8 for a, b in zip(first, second, strict=True))


def tint(dice: Dice, palette) -> Color:
    """A palette color with jitter in brightness and in each channel."""
    gain = dice.between(212, 284)
    return tuple(max(0, min(255, (c * gain >> 8) + dice.between(-9, 9))) for c in dice.pick(palette))
