"""Draw a sweep as one of several processes: `torchrun launched_sweep.py FOLDER`; what each got is in FOLDER/<rank>.

`drawings(folder)` is the same in the process that calls it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from gcdp.evaluation.naming import Swaps
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.sections import SamplingConfig
from gcdp.experiments.sharing import of_the_first, place_in_launch
from gcdp.experiments.sweep import Sweep
from gcdp.generators.pipeline import Pipeline
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import ModelCard
from worlds import tiny

CAPTIONS = ("a sky thing", "a road thing", "a left thing", "a sky thing", "a right thing")
SWAPS = Swaps(np.array([2, 0, 2]), np.array([1, 1, 0]), ["a road thing"] * 3, ["a thing"] * 3)


def pipeline() -> Pipeline:
    """A network that was not trained, with stub states of text."""
    torch.manual_seed(0)
    card = ModelCard(tiny.NETWORK, tiny.PROCESS, tiny.TABLE, tiny.SIZE, "stub", 64, {})
    process = card.build()[1]
    return Pipeline(tiny.awake(UNet(tiny.NETWORK)).eval(), process, card, tiny.StubEncoder().encode, "float32")


def drawings(folder: Path, model=None):
    """A drawing and its swaps, of a sweep that keeps them in `folder`; and once more, of what is kept."""
    empty = np.zeros((len(CAPTIONS), *tiny.SIZE), np.uint8)
    world = HeldOut(np.stack([empty] * 3, -1), empty, list(CAPTIONS), [str(i) for i in range(len(empty))], tiny.TABLE)
    given = {"mask_layouts": np.arange(5)[:, None, None] % 2 + empty > 0, "layouts": empty}
    for known in ({}, given):
        for _ in range(2):
            sweep = Sweep(
                model or pipeline(), world, SamplingConfig(num_steps=2), 3, folder / str(len(known)), [], known
            )
            yield sweep.draw(2.0)
            yield from sweep.draw_swaps(SWAPS, 2.0)


def main(folder: str) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    rank, count = place_in_launch()
    assert (rank, count) == (state.process_index, state.num_processes) and of_the_first(lambda: rank) == 0
    for number, samples in enumerate(drawings(Path(folder) / "kept")):
        samples.save(Path(folder) / str(rank) / str(number))
    state.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
