"""Streets and faces drawn on the fly: as many as a referee cares to learn from, without a file for each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from gcdp.data.attributes import AttributeTable, attribute_values
from gcdp.data.classes import CELEBA, CITYSCAPES, CITYSCAPES_TRAIN_ID
from gcdp.data.sources.celeba import merge_parts
from gcdp.errors import ConfigError, DataError
from gcdp.toy.faces.face import MASK_SIZE, draw_face
from gcdp.toy.faces.person import COLUMNS
from gcdp.toy.faces.world import TREE as FACES
from gcdp.toy.streets.picture import draw_scene
from gcdp.toy.streets.world import TREE as STREETS
from gcdp.toy.tree import Tree, drawing_version

SPLIT = "referee"
FIRST_SEED = 10_000_000
_WORDS = 2**32

# Image, captions and attributes of a face are asked for one after the other.
_recent_face = lru_cache(maxsize=4)(draw_face)


class _Drawn:
    """What the sources below share: `count` things in one split; key i is the thing of seed ``first_seed + i``.

    None of them is one of a generated world. A world's thing (seed, split, index) and a thing of one seed
    are drawn from NumPy seed sequences of the words (seed, split, index, 0) and (seed, 0, 0, 0), which meet only if
    the world's seed lies in ``first_seed .. first_seed + count - 1``. Seeds of more than 32 bits are refused,
    because their second word stands where the split does.

    Raises ConfigError for a count below 1 or seeds outside 0 .. 2^32 - 1.
    """

    _thing: str
    _world: Tree

    def __init__(self, count: int, first_seed: int = FIRST_SEED):
        if count < 1:
            raise ConfigError(f"count must be at least 1, got {count}")
        if first_seed < 0 or first_seed + count > _WORDS:
            raise ConfigError(
                f"seeds {first_seed} to {first_seed + count - 1} leave the range 0 to {_WORDS - 1}: "
                "choose another first_seed or a smaller count"
            )
        self.count, self.first_seed = count, first_seed
        self._digits = max(6, len(str(count - 1)))

    @property
    def version(self) -> str:
        """Fingerprint of the code that draws."""
        return drawing_version(self._world.code)

    def splits(self) -> list[str]:
        """The only split, ``referee``."""
        return [SPLIT]

    def keys(self, split: str) -> list[str]:
        """Numbers 0 .. count - 1 with leading zeros; raises DataError for another split."""
        self._check(split)
        return [f"{index:0{self._digits}d}" for index in range(self.count)]

    def _seed(self, split: str, key: str) -> int:
        """Seed of a key; raises DataError for one that is not of keys(split)."""
        self._check(split)
        if not (key.isascii() and key.isdigit() and int(key) < self.count):
            raise DataError(f"there is no drawn {self._thing} {key!r}: use one of 0 to {self.count - 1}.")
        return self.first_seed + int(key)

    def _check(self, split: str) -> None:
        if split != SPLIT:
            raise DataError(f"drawn {self._thing}s have no split {split!r}: use {SPLIT!r}.")


class DrawnStreets(_Drawn):
    """A source of `count` drawn streets for a referee; see `_Drawn`."""

    classes = CITYSCAPES
    _thing, _world = "street", STREETS

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB, 256 wide and 128 high) and layout uint8 (128, 256) of train ids; raises DataError for a key
        that is not one of keys(split)."""
        image, labels = draw_scene(self._seed(split, key))
        return Image.fromarray(image), np.asarray(CITYSCAPES_TRAIN_ID, dtype=np.uint8)[labels]

    def captions(self, split: str, key: str) -> None:
        """None: captions are composed from the layout."""
        return None


class DrawnFaces(_Drawn):
    """A source of `count` drawn faces for a referee; see `_Drawn`. All but `keys` raise DataError for a key that is
    not one of keys(split)."""

    classes = CELEBA
    attribute_table = AttributeTable.of(COLUMNS)
    _thing, _world = "face", FACES

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB, 64 x 64) and layout uint8 (64, 64) of class ids, reduced as the reader of the tree does it
        (but the image has not been a JPEG)."""
        face, size = _recent_face(self._seed(split, key)), (MASK_SIZE, MASK_SIZE)
        return Image.fromarray(face.image).resize(size, Image.Resampling.LANCZOS), merge_parts(face.parts, size)

    def captions(self, split: str, key: str) -> list[str]:
        """The ten captions."""
        return list(_recent_face(self._seed(split, key)).captions)

    def attributes(self, split: str, key: str) -> tuple[int, ...]:
        """0/1 of each attribute of the table."""
        shown = _recent_face(self._seed(split, key)).attributes
        return attribute_values(COLUMNS, [shown[column] for column in COLUMNS])
