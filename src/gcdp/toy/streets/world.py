"""A street world drawn by program, written as a Cityscapes tree so that the Cityscapes reader reads it.

Classes are told by shape, context and texture: vehicles share one palette, and so do walls, buildings and
fences, clothes of persons and riders, leaves and grass, and all pavements. All drawing is integer arithmetic,
so a seed gives the same bytes on any machine (with the pinned Pillow).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from gcdp.errors import ConfigError, DataError
from gcdp.toy.drawing import HEIGHT, Camera, Dice, Sprite, raster_colors, raster_ids
from gcdp.toy.palette import Light
from gcdp.toy.streets.layout import compose
from gcdp.toy.streets.scene import EXTRA_PRESENCE, PRESENCE

__all__ = ["EXTRA_PRESENCE", "PRESENCE", "SPLITS", "draw_scene", "generate"]

SPLITS = {"train": 0, "val": 1, "test": 2}
SMALLEST = 48  # pixels at 128 x 256 below which a thing is left out
MAX_EXTRA = 152  # 19 named classes and these make 171
_CITY = "toyville"
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


def _paint(dice: Dice, size: tuple[int, int], extra_classes: int) -> tuple[np.ndarray, np.ndarray]:
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


def draw_scene(seed: int, size: tuple[int, int] = (128, 256), extra_classes: int = 0) -> tuple[np.ndarray, np.ndarray]:
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
    return _paint(Dice(seed), size, extra_classes)


def _write(array: np.ndarray, path: Path) -> None:
    """Write a PNG under a temporary name, then rename it: no half-written file keeps the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    Image.fromarray(array).save(partial, format="PNG", compress_level=4)
    os.replace(partial, path)


def generate(
    root: Path,
    counts: dict[str, int],
    seed: int = 0,
    size: tuple[int, int] = (128, 256),
    extra_classes: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write a drawn world as a Cityscapes tree (leftImg8bit and gtFine with label ids).

    Scenes of a split depend on (seed, split, index) alone, so splits are disjoint, a larger count continues a
    smaller one, and a stopped run resumes: pairs already complete are left as they are. `world.json` notes what
    was asked for; another world, smaller counts or changed drawing code start the tree anew.

    Args:
        root: folder to write into.
        counts: scenes per split; splits are "train", "val" and "test".
        seed: non-negative integer of the world.
        size: (H, W) in pixels with W = 2 H.
        extra_classes: as in `draw_scene`.
        progress: called as progress(split, done, total) after each scene.

    Raises:
        ConfigError: a split is unknown, a count is negative, or size or extra_classes cannot be drawn.
        DataError: `root` holds a tree that was not drawn by this function.
    """
    for split, count in counts.items():
        if split not in SPLITS:
            raise ConfigError(f"counts names the unknown split {split!r}; choose from {', '.join(SPLITS)}.")
        if count < 0:
            raise ConfigError(f"counts asks for {count} scenes of {split!r}; give zero or more.")
    world = {"seed": seed, "size": list(size), "extra_classes": extra_classes, "drawing": _drawing_version()}
    _clear_other_world(Path(root), world, counts)
    for split, count in counts.items():
        for index in range(count):
            _write_pair(Path(root), split, index, seed, size, extra_classes)
            if progress is not None:
                progress(split, index + 1, count)


def _drawing_version() -> str:
    """Fingerprint of the code that draws, Pillow included."""
    digest = hashlib.sha256(PIL.__version__.encode())
    folder = Path(__file__).parent
    for path in (*sorted(folder.glob("*.py")), *sorted(folder.parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _clear_other_world(root: Path, world: dict, counts: dict[str, int]) -> None:
    """Remove a tree that this request does not continue, and note the request in world.json."""
    manifest = root / "world.json"
    trees = [root / name for name in ("leftImg8bit", "gtFine") if (root / name).exists()]
    if trees and not manifest.is_file():
        raise DataError(f"{root} holds a dataset that was not drawn here: choose an empty folder for the toy world.")
    noted = json.loads(manifest.read_text(encoding="utf-8")) if trees else {}
    before = noted.pop("counts", {})
    if noted != world or any(counts.get(split, 0) < count for split, count in before.items()):
        for tree in trees:
            shutil.rmtree(tree)
    root.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({**world, "counts": counts}, indent=1) + "\n", encoding="utf-8")


def _write_pair(root: Path, split: str, index: int, seed: int, size, extra_classes: int) -> None:
    stem = f"{_CITY}_{index:06d}_000019"
    image_path = root / "leftImg8bit" / split / _CITY / f"{stem}_leftImg8bit.png"
    label_path = root / "gtFine" / split / _CITY / f"{stem}_gtFine_labelIds.png"
    if image_path.exists() and label_path.exists():
        return
    image, labels = _paint(Dice(seed, SPLITS[split], index), size, extra_classes)
    _write(labels, label_path)
    _write(image, image_path)
