"""One drawn face: its picture, its parts, its attributes and its captions.

Attributes leave traces of different size and kind (a frame, an outline, a texture, a color); an attribute is 1
only if its trace is visible in the end. Hair, backgrounds, hats and clothes share palettes and the light shifts
colors, so classes and attributes are told by shape and context. All drawing is integer arithmetic, so a seed
gives the same bytes on any machine (with the pinned Pillow).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gcdp.data.sources.celeba import PARTS
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

SIZE, MASK_SIZE = 128, 64
# Visible pixels of the 64 x 64 layout below which a part is left out of picture, masks and attributes.
_SMALLEST = {HAIR: 60, HAT: 80, GLASSES: 60, EARRING: 18, NECKLACE: 20}


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


class Drawing:
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
    drawing = Drawing(seed)
    return Face(drawing.image(), drawing.parts, drawing.attributes, drawing.captions)
