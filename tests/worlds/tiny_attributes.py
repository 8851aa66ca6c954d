"""A tiny world with attributes that anybody can see: a bright sky, a dot of red, a dark ground. Seeds are the keys."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gcdp.data.attributes import AttributeTable, attribute_values
from gcdp.data.augmentation import Augmentation
from gcdp.data.pairs import PairDataset, PairStore
from gcdp.evaluation.referees.attributes import AttributeNetConfig
from gcdp.text.encoder import TextEncoder
from gcdp.training.recipe import TrainConfig
from worlds import tiny

COLUMNS = ("Smiling", "Male", "Wearing_Hat", "No_Beard")  # Male: to be seen nowhere, and never read
TABLE = AttributeTable.of(COLUMNS)
NETWORK = AttributeNetConfig((8, 12))
RECIPE = TrainConfig(
    steps=60, batch_size=16, learning_rate=2e-2, warmup=5, decay=True, clip=1.0, ema_decay=0.9, ema_every=1,
    log_every=10, checkpoint_every=25,
)  # fmt: skip


class PoolingStub(tiny.StubEncoder):
    """The stub with the pooling of the real encoders."""

    pooled = TextEncoder.pooled


class Traces:
    """Source of `count` pictures; every attribute is a coin toss, and its trace has another kind and size."""

    classes, attribute_table = tiny.TABLE, TABLE

    def __init__(self, count: int):
        self.count = count

    def splits(self) -> list[str]:
        return ["train", "test"]

    def keys(self, split: str) -> list[str]:
        return [f"{split}{i:03}" for i in range(self.count)]

    def load(self, split: str, key: str):
        smiling, _, hat, clean = self._tossed(key)
        pixels = self._rng(key).integers(90, 130, (*tiny.SIZE, 3)).astype(np.uint8)
        pixels[:3] += np.uint8(90 * smiling)
        pixels[6:] -= np.uint8(90 * (not clean))
        if hat:
            row, column = self._rng(key).integers(3, 5), self._rng(key).integers(2, 14)
            pixels[row : row + 2, column : column + 2] = 250, 10, 10
        return Image.fromarray(pixels), np.zeros(tiny.SIZE, np.uint8)

    def captions(self, split: str, key: str) -> list[str]:
        smiling, male, hat, clean = self._tossed(key)
        parts = ["smiling"] * smiling + ["wearing hat"] * hat + ["with beard"] * (not clean)
        return [f"this {'man' if male else 'woman'} is {' '.join(parts) or 'there'}"]

    def attributes(self, split: str, key: str) -> tuple[int, ...]:
        return attribute_values(COLUMNS, self._tossed(key))

    def _tossed(self, key: str) -> list[bool]:
        return (self._rng(key).random(len(COLUMNS)) < 0.5).tolist()

    def _rng(self, key: str) -> np.random.Generator:
        return np.random.default_rng([ord(c) for c in key])


def pairs_of(store: PairStore, cls: type[PairDataset] = PairDataset) -> PairDataset:
    """Pairs as a referee learns them: flipped at random, without a text cache."""
    return cls(store, store.captions, None, Augmentation(), seed=0)
