"""Backdrop, light and materials: what turns the flat drawing of a face into a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gcdp.toy.drawing import Color, Dice
from gcdp.toy.faces.head import CLOTH, EARRING, FLESH, HAIR, HAT, NECK
from gcdp.toy.faces.person import HAIR as HAIR_COLORS
from gcdp.toy.faces.person import SKIN as SKIN_COLORS
from gcdp.toy.faces.person import Person, Pose
from gcdp.toy.palette import CLOTHES, FOLIAGE, MASONRY, tint

_BACKDROPS = (*CLOTHES, *MASONRY, *FOLIAGE, *SKIN_COLORS["middle"])
_BACKDROPS += tuple(color for name in ("black", "brown", "blond", "gray") for color in HAIR_COLORS[name])
_GAINS = ((256, 256, 256), (260, 256, 248), (264, 254, 242), (250, 255, 262), (252, 256, 260))


@dataclass(frozen=True)
class Light:
    """Light of a picture: the side it comes from (in 1/256, negative: from the picture's left), gains in 1/256,
    sensor grain, and the two main colors of the background."""

    side: int
    gain: Color
    grain: int
    first: Color
    second: Color


def draw_light(dice: Dice) -> Light:
    """Roll side, warmth, exposure and grain."""
    exposure = dice.between(230, 274)
    gain = tuple(c * exposure >> 8 for c in dice.pick(_GAINS))
    side, grain = dice.between(-72, 72), dice.between(3, 10)
    return Light(side, gain, grain, tint(dice, _BACKDROPS), tint(dice, _BACKDROPS))


def _backdrop(light: Light, dice: Dice, size: int) -> np.ndarray:
    """Soft background int32 (size, size, 3): a gradient with patches of light, panels or a landscape's bands."""
    cells = 16
    rows, columns = np.mgrid[0:cells, 0:cells].astype(np.int32)
    slope = rows if dice.chance(500) else columns
    weight = (slope * 17)[..., None]
    field = (np.array(light.first) * (255 - weight) + np.array(light.second) * weight) >> 8
    kind = dice.pick(("plain", "blobs", "blobs", "panels", "bands"))
    for _ in range({"plain": 0, "blobs": dice.between(3, 9), "panels": dice.between(2, 4), "bands": 2}[kind]):
        color, a, b = tint(dice, _BACKDROPS), dice.between(0, cells - 1), dice.between(0, cells - 1)
        if kind == "blobs":
            inside = (rows - a) ** 2 + (columns - b) ** 2 <= dice.between(2, 18)
        elif kind == "panels":
            inside = (columns >= b) & (columns < b + dice.between(2, 6))
        else:
            inside = rows >= a
        field[inside] = (field[inside] + 3 * np.array(color)) >> 2
    return _blur(np.repeat(np.repeat(field, size // cells, axis=0), size // cells, axis=1), dice.between(2, 6))


def _blur(field: np.ndarray, reach: int) -> np.ndarray:
    """Mean over a square of 2 reach + 1 pixels, of int32 (H, W, 3)."""
    for axis in (0, 1):
        pads = [(reach + 1, reach) if k == axis else (0, 0) for k in range(3)]
        total = np.cumsum(np.pad(field, pads, mode="edge"), axis=axis, dtype=np.int32)
        width = 2 * reach + 1
        high, low = np.split(total, [width], axis=axis)[1], np.split(total, [-width], axis=axis)[0]
        field = (high - low) // width
    return field


class _Grid:
    """Face coordinates of the pixels, int32 (size, size) each: u, v in face units."""

    def __init__(self, pose: Pose, size: int):
        step = 256 // size
        y, x = np.mgrid[0:size, 0:size].astype(np.int32) * step + step // 2
        x, y = x - pose.x, y - pose.y
        self.u = (x * 256 + y * pose.tilt) // pose.size
        self.v = (y * 256 - x * pose.tilt) // pose.size

    def blob(self, u: int, v: int, wide: int, high: int) -> np.ndarray:
        """Soft spot 0..256, 256 at (u, v) and 0 outside the ellipse."""
        across, down = (self.u - u) * 256 // wide, (self.v - v) * 256 // high
        return np.maximum(0, 256 - ((across * across + down * down) >> 8))


def _skin_gain(grid: _Grid, pose: Pose, light: Light) -> np.ndarray:
    """Gain of flesh in 1/256: a lit and a dark side, dim edges, sockets, forehead and chin."""
    bend = pose.turn * 12 // 100
    round_u = np.clip((grid.u - bend) * 256 // 76, -300, 300)
    gain = 254 + ((round_u * light.side) >> 8) - ((round_u * round_u) * 52 >> 16)
    gain = gain + (grid.blob(bend, -46, 52, 34) * 16 >> 8) + (grid.blob(bend, 90, 26, 22) * 10 >> 8)
    for side in (-1, 1):
        gain -= grid.blob(side * 30 + bend, -8, 30, 24) * 30 >> 8
        gain -= grid.blob(side * 46 + bend, 62, 26, 40) * 14 >> 8
        gain += grid.blob(side * 36 + bend, 28, 26, 22) * 18 >> 8
    return gain


def _hair_gain(grid: _Grid, person: Person, light: Light, dice: Dice) -> tuple[np.ndarray, np.ndarray]:
    """Gain of hair in 1/256 and an added shine: strands that radiate from the part, bands of waves."""
    u, v = grid.u - person.part // 2, grid.v
    strand = u * 256 // np.maximum(60, v + 190)
    noise = np.array([dice.between(-128, 128) for _ in range(256)], dtype=np.int32)
    if person.wavy:
        curl = _wave(v * 5 + u * 2 + person.part * 3, 160)
        strand = strand + curl * 10 // 256
    lines = noise[strand & 255] + noise[(strand * 3 + 40) & 255] // 2
    gain = 250 + lines * 40 // 256 + ((np.clip(u, -90, 90) * light.side) >> 8)
    shine = grid.blob(light.side // 2, -84, 60, 22) * 30 >> 8
    if person.wavy:
        bands = _wave(v * 9 + _wave(u * 5, 260) // 3 + abs(u) * 3 + lines // 4, 270)
        gain = gain + bands * 74 // 256
        shine = shine + np.maximum(0, bands - 60) * 44 // 256
    else:
        gain = gain - (np.clip(v - 20, 0, 120) * 40 >> 8)
    return gain, shine


def _wave(x: np.ndarray, period: int) -> np.ndarray:
    """Smooth wave -256..256 of parabolas."""
    phase = (x % period) * 1024 // period - 512
    return np.where(phase < 0, -1, 1) * ((abs(phase) * (512 - abs(phase))) >> 8)


def finish(colors: np.ndarray, parts: np.ndarray, person: Person, pose: Pose, light: Light, dice: Dice) -> np.ndarray:
    """Picture uint8 (H, W, 3) from flat colors uint8 (H, W, 3) and visible parts uint8 (H, W).

    The background fills the pixels of part 0; flesh, hair and cloth are shaded, then light and grain go over all.
    """
    size = parts.shape[0]
    grid = _Grid(pose, size)
    image = np.where((parts == 0)[..., None], _backdrop(light, dice, size), colors.astype(np.int32))
    gain = np.full(parts.shape, 256, dtype=np.int32)
    flesh = np.isin(parts, (*FLESH, 4, 5))
    gain = np.where(flesh, _skin_gain(grid, pose, light), gain)
    gain[parts == NECK] -= 16
    strands, shine = _hair_gain(grid, person, light, dice)
    hair = parts == HAIR
    gain[hair] = strands[hair]
    folds = _wave(grid.u * 4 + grid.v * 3 + person.part * 9, 260) * 22 // 256
    draped = (parts == CLOTH) | (parts == HAT)
    gain[draped] += (folds + (grid.u * light.side // 300))[draped]
    image = image * np.clip(gain, 40, 420)[..., None] >> 8
    image += np.where(hair, shine, 0)[..., None]
    if person.tone != "dark":
        image += _blush(grid, pose, flesh, 26 if person.male else 44)
    grain = dice.grain(size, size, light.grain)
    rough = np.where(flesh, 10, np.where(parts == EARRING, 4, 16))
    image = image * np.array(light.gain, dtype=np.int32) >> 8
    return np.clip(image + ((grain * rough) >> 4)[..., None], 0, 255).astype(np.uint8)


def _blush(grid: _Grid, pose: Pose, flesh: np.ndarray, strength: int) -> np.ndarray:
    """Reddened cheeks: int32 (H, W, 3) to add."""
    bend = pose.turn * 12 // 100
    spots = sum(grid.blob(side * 40 + bend, 34, 26, 24) for side in (-1, 1)) * flesh * strength
    return np.stack([spots >> 12, -spots >> 10, -spots >> 11], axis=-1)
