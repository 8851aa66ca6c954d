"""Repeated trainings behind the claim: every model with every seed on every number of pairs, scored alike.

    python -m gcdp.experiments.study --profile toy-scratch --domain streets --output weights/toy-streets-study

Training seeds differ far more than bootstrap samples of one network do, so a claim about models rests on several of
each. What is kept of them: `gcdp.experiments.study_record`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcdp.errors import CheckpointError, GCDPError
from gcdp.evaluation.layouts import agreement
from gcdp.evaluation.scores import RealReference
from gcdp.experiments.datasets import HeldOut, held_out, open_pairs
from gcdp.experiments.models import fit, model_folder, open_model
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.records import RefereeRecord
from gcdp.experiments.referees import open_referees
from gcdp.experiments.runs import prepare_run, released_folder
from gcdp.experiments.study_record import Study, Trial
from gcdp.experiments.sweep import Sweep, correspondence
from gcdp.training.checkpoint import load_card
from gcdp.validation import to_dict

COUNTS = ("both_1px", "named", "held_1px", "both", "held")  # of each caption; the last two from the calibrated area


def sizes(profile: Profile, all_pairs: int) -> list[int]:
    """Numbers of training pairs that a study compares, in rising order."""
    return sorted({max(1, round(fraction * all_pairs)) for fraction in profile.study.fractions})


def trials(profile: Profile, all_pairs: int) -> Iterator[Trial]:
    """All trainings of a study, most pairs first; the levers between two models once, with the first seed."""
    study = profile.study
    for seed in study.seeds:
        for pairs in reversed(sizes(profile, all_pairs)):
            for model in study.models:
                yield Trial(model, pairs, seed)
    for model in study.ablations:
        yield Trial(model, all_pairs, study.seeds[0])


def train_trial(profile: Profile, domain: str, trial: Trial) -> Path:
    """Train one model where that was not done yet, here or by the pipeline; returns its folder."""
    run = prepare_run(profile, domain, trial.model, seed=trial.seed, pairs=trial.pairs)
    if trial.pairs == len(open_pairs(profile, domain, "train")) and trial.seed == profile.train_for(trial.model).seed:
        made = model_folder(profile, domain, trial.model)
        if (made / "config.json").is_file() and load_card(made).training.get("settings") == to_dict(run.config):
            return made
    if not (run.model_folder / "config.json").is_file():
        fit(profile, trial.model, run)
    return run.model_folder


class Scoring:
    """Referees, real pairs and settings that all trials of a study share."""

    def __init__(self, profile: Profile, domain: str, min_area: int):
        self.profile, self.domain, self.min_area = profile, domain, min_area
        self.referees = open_referees(profile, domain)
        self.worlds = {
            "val": held_out(profile, domain, "val", profile.study.num_val),
            "test": held_out(profile, domain, "test", profile.study.num_samples),
        }
        self.real = {split: self._real(held_out(profile, domain, split)) for split in self.worlds}

    def _real(self, world: HeldOut) -> RealReference:
        return RealReference(self.referees.segmenter.read(world.images), world.layouts)

    def score(self, weights: Path, trial: Trial, split: str, guidance: float):
        """(scores, readings) of one trained network at one guidance; what it draws is kept beside the study."""
        world = self.worlds[split]
        model = open_model(self.profile, self.domain, trial.model, weights)
        sampling, seed = self.profile.sampling, self.profile.evaluate.seed
        kept = self.profile.results_folder("study", self.domain, trial.key) / f"sweep-{split}"
        pairs = Sweep(model, world, sampling, seed, kept, sorted(weights.glob("*.safetensors"))).draw(guidance)
        readings = self.referees.read(pairs.images, world.captions)
        scores = self.referees.score(readings, pairs.layouts, world, self.real[split], self.min_area)
        return replace(scores, guidance=guidance), readings

    def counts(self, readings, split: str) -> dict[str, torch.Tensor]:
        """What is kept of readings: COUNTS and whatever else the referees counts, (N,) each, and features (N, D)."""
        world, reading = self.worlds[split], readings.reading
        pixel, area = (agreement(reading.layouts, world.captions, world.classes, least) for least in (1, self.min_area))
        columns = (pixel.both, pixel.named, pixel.held, area.both, area.held)
        kept = {
            name: torch.from_numpy(column.sum(1).astype(np.uint8)) for name, column in zip(COUNTS, columns, strict=True)
        }
        more = {
            name: torch.from_numpy(values) for name, values in self.referees.counts(readings, world.captions).items()
        }
        return {**kept, **more, "features": torch.from_numpy(reading.features).half()}


def run_study(profile: Profile, domain: str, output: Path, min_area: int) -> None:
    """Train and score all trials; a study that was interrupted goes on, and keeps what it has."""
    all_pairs = len(open_pairs(profile, domain, "train"))
    scoring = Scoring(profile, domain, min_area)
    study = _started(output, min_area)
    for trial in trials(profile, all_pairs):
        if trial in study.trials:
            continue
        weights = train_trial(profile, domain, trial)
        guidance = _chosen_guidance(scoring, weights, trial, study)
        if profile.study.sweep:
            scales = profile.sampling.guidances
            study.sweeps[trial] = tuple(scoring.score(weights, trial, "test", scale)[0] for scale in scales)
        scores, readings = scoring.score(weights, trial, "test", guidance)
        study.trials[trial] = scores
        study.tensors |= {f"{trial.key}/{name}": value for name, value in scoring.counts(readings, "test").items()}
        study.save(output)
        print(trial.key, {key: round(scores[key]["value"], 3) for key in scores.compared if key in scores})


def _chosen_guidance(scoring: Scoring, weights: Path, trial: Trial, study: Study) -> float:
    """The guidance of a model: chosen once, on validation captions, with its first network."""
    if trial.model not in study.guidance:
        scales = scoring.profile.sampling.guidances
        points = tuple(scoring.score(weights, trial, "val", scale)[0] for scale in scales)
        study.guidance[trial.model] = max(points, key=correspondence).guidance
        study.validation[trial.model] = points
    return study.guidance[trial.model]


def _started(output: Path, min_area: int) -> Study:
    if not (output / "study.json").is_file():
        return Study(min_area)
    study = Study.load(output)
    if study.minimum_area != min_area:
        raise CheckpointError(
            f"{output} counts classes from {study.minimum_area} pixels on, the referee now from {min_area}: "
            "delete it to score all trainings anew"
        )
    return study


def make_study(profile: Profile, domain: str, min_area: int) -> Study:
    """The study of a domain: the released one, else trained here, going on where it stopped.

    Raises CheckpointError where the released one is missing or counts classes from another area on.
    """
    folder = profile.results_folder("study", domain)
    if profile.released:
        shutil.copytree(released_folder(profile, domain, "study"), folder, dirs_exist_ok=True)
    else:
        run_study(profile, domain, folder, min_area)
    study = Study.load(folder)
    if study.minimum_area != min_area:
        raise CheckpointError(
            f"{folder} counts classes from {study.minimum_area} pixels on, the referee of this run is calibrated "
            f"to {min_area}: fetch the whole repository, or run profile '{profile.released}-scratch'"
        )
    return study


def settings_of(profile: Profile, model: str) -> dict[str, Any]:
    """Everything that decides a training of `model` but the seed, flat, for a comparison of two models."""
    parts = profile.diffusion_for(model), profile.train_for(model), profile.unet_for(model, 0, 1)
    halves = {"image": profile.model(model).image, "layout": profile.model(model).layout}
    return {**halves, **{key: value for part in parts for key, value in to_dict(part).items()}}


def main() -> None:
    """Command line: run or continue a study (data must be prepared, the referee trained or released)."""
    parser = argparse.ArgumentParser(description="Train and score every model of a study with every seed.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domain", default="streets")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    try:
        profile = load_profile(given.profile, given.domain)
        area = RefereeRecord.load(profile.results_folder("metrics"), given.domain).minimum_area
        run_study(profile, given.domain, given.output, area)
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
