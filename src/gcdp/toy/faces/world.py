"""A world of faces drawn by program, written as a CelebAMask-HQ tree so that the reader of the real data reads it.

Attributes leave traces of different size and kind (a frame, an outline, a texture, a color); an attribute is 1
only if its trace is visible in the end. Hair, backgrounds, hats and clothes share palettes and the light shifts
colors, so classes and attributes are told by shape and context. All drawing is integer arithmetic, so a seed
gives the same bytes on any machine (with the pinned Pillow).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from gcdp.data.sources.celeba import PARTS
from gcdp.errors import ConfigError, DataError
from gcdp.toy.drawing import Dice, Sprite, raster_colors, raster_ids
from gcdp.toy.faces.captions import compose_captions
from gcdp.toy.faces.hair import hair_behind, hair_crown, hair_locks, hair_tresses, hat
from gcdp.toy.faces.head import (
    EARRING,
    GLASSES,
    HAIR,
    HAT,
    LEFT_BROW,
    NECKLACE,
    RIGHT_BROW,
    brow,
    ear,
    eye,
    face,
    mouth,
    neck,
    nose,
)
from gcdp.toy.faces.light import Light, draw_light, finish
from gcdp.toy.faces.person import COLUMNS, Person, Pose, draw_person, draw_pose
from gcdp.toy.faces.wear import cloth, earrings, eyeglasses, necklace
from gcdp.toy.palette import mix

__all__ = ["COLUMNS", "SPLITS", "Face", "draw_face", "generate"]

SPLITS = {"train": 0, "val": 1, "test": 2}
SIZE, MASK_SIZE = 128, 64
# Visible pixels of the 64 x 64 layout below which a part is left out of picture, masks and attributes.
_SMALLEST = {HAIR: 60, HAT: 80, GLASSES: 60, EARRING: 18, NECKLACE: 20}
_TREES = ("CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "celeba-caption")
_LIST = "CelebAMask-HQ-attribute-anno.txt"
_MAPPING, _PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"


@dataclass(frozen=True)
class Face:
    """A drawn face: image uint8 (128, 128, 3), masks bool (64, 64) by part name in merge order, attributes in the
    order of `COLUMNS`, ten captions."""

    image: np.ndarray
    parts: dict[str, np.ndarray]
    attributes: dict[str, bool]
    captions: list[str]


def _sprites(person: Person, pose: Pose, light: Light) -> list[Sprite]:
    """Everything drawn, back to front; the first sprite, of part 0, is the place of the background
    and lends the edges of the others its mean color."""
    behind = Sprite(0, 0)
    behind.poly(((0, 0), (256, 0), (256, 256), (0, 256)), mix(light.first, light.second, 128), solid=False)
    free, *fold = neck(person, pose)
    ears = [side for side in (-1, 1) if person.tucked and side * pose.turn < 56]
    glasses = eyeglasses(person, pose)
    features = [part(person, pose, side) for side in (-1, 1) for part in (brow, eye)]
    if person.glasses != "shades":
        glasses, features = [], glasses + features
    return [
        behind,
        *hair_behind(person, pose),
        free,
        cloth(person, pose),
        *necklace(person, pose),
        *hair_tresses(person, pose),
        *fold,
        *(ear(person, pose, side) for side in ears),
        face(person, pose),
        nose(person, pose, light.side),
        *features,
        *mouth(person, pose),
        *glasses,
        *hair_locks(person, pose),
        *hair_crown(person, pose),
        *hat(person, pose),
        *earrings(person, pose, ears),
    ]


def _labels(sprites: list[Sprite], size: int) -> np.ndarray:
    """Visible part of each pixel, uint8 (size, size)."""
    return np.array([s.label for s in sprites], dtype=np.uint8)[raster_ids(sprites, (size, size))]


def _settle(sprites: list[Sprite]) -> tuple[list[Sprite], np.ndarray]:
    """Drop parts of which too little is seen, until none is left; sprites and layout uint8 (64, 64)."""
    while True:
        layout = _labels(sprites, MASK_SIZE)
        area = np.bincount(layout.ravel(), minlength=len(PARTS) + 1)
        slivers = {s.label for s in sprites if s.label and area[s.label] < _SMALLEST.get(s.label, 6)}
        if not slivers:
            return sprites, layout
        sprites = [s for s in sprites if s.label not in slivers]


def _masks(sprites: list[Sprite], layout: np.ndarray) -> dict[str, np.ndarray]:
    """Silhouettes by part, each cut where a part that is merged before it is seen."""
    masks = {}
    for label, name in enumerate(PARTS, start=1):
        own = [s for s in sprites if s.label == label]
        if own:
            outline = raster_ids([Sprite(0, 0), *own], (MASK_SIZE, MASK_SIZE)) > 0
            masks[name] = outline & (layout >= label)
    return masks


def _attributes(person: Person, layout: np.ndarray) -> dict[str, bool]:
    """Attributes by the toy columns, each true only if its trace is in the layout."""
    seen = set(np.unique(layout).tolist())
    hair = HAIR in seen
    true = {
        "Bangs": person.bangs,
        "Bushy_Eyebrows": person.bushy and bool(seen & {LEFT_BROW, RIGHT_BROW}),
        "Double_Chin": person.double_chin,
        "Eyeglasses": GLASSES in seen,
        "Male": person.male,
        "Mouth_Slightly_Open": person.open_mouth,
        "No_Beard": not person.beard,
        "Pale_Skin": person.tone == "pale",
        "Smiling": person.smile,
        "Wavy_Hair": hair and person.wavy,
        "Wearing_Earrings": EARRING in seen,
        "Wearing_Hat": HAT in seen,
        "Wearing_Lipstick": person.lipstick,
        "Wearing_Necklace": NECKLACE in seen,
        "Long_Hair": hair and person.length == "long",
        "Dark_Skin": person.tone == "dark",
    }
    for name in ("black", "blond", "brown", "gray"):
        true[f"{name.capitalize()}_Hair"] = hair and person.hair_name == name
    return {column: bool(true[column]) for column in COLUMNS}


class _Drawing:
    """One face up to the picture itself, which `image` paints."""

    def __init__(self, *entropy: int):
        self._dice = Dice(*entropy)
        self._person, self._pose, self._light = draw_person(self._dice), draw_pose(self._dice), draw_light(self._dice)
        self._sprites, layout = _settle(_sprites(self._person, self._pose, self._light))
        self.parts = _masks(self._sprites, layout)
        self.attributes = _attributes(self._person, layout)
        self.captions = compose_captions(self.attributes, self._dice)

    def image(self) -> np.ndarray:
        """The picture, uint8 (128, 128, 3); to be called once."""
        colors, _ = raster_colors(self._sprites, (SIZE, SIZE), (256, 256, 256))
        labels = _labels(self._sprites, SIZE)
        return finish(colors, labels, self._person, self._pose, self._light, self._dice)


def draw_face(seed: int) -> Face:
    """Draw one face; `seed` is a non-negative integer, and the same seed gives the same bytes."""
    drawing = _Drawing(seed)
    return Face(drawing.image(), drawing.parts, drawing.attributes, drawing.captions)


def generate(
    root: Path,
    counts: dict[str, int],
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write a drawn world as a CelebAMask-HQ tree with the captions of Multi-Modal CelebA-HQ.

    Faces are numbered from 0: the training faces first, then those of val and test; the mapping and partition
    files tell the splits. A face depends on (seed, split, index in the split) alone, so splits are disjoint, and a
    stopped run resumes: files already there are left as they are. `world.json` notes what was asked for; another
    world, other counts or changed drawing code start the tree anew.

    Args:
        root: folder to write into.
        counts: faces per split; splits are "train", "val" and "test".
        seed: non-negative integer of the world.
        progress: called as progress(split, done, total) after each face.

    Raises:
        ConfigError: a split is unknown or a count is negative.
        DataError: `root` holds a tree that was not drawn by this function.
    """
    for split, count in counts.items():
        if split not in SPLITS:
            raise ConfigError(f"counts names the unknown split {split!r}; choose from {', '.join(SPLITS)}.")
        if count < 0:
            raise ConfigError(f"counts asks for {count} faces of {split!r}; give zero or more.")
    root = Path(root)
    counts = {split: counts.get(split, 0) for split in SPLITS}
    _clear_other_world(root, {"seed": seed, "counts": counts, "drawing": _drawing_version()})
    rows: list[dict[str, bool]] = []
    for split, count in counts.items():
        for index in range(count):
            rows.append(_write_face(root, len(rows), (seed, SPLITS[split], index)))
            if progress is not None:
                progress(split, index + 1, count)
    _write_lists(root, rows, counts)


def _drawing_version() -> str:
    """Fingerprint of the code that draws, Pillow included."""
    digest = hashlib.sha256(PIL.__version__.encode())
    folder = Path(__file__).parent
    for path in (*sorted(folder.glob("*.py")), *sorted(folder.parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _clear_other_world(root: Path, world: dict) -> None:
    """Remove a tree that this request does not continue, and note the request in world.json."""
    manifest = root / "world.json"
    found = [root / name for name in (*_TREES, _LIST, _MAPPING, _PARTITION) if (root / name).exists()]
    if found and not manifest.is_file():
        raise DataError(f"{root} holds a dataset that was not drawn here: choose an empty folder for the toy world.")
    if found and json.loads(manifest.read_text(encoding="utf-8")) != world:
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    root.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(world, indent=1) + "\n", encoding="utf-8")


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """Save under a temporary name, then rename it: no half-written file keeps the final name."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save(partial)
    os.replace(partial, path)


def _write_text(path: Path, lines: list[str]) -> None:
    _write(path, lambda partial: partial.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def _write_face(root: Path, number: int, entropy: tuple[int, int, int]) -> dict[str, bool]:
    """Write what is missing of one face; its attributes."""
    drawing = _Drawing(*entropy)
    images, masks, texts = (root / name for name in _TREES)
    for name, mask in drawing.parts.items():
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        path = masks / str(number // 2000) / f"{number:05d}_{name}.png"
        _write(path, lambda partial, picture=picture: picture.save(partial, format="PNG", compress_level=1))
    _write_text(texts / f"{number}.txt", drawing.captions)
    path = images / f"{number}.jpg"
    if not path.exists():
        picture = Image.fromarray(drawing.image())
        _write(path, lambda partial: picture.save(partial, format="JPEG", quality=95, subsampling=0))
    return drawing.attributes


def _write_lists(root: Path, rows: list[dict[str, bool]], counts: dict[str, int]) -> None:
    """Attribute list, and the official split as a mapping to made-up original numbers with their partition."""
    listed = [f"{k}.jpg  " + " ".join("1" if row[name] else "-1" for name in COLUMNS) for k, row in enumerate(rows)]
    _write_text(root / _LIST, [str(len(rows)), " ".join(COLUMNS), *listed])
    original = [f"{7 * k + 4:06d}.jpg" for k in range(len(rows))]
    mapped = [f"{k} {7 * k + 3} {name}" for k, name in enumerate(original)]
    _write_text(root / _MAPPING, ["idx orig_idx orig_file", *mapped])
    splits = [number for split, number in SPLITS.items() for _ in range(counts[split])]
    _write_text(root / _PARTITION, [f"{name} {split}" for name, split in zip(original, splits, strict=True)])
