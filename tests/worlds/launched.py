"""Train on the tiny world as one of several processes: `torchrun launched.py JOBS`, one training after the other.

JOBS is a JSON list of {"folder", "steps", "die_at", settings of the recipe}; at step die_at the last process kills
itself, where it is given.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gcdp.training.diffusion import train
from gcdp.training.distributed import make_accelerator
from worlds import tiny


def run(folder: str | Path, steps: int, die_at: int = 0, **settings) -> None:
    """One training, by all processes of the command."""
    accelerator, folder = make_accelerator("no"), Path(folder)
    with accelerator.main_process_first():
        place = tiny.world(folder / f"world-{accelerator.process_index}")
    pairs = place.dataset(cls=tiny.Deadly)
    share = tiny.RECIPE.batch_size // accelerator.num_processes
    if die_at and accelerator.process_index == accelerator.num_processes - 1:
        pairs.at = (die_at - 1) * share + 1
    recipe = replace(tiny.RECIPE, steps=steps, decay=False, **settings)
    held_out = place.dataset(augment=False)
    train(place.card, pairs, recipe, folder / "state", folder / "model", held_out, accelerator)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for job in json.loads(sys.argv[1]):
        run(**job)
