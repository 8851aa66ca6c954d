"""One drawn street: its picture and its labels.

Classes are told by shape, context and texture: vehicles share one palette, and so do walls, buildings and
fences, clothes of persons and riders, leaves and grass, and all pavements. All drawing is integer arithmetic,
so a seed gives the same bytes on any machine (with the pinned Pillow).
"""

from __future__ import annotations

import numpy as np

from gcdp.errors import ConfigError
from gcdp.toy.drawing import HEIGHT, Dice, Sprite, raster_colors, raster_ids
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.layout import compose
from gcdp.toy.streets.light import Light

SIZE = (128, 256)  # (H, W)
SMALLEST = 48  # pixels at 128 x 256 below which a thing is left out
MAX_EXTRA = 152  # 19 named classes and these make 171
# Grain of the materials in 1/16 of the scene's: leaves and grass are rough, asphalt less, the sky smooth.
_ROUGH = {7: 20, 8: 16, 11: 16, 12: 20, 21: 34, 22: 40, 23: 5, 9: 20, 6: 22}


def _visible(sprites: list[Sprite], size: tuple[int, int]) -> list[Sprite]:
    """Drop objects, and whole classes, of which only a sliver would be seen."""
    limit = SMALLEST * size[0] * size[1] // (128 * 256)
    area = np.bincount(raster_ids(sprites, size).ravel(), minlength=len(sprites)).tolist()
    slivers = {k for k, s in enumerate(sprites) if s.role == "object" and area[k] < limit}
    bonds = {sprites[k].bond for k in slivers} - {None}
    kept = [(s, area[k]) for k, s in enumerate(sprites) if k not in slivers and s.bond not in bonds]
    total: dict[int, int] = {}
    for sprite, pixels in kept:
        total[sprite.label] = total.get(sprite.label, 0) + pixels
    return [s for s, _ in kept if total[s.label] >= limit or s.role in ("ground", "sky", "wire")]


def _distance(ids: np.ndarray, sprites: list[Sprite], cam: Camera) -> np.ndarray:
    """Distance in cm, int64 (H, W): that of the sprite, or of the ground point in the pixel's row."""
    rows = np.arange(ids.shape[0], dtype=np.int64) * HEIGHT // ids.shape[0] - cam.hy
    flat = np.where(rows > 0, cam.focal * cam.eye // np.maximum(rows, 1), 30000)
    depth = np.array([s.depth for s in sprites], dtype=np.int64)[ids]
    return np.where(depth == 0, flat[:, None], depth)


def _mirror(image: np.ndarray, wet: np.ndarray, cam: Camera) -> np.ndarray:
    """Blend the picture above a low mirror line into wet ground: int32 (H, W, 3)."""
    height = image.shape[0]
    line = (cam.hy + 14) * height // HEIGHT
    source = np.clip(2 * line - np.arange(height), 0, height - 1)
    return np.where(wet[..., None], (image * 212 + image[source] * 44) >> 8, image)


def _finish(image, shade, ids, sprites, cam: Camera, light: Light, dice: Dice) -> np.ndarray:
    """Shadows, wet ground, haze and grain on the drawn picture: uint8 (H, W, 3)."""
    image = image.astype(np.int32)
    flat = np.array([s.role == "ground" for s in sprites])[ids]
    dim = np.where(flat, 256 - shade.astype(np.int32), 256)
    image = image * dim[..., None] >> 8
    if light.wet:
        image = _mirror(image, flat, cam)
    distance = _distance(ids, sprites, cam)
    weight = (distance * 256 // (distance + light.haze_distance)).astype(np.int32)
    weight[np.array([s.role == "sky" for s in sprites])[ids]] = 0
    image += ((np.array(light.haze, dtype=np.int32) - image) * weight[..., None]) >> 8
    rough = np.array([_ROUGH.get(s.label, 10) for s in sprites], dtype=np.int32)[ids]
    image += ((dice.grain(*ids.shape, light.grain) * rough) >> 4)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def paint(dice: Dice, size: tuple[int, int], extra_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """As `draw_scene`, from dice."""
    height, width = size
    if width != 2 * height or height < 16 or height % 2:
        raise ConfigError(f"size {size} cannot be drawn; choose an even height of at least 16 and twice its width.")
    if not 0 <= extra_classes <= MAX_EXTRA:
        raise ConfigError(f"extra_classes {extra_classes} is out of range; choose 0 to {MAX_EXTRA}.")
    sprites, cam, light = compose(dice, extra_classes)
    sprites = _visible(sprites, size)
    ids = raster_ids(sprites, size)
    colors, shade = raster_colors(sprites, size, light.gain)
    labels = np.array([s.label for s in sprites], dtype=np.uint8)[ids]
    # What is left of a class below the limit is too small to tell, as annotators leave it: unlabeled.
    area = np.bincount(labels.ravel(), minlength=256)
    rare = (area > 0) & (area < SMALLEST * height * width // (128 * 256))
    labels[rare[labels]] = 0
    return _finish(colors, shade, ids, sprites, cam, light, dice), labels


def draw_scene(seed: int, size: tuple[int, int] = SIZE, extra_classes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Args:
        seed: non-negative integer; the same seed gives the same bytes.
        size: (H, W) in pixels with W = 2 H.
        extra_classes: additional object classes with label ids 34, 35, ... (at most 152).

    Returns:
        Image uint8 (H, W, 3) and Cityscapes label ids uint8 (H, W).

    Raises:
        ConfigError: size or extra_classes cannot be drawn.
    """
    return paint(Dice(seed), size, extra_classes)
