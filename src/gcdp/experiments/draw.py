"""Command line of drawing: the pairs that an evaluation reads, drawn ahead on one process or on several GPUs.

accelerate launch --num_processes 8 -m gcdp.experiments.draw --profile cityscapes --domain streets --model joint

`07_evaluate` then finds them kept; what remains for it are the swaps of captions, whose guidance referees choose first.
"""

from __future__ import annotations

import argparse

from accelerate import PartialState

from gcdp.errors import GCDPError
from gcdp.experiments.datasets import held_out
from gcdp.experiments.models import open_model, weight_files
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.runs import sweep_folder
from gcdp.experiments.sweep import Sweep

UNCONDITIONAL = 0.0


def evaluation_sweeps(profile: Profile, domain: str, model: str) -> dict[str, Sweep]:
    """What `07_evaluate` draws of a model, by "val" and "test"."""
    with PartialState().main_process_first():  # it fits a pixel classifier where there is none yet
        generator = open_model(profile, domain, model)
    chosen, folder = profile.evaluate, sweep_folder(profile, domain, model)
    worlds = {"val": held_out(profile, domain, "val", max(2, chosen.num_samples // 2))}
    worlds["test"] = held_out(profile, domain, chosen.split, chosen.num_samples)
    weights = weight_files(profile, domain, model)
    return {
        split: Sweep(generator, world, profile.sampling, chosen.seed, folder / split, weights)
        for split, world in worlds.items()
    }


def draw_evaluation(profile: Profile, domain: str, model: str) -> int:
    """Draw and keep what `07_evaluate` reads of a model but its swaps; returns the number of pairs."""
    grid, count = profile.sampling.guidances, 0
    scales = {"val": grid if len(grid) > 1 else (), "test": (*grid, UNCONDITIONAL)}
    for split, sweep in evaluation_sweeps(profile, domain, model).items():
        for guidance in scales[split]:
            count += len(sweep.draw(guidance))
    return count


def main() -> None:
    """Draw the pairs of one trained model of a profile."""
    parser = argparse.ArgumentParser(description="Draw what an evaluation reads (the model must be trained).")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domain", default="streets")
    parser.add_argument("--model", default="joint")
    chosen, state = parser.parse_args(), PartialState()
    try:
        count = draw_evaluation(load_profile(chosen.profile, chosen.domain), chosen.domain, chosen.model)
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error
    if state.is_main_process:
        print(f"{count} pairs are kept for the evaluation of {chosen.domain}-{chosen.model}")
    state.destroy_process_group()


if __name__ == "__main__":
    main()
