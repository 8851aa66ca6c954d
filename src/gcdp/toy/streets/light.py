"""Light and weather of a street scene."""

from __future__ import annotations

from dataclasses import dataclass

from gcdp.toy.drawing import Color, Dice
from gcdp.toy.palette import mix, tint


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
