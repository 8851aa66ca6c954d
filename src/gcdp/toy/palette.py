"""Palettes shared between classes (color alone never tells a class) and the light of a scene."""

from __future__ import annotations

from dataclasses import dataclass

from gcdp.toy.drawing import Color, Dice

VEHICLE = (
    (226, 226, 224),
    (168, 172, 178),
    (104, 108, 114),
    (44, 46, 52),
    (38, 60, 116),
    (152, 36, 36),
    (36, 92, 72),
    (196, 176, 130),
    (214, 168, 44),
    (88, 134, 170),
    (112, 56, 48),
    (232, 206, 180),
)
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
PAVEMENT = ((112, 112, 114), (128, 126, 122), (98, 100, 106), (142, 138, 132), (120, 112, 106), (88, 88, 92))
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
SKIN = ((232, 190, 160), (204, 156, 122), (156, 108, 78), (104, 72, 54))
METAL = ((70, 72, 74), (120, 122, 122), (54, 70, 60), (150, 150, 146), (92, 80, 66), (44, 44, 48))
SIGN = (
    (190, 40, 40),
    (40, 80, 160),
    (220, 190, 50),
    (226, 226, 222),
    (40, 120, 80),
    (210, 120, 40),
    (150, 152, 156),
)
GLASS = ((62, 74, 88), (44, 50, 60), (96, 112, 126), (126, 144, 158), (72, 66, 60))


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


@dataclass(frozen=True)
class Light:
    """Light and weather: gains in 1/256, haze distance in cm (half of the color is haze there)."""

    gain: Color
    sky_top: Color
    sky_low: Color
    haze: Color
    haze_distance: int
    left: int
    right: int
    lean: int
    shadow: int
    dark: bool
    wet: bool
    cloudy: bool
    grain: int

    def side(self, sign: int) -> int:
        """Gain of faces that look toward the street from the left (-1) or right (+1) row."""
        return self.left if sign < 0 else self.right


_HOURS = {  # gain, top of the sky, sky at the horizon
    "noon": ((262, 260, 252), (92, 142, 214), (182, 208, 232)),
    "morning": ((268, 246, 214), (120, 160, 212), (242, 214, 178)),
    "dusk": ((214, 178, 172), (92, 96, 150), (236, 160, 116)),
    "overcast": ((222, 226, 232), (168, 176, 188), (212, 214, 218)),
    "night": ((142, 146, 176), (36, 42, 72), (84, 86, 110)),
}
HOUR_WEIGHTS = ("noon",) * 6 + ("morning",) * 3 + ("dusk",) * 2 + ("overcast",) * 6 + ("night",) * 2


def draw_light(dice: Dice) -> Light:
    """Hour, weather, sun direction and sensor grain of a scene."""
    hour = dice.pick(HOUR_WEIGHTS)
    gain, top, low = _HOURS[hour]
    swing = dice.between(232, 276)
    gain = tuple(c * swing >> 8 for c in gain)
    top, low = tint(dice, (top,)), tint(dice, (low,))
    wet = dice.chance(350 if hour == "overcast" else 80)
    foggy = dice.chance(250 if hour == "overcast" else 60)
    if wet:
        gain = tuple(c * 226 >> 8 for c in gain)
        top, low = mix(top, (120, 126, 134), 110), mix(low, (150, 154, 160), 110)
    if foggy:
        low = mix(low, (208, 210, 212) if hour != "night" else (86, 88, 98), 150)
        top = mix(top, low, 190)
    sunny = hour in ("noon", "morning", "dusk") and not foggy and not wet
    lean = dice.between(-160, 160)
    contrast = dice.between(30, 76) if sunny else dice.between(0, 16)
    left, right = 250 + (contrast if lean > 0 else -contrast), 250 + (-contrast if lean > 0 else contrast)
    distance = dice.between(1500, 3600) if foggy else dice.between(9000, 40000)
    return Light(
        gain,
        top,
        low,
        mix(low, top, 50),
        distance,
        left,
        right,
        lean,
        dice.between(84, 130) if sunny else dice.between(0, 26),
        hour == "night",
        wet,
        hour == "overcast" or dice.chance(400),
        dice.between(2, 8),
    )
