"""Train on the tiny world as one of several processes: `torchrun launched.py FOLDER STEPS DIE_AT NAME=VALUE ...`.

At step DIE_AT the last process kills itself; 0: none does. The names are of the recipe, the values JSON.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gcdp.training.diffusion import train
from gcdp.training.distributed import make_accelerator
from worlds import tiny


def main(folder: str, steps: str, die_at: str, *settings: str) -> None:
    torch.set_num_threads(1)
    accelerator, folder = make_accelerator("no"), Path(folder)
    with accelerator.main_process_first():
        place = tiny.world(folder / f"world-{accelerator.process_index}")
    pairs = place.dataset(cls=tiny.Deadly)
    share = tiny.RECIPE.batch_size // accelerator.num_processes
    if int(die_at) and accelerator.process_index == accelerator.num_processes - 1:
        pairs.at = (int(die_at) - 1) * share + 1
    chosen = {name: json.loads(value) for name, value in (setting.split("=") for setting in settings)}
    recipe = replace(tiny.RECIPE, steps=int(steps), decay=False, **chosen)
    held_out = place.dataset(augment=False)
    train(place.card, pairs, recipe, folder / "state", folder / "model", held_out, accelerator)


if __name__ == "__main__":
    main(*sys.argv[1:])
