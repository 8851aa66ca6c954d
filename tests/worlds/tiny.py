"""A tiny world for tests: a dozen drawn pairs, a text cache of a stub encoder, and a network of 67,000 weights.

Run as a program it trains on that world and kills itself on the way:
`python tests/tiny.py FOLDER STEPS KILL_AT`, KILL_AT counting the items read.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image

from gcdp.data.augmentation import Augmentation
from gcdp.data.captions import with_mirrors
from gcdp.data.classes import ClassTable
from gcdp.data.enlarging import EnlargingDataset
from gcdp.data.pairs import PairDataset, PairStore, build_store
from gcdp.diffusion.joint import DiffusionConfig
from gcdp.network.unet import UNet, UNetConfig
from gcdp.text.cache import TextCache
from gcdp.training.checkpoint import ModelCard
from gcdp.training.diffusion import TrainingResult, train
from gcdp.training.recipe import TrainConfig

SIZE = (8, 16)
TABLE = ClassTable("tiny", ("sky", "road", "left", "right", "void"), ((9, 99, 200),) * 5, unlabeled=4, twins=((2, 3),))
NETWORK = UNetConfig(
    num_classes=5, layout_embedding=4, stem_width=8, stem_kernels=(3, 5), widths=(8, 16), blocks=(1, 1),
    self_attention=(False, True), cross_attention=(False, True), heads=2, head_width=8, time_width=16,
    text_width=12, context_width=16, context_latents=3, resampler_depth=1,
)  # fmt: skip
PROCESS = DiffusionConfig(T=50, prediction="v", bound="jump", layout_weight=0.3, p2=False)
RECIPE = TrainConfig(
    steps=12, batch_size=4, learning_rate=2e-3, warmup=3, decay=True, clip=1.0, ema_decay=0.9, ema_every=2,
    diagonal=0.7, log_every=3, validate_every=6, validate_pairs=4, checkpoint_every=5,
)  # fmt: skip


class StubEncoder:
    """Deterministic states without a language model: each word is a fixed random vector."""

    name, width, max_tokens, fingerprint = "stub", NETWORK.text_width, 64, "stub"

    def encode(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = [len(caption.split()) for caption in captions]
        states = torch.zeros(len(captions), max(lengths), self.width)
        for i, caption in enumerate(captions):
            states[i, : lengths[i]] = torch.stack([self._word(word) for word in caption.split()])
        return states, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    def _word(self, word: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(self.width)).float()


class Scenes:
    """Source of `count` pairs: sky over road with a block on the left or right, one gray level a class."""

    classes = TABLE

    def __init__(self, count: int = 12):
        self.count = count

    def splits(self) -> list[str]:
        return ["train", "val", "test"]

    def keys(self, split: str) -> list[str]:
        return [f"{split}{i:03}" for i in range(self.count)]

    def load(self, split: str, key: str):
        rng = np.random.default_rng([ord(c) for c in key])
        layout = np.ones((2 * SIZE[0], 2 * SIZE[1]), np.uint8)
        layout[: rng.integers(3, 12)] = 0
        side = int(rng.integers(2))
        layout[8:, 18 * side : 18 * side + rng.integers(4, 14)] = 2 + side
        return Image.fromarray(np.stack([layout * 60] * 3, -1)), layout

    def captions(self, split: str, key: str):
        return None


@dataclass
class World:
    """Pairs, captions and text of one split, and the card of a model for them."""

    store: PairStore
    captions: list[list[str]]
    text: TextCache
    card: ModelCard

    def dataset(self, augment: bool = True, cls: type[PairDataset] = PairDataset, **settings) -> PairDataset:
        augmentation = Augmentation() if augment else None
        return cls(self.store, self.captions, self.text, augmentation, **settings)


def world(folder: Path, count: int = 12, **network) -> World:
    """Build the tiny world in `folder`; keyword arguments change the network."""
    store = build_store(Scenes(count), "train", SIZE, folder / "pairs", Augmentation().rescale)
    captions = [[f"a {TABLE.names[layout.max()]} thing", f"number {i}"] for i, layout in enumerate(store.layouts)]
    text = TextCache.build(StubEncoder(), with_mirrors(captions, TABLE), folder / "text")
    unet = replace(NETWORK, **network)
    return World(store, captions, text, ModelCard(unet, PROCESS, TABLE, SIZE, "stub", 64, {"domain": "tiny"}))


@dataclass
class LargeWorld(World):
    """Pairs at twice the size, and the same ones as a network that enlarges is given them."""

    low: PairStore

    def dataset(self, augment: bool = True, **settings) -> EnlargingDataset:
        return EnlargingDataset(self.store, self.captions, self.text, low=self.low, flip=augment, **settings)


def large_world(folder: Path, count: int = 12) -> LargeWorld:
    """The tiny world at twice its size, and a network that enlarges it."""
    place, large = world(folder, count, low_resolution=True), tuple(2 * side for side in SIZE)
    store = build_store(Scenes(count), "train", large, folder / "large")
    return LargeWorld(store, place.captions, place.text, replace(place.card, size=large), place.store)


def cpu(precision: str = "no") -> Accelerator:
    """An accelerator that stays on the CPU, where sums have one order."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True, mixed_precision=precision)


def fit(place: World, folder: Path, pairs: PairDataset | None = None, **recipe) -> TrainingResult:
    """Train on the tiny world, with validation, in `folder`/state and `folder`/model."""
    config = replace(RECIPE, **recipe)
    pairs = place.dataset() if pairs is None else pairs
    validation = place.dataset(augment=False)
    return train(place.card, pairs, config, folder / "state", folder / "model", validation, cpu(config.precision))


def awake(unet: UNet, seed: int = 0, scale: float = 0.2) -> UNet:
    """Fill what starts at zero with noise, so that every path through the network shows in its output."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in unet.parameters():
        if not parameter.any():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return unet


def curve_without_speed(result: TrainingResult) -> list[dict]:
    """Rows of a curve that two equal runs share."""
    return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in result.curve.rows]


class Deadly(PairDataset):
    """Sends `signum` to its own process when the item number `at` is read."""

    at, signum, read = -1, signal.SIGKILL, 0

    def __getitem__(self, item):
        self.read += 1
        if self.read == self.at:
            os.kill(os.getpid(), self.signum)
        return super().__getitem__(item)


def main(folder: str, steps: str, kill_at: str) -> None:
    torch.set_num_threads(1)
    place = world(Path(folder))
    pairs = place.dataset(cls=Deadly)
    pairs.at = int(kill_at)
    fit(place, Path(folder), pairs, steps=int(steps))


if __name__ == "__main__":
    main(*sys.argv[1:])
