"""Command line of training: one model of a profile, on one process or on several.

accelerate launch -m gcdp.experiments.train --profile cityscapes --domain streets --model joint
python -m gcdp.experiments.train --profile toy-scratch --domain faces --model any_direction --seed 2 --pairs 500
"""

from __future__ import annotations

import argparse

from accelerate import PartialState

from gcdp.errors import GCDPError
from gcdp.experiments.runs import prepare_run
from gcdp.training.diffusion import train


def main() -> None:
    """Train one model of a profile on its prepared data."""
    parser = argparse.ArgumentParser(description="Train one model of a profile (data must be prepared).")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domain", default="streets")
    parser.add_argument("--model", default="joint")
    parser.add_argument("--seed", type=int, help="in place of the profile's: a training of results/<profile>/study")
    parser.add_argument("--pairs", type=int, help="so many training pairs, drawn with the seed; as --seed")
    try:
        run = prepare_run(**vars(parser.parse_args()))
        result = train(run.card, run.pairs, run.config, run.state_folder, run.model_folder, run.validation)
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error
    if PartialState().is_main_process:
        print(f"model written to {result.folder}")
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main()
