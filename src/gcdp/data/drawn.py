"""Streets drawn on the fly: as many as a referee cares to learn from, without a file for each."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gcdp.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_ID
from gcdp.data.toy_streets import draw_scene
from gcdp.errors import ConfigError, DataError

SPLIT = "referee"
FIRST_SEED = 10_000_000
SIZE = (128, 256)  # (H, W), the size at which `gcdp.data.toy_streets.generate` draws
_WORDS = 2**32


class DrawnStreets:
    """A source of `count` drawn scenes for a referee; key i is the scene of seed ``first_seed + i``.

    The scenes are none of those of a generated world. A world's scene (seed, split, index) and a scene of one seed
    are drawn from NumPy seed sequences of the words (seed, split, index, 0) and (seed, 0, 0, 0), which meet only if
    the world's seed lies in ``first_seed .. first_seed + count - 1``. Seeds of more than 32 bits are refused,
    because their second word stands where the split does.

    Raises ConfigError for a count below 1 or seeds outside 0 .. 2^32 - 1.
    """

    classes = CITYSCAPES

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

    def splits(self) -> list[str]:
        """The only split, ``referee``."""
        return [SPLIT]

    def keys(self, split: str) -> list[str]:
        """Numbers 0 .. count - 1 with leading zeros; raises DataError for another split."""
        self._check(split)
        return [f"{index:0{self._digits}d}" for index in range(self.count)]

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB, 256 wide and 128 high) and layout uint8 (128, 256) of train ids; raises DataError for a key
        that is not one of keys(split)."""
        self._check(split)
        if not (key.isascii() and key.isdigit() and int(key) < self.count):
            raise DataError(f"there is no drawn street {key!r}: use one of 0 to {self.count - 1}.")
        image, labels = draw_scene(self.first_seed + int(key), SIZE)
        return Image.fromarray(image), np.asarray(CITYSCAPES_TRAIN_ID, dtype=np.uint8)[labels]

    def captions(self, split: str, key: str) -> None:
        """None: captions are composed from the layout."""
        return None

    def _check(self, split: str) -> None:
        if split != SPLIT:
            raise DataError(f"drawn streets have no split {split!r}: use {SPLIT!r}.")
