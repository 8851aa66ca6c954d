"""Batches as a function of the step: training resumes and spreads over processes without repeats or gaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from gcdp.errors import ConfigError

# Keeps the stream of permutations apart from the streams of single pairs, which use (seed, index, draw).
_SHUFFLE = 0x5EED


class EpochBatches:
    """Batch sampler over ``length`` pairs: lists of (index, draw) for the steps start_step .. num_steps - 1.

    The pairs are read in one endless sequence, a fresh permutation an epoch with nothing dropped between
    epochs; batch i is its i-th section of ``batch_size``, so it depends on (seed, i) only. ``draw`` is the
    epoch, hence (index, draw) never repeats. ``batch_size`` counts all processes: process ``rank`` of
    ``world`` yields its share of every batch. ``num_steps`` is the last step of the run, not a count from
    ``start_step``. Raises ConfigError for an empty dataset or a batch that cannot be shared evenly.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        num_steps: int,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        if length < 1:
            raise ConfigError("the dataset is empty: build its store first.")
        if batch_size < 1 or batch_size % world:
            raise ConfigError(f"batch_size {batch_size} does not divide among {world} processes: use a multiple.")
        if not 0 <= rank < world:
            raise ConfigError(f"rank {rank} is outside 0..{world - 1}.")
        if not 0 <= start_step <= num_steps:
            raise ConfigError(f"start_step {start_step} is outside 0..num_steps = {num_steps}.")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.num_steps = start_step, num_steps
        self.rank, self.world = rank, world
        self._permutations: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.num_steps - self.start_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start_step, self.num_steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[tuple[int, int]]:
        """This process's (index, draw) of one step; the ranks in order make up the global batch."""
        share = self.batch_size // self.world
        first = step * self.batch_size + self.rank * share
        return [self._entry(position) for position in range(first, first + share)]

    def _entry(self, position: int) -> tuple[int, int]:
        epoch, offset = divmod(position, self.length)
        if epoch not in self._permutations:
            # Two epochs at most are in use at a border; older ones are recomputed if ever asked for.
            self._permutations = {key: value for key, value in self._permutations.items() if key == epoch - 1}
            rng = np.random.default_rng([_SHUFFLE, self.seed, epoch])
            self._permutations[epoch] = rng.permutation(self.length)
        return int(self._permutations[epoch][offset]), epoch


def collate(items: list[dict], text=None) -> dict:
    """Stack items into "x" float32 (B, 3, H, W), "y" int64 (B, H, W), "captions" and "index" int64 (B,).

    Where the items have them also "attributes" float32 (B, A), "labeled" bool (B,), and a smaller pair "low_x" and
    "low_y" of the form of "x" and "y". With a text cache also "tokens" float32 (B, L, D) and "mask" bool (B, L), zero
    and False where padded.
    Raises DataError for a caption that the cache does not hold.
    """
    captions = [item["caption"] for item in items]
    batch = {
        "x": torch.stack([item["x"] for item in items]),
        "y": torch.stack([item["y"] for item in items]),
        "captions": captions,
        "index": torch.tensor([item["index"] for item in items]),
    }
    for name in ("attributes", "low_x", "low_y"):
        if name in items[0]:
            batch[name] = torch.stack([item[name] for item in items])
    if "labeled" in items[0]:
        batch["labeled"] = torch.tensor([item["labeled"] for item in items])
    if text is not None:
        batch["tokens"], batch["mask"] = text.batch(captions)
    return batch
