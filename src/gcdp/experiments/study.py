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
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcdp.errors import CheckpointError, GCDPError
from gcdp.evaluation.layouts import agreement
from gcdp.evaluation.scores import RealReference
from gcdp.experiments.datasets import HeldOut, held_out, open_pairs
from gcdp.experiments.models import expected_card, fit, model_folder, open_model
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.records import RefereeRecord
from gcdp.experiments.referees import open_referees, referee_hashes
from gcdp.experiments.runs import Run, prepare_run, released_folder
from gcdp.experiments.study_record import Study, Trial
from gcdp.experiments.sweep import Sweep, correspondence
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint, sha256
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
    """Train one model where that was not done yet, here or by the pipeline; returns its folder.

    Raises CheckpointError where it was, but with another network, recipe, pairs or training code.
    """
    run, network = _prepared(profile, domain, trial), expected_card(profile, domain, trial.model).hash()
    for folder in (run.model_folder, model_folder(profile, domain, trial.model)):
        if (folder / "config.json").is_file():
            card = load_card(folder)
            if card.hash() == network and run.made(card):
                return folder
            if folder == run.model_folder:
                raise CheckpointError(
                    f"{folder} was trained with other settings, pairs or code than those of now: delete it to train "
                    "it anew, or restore them"
                )
    fit(profile, trial.model, run)
    return run.model_folder


def _prepared(profile: Profile, domain: str, trial: Trial) -> Run:
    return prepare_run(profile, domain, trial.model, seed=trial.seed, pairs=trial.pairs)


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

    @cached_property
    def identity(self) -> str:
        """Fingerprint of all that decides scores but the trained networks: pairs, settings, referees and code."""
        profile, domain = self.profile, self.domain
        decisive = {
            "pairs": {split: open_pairs(profile, domain, split).checksums for split in self.worlds},
            "captions": {split: world.captions for split, world in self.worlds.items()},
            "sampling": to_dict(profile.sampling),
            "seed": profile.evaluate.seed,
            "sweep": profile.study.sweep,
            "minimum_area": self.min_area,
            "referees": referee_hashes(profile, domain),
            "code": source_fingerprint("gcdp.experiments.study"),
        }
        return fingerprint(decisive)

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
    """Train and score all trials; a study that was interrupted goes on, and keeps what it has.

    Scores of other networks, settings, referees or code than those of now are made anew. Raises CheckpointError as
    `train_trial`.
    """
    all_pairs = len(open_pairs(profile, domain, "train"))
    scoring = Scoring(profile, domain, min_area)
    study = _started(output, min_area, scoring.identity)
    for trial in trials(profile, all_pairs):
        weights = train_trial(profile, domain, trial)
        network = fingerprint({path.name: sha256(path) for path in weights.glob("*.safetensors")})
        if study.networks.get(trial) == network:
            continue
        if not any(other.model == trial.model for other in study.trials):
            study.guidance.pop(trial.model, None)
        guidance = _chosen_guidance(scoring, weights, trial, study)
        if profile.study.sweep:
            scales = profile.sampling.guidances
            study.sweeps[trial] = tuple(scoring.score(weights, trial, "test", scale)[0] for scale in scales)
        scores, readings = scoring.score(weights, trial, "test", guidance)
        study.trials[trial], study.networks[trial] = scores, network
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


def _started(output: Path, min_area: int, identity: str) -> Study:
    """The records to go on with; new ones where there are none or they were scored in another way."""
    if (output / "study.json").is_file():
        study = Study.load(output)
        if study.identity == identity:
            return study
        print(f"{output} was scored with other settings, referees or code: all trainings are scored anew")
    return Study(min_area, identity)


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
