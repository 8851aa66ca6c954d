"""Pairs to learn enlarging from, with the same pairs at half the size beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gcdp.data.augmentation import Augmentation, mirror_pair
from gcdp.data.pairs import PairDataset, PairStore, as_tensors
from gcdp.errors import ConfigError, DataError

FACTOR = 2  # of height and width, as in both of the paper's super-resolution networks


@dataclass(frozen=True)
class EnlargerConfig:
    """What a network that enlarges learns from: (height, width) of random crops; empty: whole pairs."""

    crop: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.crop) not in (0, 2):
            raise ConfigError(f"crop must be [height, width], or empty for whole pairs; got {list(self.crop)}")


class EnlargingDataset(PairDataset):
    """Pairs of a store, whole or as random crops, with the pairs of `low`, half as large, of the same places.

    Items are those of `PairDataset`, and "low_x" float32 and "low_y" int64: what a model of that size draws. A crop
    lies on the pixels of the smaller pair, so that both show the same.

    Args:
        low: the same pairs at half the size.
        crop: (height, width) of the larger crop, multiples of 2; None: whole pairs.
        flip: mirror one item in two.
        others: as in `PairDataset`.

    Raises DataError where `low` holds other pairs, sizes or classes, ConfigError for a crop that does not fit, and what
    `PairDataset` raises.
    """

    def __init__(
        self,
        store: PairStore,
        captions: list[list[str]],
        text=None,
        *,
        low: PairStore,
        crop: tuple[int, int] | None = None,
        flip: bool = True,
        **others: Any,
    ):
        super().__init__(store, captions, text, Augmentation((1.0, 1.0), flip), **others)
        half = tuple(side // FACTOR for side in store.size)
        if low.keys != store.keys or low.size != half or low.classes != store.classes:
            raise DataError(
                f"{low.folder} must hold the pairs of {store.folder} at half the size, {list(half)}: build both from "
                "one source, with sizes that differ by a factor of 2."
            )
        self.low, self.crop = low, store.size if crop is None else tuple(crop)
        if any(side < FACTOR or side % FACTOR or side > most for side, most in zip(self.crop, store.size, strict=True)):
            raise ConfigError(f"crop {list(self.crop)} must be even and at most {list(store.size)}: change it.")

    @property
    def decisive(self) -> list[Any]:
        """See `PairDataset.decisive`."""
        return [*super().decisive, self.low.checksums, list(self.crop)]

    def look(self, row: int, rng: np.random.Generator) -> tuple[dict[str, Tensor], bool]:
        """{"x", "y", "low_x", "low_y"} of one crop, and whether it is mirrored."""
        mirrored = bool(self.augmentation.flip and rng.random() < 0.5)
        sides = [side // FACTOR for side in self.crop]
        corner = [int(rng.integers(most - side + 1)) for side, most in zip(sides, self.low.size, strict=True)]
        found = {}
        for prefix, store, n in (("", self.store, FACTOR), ("low_", self.low, 1)):
            place = row, *(slice(n * start, n * (start + side)) for start, side in zip(corner, sides, strict=True))
            pair = store.images[place], store.layouts[place]
            pair = mirror_pair(*pair, store.classes) if mirrored else pair
            found |= as_tensors(*(np.array(half, order="C") for half in pair), prefix)
        return found, mirrored
