"""Repeated trainings behind the claims: which models are trained with which seeds on how many pairs, and where.

Training seeds differ far more than bootstrap samples of one network do, so a claim about models rests on several of
each. Every training is a trial of its own, in a folder of its own: trials are trained and scored side by side, in any
order, by as many processes as there are (`gcdp.experiments.train_all`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gcdp.errors import CheckpointError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.models import expected_card, fit, model_folder
from gcdp.experiments.profile import Profile
from gcdp.experiments.runs import Run, prepare_run
from gcdp.experiments.study_record import Trial
from gcdp.training.checkpoint import load_card
from gcdp.training.curve import read_curve
from gcdp.validation import to_dict


def sizes(profile: Profile, all_pairs: int) -> list[int]:
    """Numbers of training pairs that a study compares, in rising order; a split that has fewer stands for a size."""
    return sorted({min(all_pairs if size == "all" else size, all_pairs) for size in profile.study.sizes})


def trials(profile: Profile, all_pairs: int) -> Iterator[Trial]:
    """All trainings of a study in order of importance.

    Every model with its first seed on all pairs; the compared models with all seeds, then on fewer and fewer pairs;
    the models of full size with their other seeds.
    """
    study = profile.study
    yield from (Trial(model, all_pairs, study.seeds[0]) for model in (*study.models, *study.full_size))
    for pairs in reversed(sizes(profile, all_pairs)):
        for seed in study.seeds[1:] if pairs == all_pairs else study.seeds:
            yield from (Trial(model, pairs, seed) for model in study.models)
    for model in study.full_size:
        yield from (Trial(model, all_pairs, seed) for seed in seeds_of(profile, model)[1:])


def seeds_of(profile: Profile, model: str) -> tuple[int, ...]:
    """Training seeds of a model."""
    study = profile.study
    return study.seeds[: study.full_size_seeds or None] if model in study.full_size else study.seeds


def group(profile: Profile, trial: Trial) -> list[Trial]:
    """The trials that differ from this one in nothing but the seed: they share one guidance."""
    return [Trial(trial.model, trial.pairs, seed) for seed in seeds_of(profile, trial.model)]


def in_pipeline(profile: Profile, domain: str, trial: Trial) -> bool:
    """Whether a trial is the training of the pipeline: all pairs, and the model's own seed."""
    own = profile.train_for(trial.model).seed == trial.seed
    return own and trial.pairs == len(open_pairs(profile, domain, "train"))


def trial_run(profile: Profile, domain: str, trial: Trial) -> Run:
    """What the training of a trial takes, in results/<profile>/study/<domain>/<trial>, or in the pipeline's folders."""
    if in_pipeline(profile, domain, trial):
        return prepare_run(profile, domain, trial.model)
    return prepare_run(profile, domain, trial.model, seed=trial.seed, pairs=trial.pairs)


def trial_weights(profile: Profile, domain: str, trial: Trial) -> Path:
    """Where the trained network of a trial lies."""
    if in_pipeline(profile, domain, trial):
        return model_folder(profile, domain, trial.model)
    return trial_folder(profile, domain, trial)


def is_trained(profile: Profile, domain: str, model: str, run: Run) -> bool:
    """Whether the training of `run` is finished.

    Raises CheckpointError where it is, but with another network, recipe, pairs or training code than those of now.
    """
    if not (run.model_folder / "config.json").is_file():
        return False
    card = load_card(run.model_folder)
    if card.hash() != expected_card(profile, domain, model).hash() or not run.made(card):
        raise CheckpointError(
            f"{run.model_folder} was trained with other settings, pairs or code than those of now: delete it and "
            f"{run.state_folder} to train it anew, or restore them"
        )
    return True


def train_trial(profile: Profile, domain: str, trial: Trial, run: Run | None = None) -> Path:
    """Train one model where that was not done yet, going on where it stopped; returns its folder.

    `run` replaces `trial_run`, for trials outside the study. Raises CheckpointError as `is_trained`, and what the
    training raises.
    """
    run = run or trial_run(profile, domain, trial)
    if not is_trained(profile, domain, trial.model, run):
        fit(profile, trial.model, run)
        if run.state_folder.parent == run.model_folder:  # four times as large as the network, and of no use now
            shutil.rmtree(run.state_folder, ignore_errors=True)
    return run.model_folder


def trial_folder(profile: Profile, domain: str, trial: Trial) -> Path:
    """Where the records of a trial lie: results/<profile>/study/<domain>/<trial>."""
    return profile.results_folder("study", domain, trial.key)


def training_seconds(folder: Path, batch_size: int) -> float:
    """How long a training took by its curve, in seconds; validation and checkpoints are left out.

    Trainings side by side on one device slow each other down: only their ratio on one machine means something.
    """
    rows = [row for row in read_curve(folder / "curve.csv") if row.get("pairs_per_second")]
    steps = [row["step"] for row in rows]
    lengths = [step - before for step, before in zip(steps, [0, *steps])]
    return sum(batch_size * length / row["pairs_per_second"] for length, row in zip(lengths, rows, strict=True))


def settings_of(profile: Profile, model: str) -> dict[str, Any]:
    """Everything that decides a training of `model` but the seed, flat, for a comparison of two models."""
    parts = profile.diffusion_for(model), profile.train_for(model), profile.unet_for(model, 0, 1)
    halves = {"image": profile.model(model).image, "layout": profile.model(model).layout}
    return {**halves, **{key: value for part in parts for key, value in to_dict(part).items()}}
