"""Repeated trainings behind the claim: every model with every seed on every number of pairs, judged alike.

    python -m gcdp.study --profile toy-scratch --domain streets --output weights/toy-streets-study

Training seeds differ far more than bootstrap samples of one network do, so a claim about models rests on several of
each. What is kept of a training is small: what the referee found for every caption, and its features. Intervals are
computed from that, wherever it is read.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcdp.checkpoint import load_tensors, save_tensors
from gcdp.config import Profile, load_profile
from gcdp.errors import CheckpointError, DataError, GCDPError
from gcdp.evaluation.layouts import agreement
from gcdp.evaluation.scores import RealReference, score
from gcdp.evaluation.statistics import difference, seed_interval
from gcdp.judging import HeldOut, Sweep, held_out, open_referee, read_known
from gcdp.models import fit, open_model
from gcdp.runs import open_pairs, prepare_run, released_folder, write_json
from gcdp.settings import to_dict

RECORDS = "records.safetensors"
COUNTS = ("both_1px", "named", "held_1px", "both", "held")  # of each caption; the last two from the calibrated area


@dataclass(frozen=True, order=True)
class Trial:
    """One training: which model, with which seed, on how many pairs."""

    model: str
    pairs: int
    seed: int

    @property
    def key(self) -> str:
        """Name of its folder and of its records."""
        return f"{self.model}-{self.pairs}-s{self.seed}"


def trials(profile: Profile, all_pairs: int) -> Iterator[Trial]:
    """All trainings of a study, most pairs first; the levers between two models once, with the first seed."""
    study = profile.study
    for seed in study.seeds:
        for pairs in sorted(study.pairs or (all_pairs,), reverse=True):
            for model in study.models:
                yield Trial(model, pairs, seed)
    for model in study.ablations:
        yield Trial(model, all_pairs, study.seeds[0])


def train_trial(profile: Profile, domain: str, trial: Trial) -> Path:
    """Train one model where that was not done yet; returns its folder."""
    run = prepare_run(profile, domain, trial.model, seed=trial.seed, pairs=trial.pairs)
    if not (run.model_folder / "config.json").is_file():
        fit(profile, trial.model, run)
    return run.model_folder


class Judge:
    """Referee, real pairs and settings that all trials of a study share."""

    def __init__(self, profile: Profile, domain: str, min_area: int):
        self.profile, self.domain, self.min_area = profile, domain, min_area
        self.referee = open_referee(profile, domain)
        self.worlds = {
            "val": held_out(profile, domain, "val", profile.study.num_val),
            "test": held_out(profile, domain, "test", profile.study.num_samples),
        }
        self.real = {split: self._real(held_out(profile, domain, split)) for split in self.worlds}

    def _real(self, world: HeldOut) -> RealReference:
        return RealReference(self.referee.judge(world.images), world.layouts)

    def judged(self, folder: Path, trial: Trial, split: str, guidance: float):
        """(scores, judgement) of one trained network at one guidance."""
        world = self.worlds[split]
        model = open_model(self.profile, self.domain, trial.model, folder)
        steps, seed = self.profile.evaluate.num_steps, self.profile.evaluate.seed
        sweep = Sweep(model, world, steps, seed, folder / f"sweep-{split}", [folder / "model.safetensors"])
        pairs = sweep.draw(guidance)
        judgement = self.referee.judge(pairs.images)
        scores = score(judgement, pairs.layouts, world.captions, world.classes, self.real[split], self.min_area)
        return scores, judgement

    def counts(self, judgement, split: str) -> dict[str, torch.Tensor]:
        """What is kept of a judgement: COUNTS for every caption, uint8 (N,), and features, float16 (N, D)."""
        world = self.worlds[split]
        pixel, area = (
            agreement(judgement.layouts, world.captions, world.classes, least) for least in (1, self.min_area)
        )
        columns = (pixel.both, pixel.named, pixel.held, area.both, area.held)
        kept = {
            name: torch.from_numpy(column.sum(1).astype(np.uint8)) for name, column in zip(COUNTS, columns, strict=True)
        }
        return {**kept, "features": torch.from_numpy(judgement.features).half()}


def run_study(profile: Profile, domain: str, output: Path, min_area: int) -> None:
    """Train and judge all trials; a study that was interrupted goes on, and keeps what it has."""
    all_pairs = len(open_pairs(profile, domain, "train"))
    judge = Judge(profile, domain, min_area)
    facts, tensors = _started(output, min_area)
    guidance = facts["guidance"]
    for trial in trials(profile, all_pairs):
        if trial.key in facts["trials"]:
            continue
        folder = train_trial(profile, domain, trial)
        if trial.model not in guidance:  # chosen once, on validation captions, with the first network of a model
            sweep = {g: judge.judged(folder, trial, "val", g)[0] for g in profile.study.guidances}
            best = max(sweep, key=lambda g: sweep[g]["f1"]["value"] or 0.0)
            guidance[trial.model] = best
            facts["val"][trial.model] = {f"{g:g}": scores for g, scores in sweep.items()}
        scores, judgement = judge.judged(folder, trial, "test", guidance[trial.model])
        facts["trials"][trial.key] = {**vars(trial), "guidance": guidance[trial.model], "scores": scores}
        tensors |= {f"{trial.key}/{name}": value for name, value in judge.counts(judgement, "test").items()}
        save_tensors(output / RECORDS, tensors)
        write_json(output / "study.json", facts)
        found = {name: scores[name]["value"] for name in ("semantic_recall", "precision", "f1")}
        print(trial.key, {name: value if value is None else round(value, 3) for name, value in found.items()})


def _started(output: Path, min_area: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not (output / "study.json").is_file():
        return {"minimum_area": min_area, "guidance": {}, "val": {}, "trials": {}}, {}
    study = Study.load(output)
    if study.facts["minimum_area"] != min_area:
        raise CheckpointError(
            f"{output} was judged from {study.facts['minimum_area']} pixels on, now from {min_area}: "
            "delete it to judge all trainings anew"
        )
    return study.facts, study.tensors


class Study:
    """Records of a finished or growing study. Made by `Study.load`."""

    def __init__(self, facts: dict[str, Any], tensors: dict[str, torch.Tensor]):
        self.facts, self.tensors = facts, tensors

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Raises CheckpointError where a file is missing or damaged."""
        try:
            facts = json.loads((Path(folder) / "study.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}/study.json is missing or damaged: run the study again") from error
        return cls(facts, load_tensors(Path(folder) / RECORDS)[0])

    def keys(self, model: str, pairs: int | None = None) -> list[str]:
        """Trials of a model, in order of pairs and seed."""
        found = [Trial(t["model"], t["pairs"], t["seed"]) for t in self.facts["trials"].values()]
        return [t.key for t in sorted(found) if t.model == model and pairs in (None, t.pairs)]

    def ratios(self, model: str, top: str, bottom: Sequence[str], pairs: int | None = None, factor: int = 1) -> list:
        """(hits, cases) of every caption for each trial: `factor` * top / sum of bottom."""
        count = {
            key: {n: self.tensors[f"{key}/{n}"].double().numpy() for n in COUNTS} for key in self.keys(model, pairs)
        }
        return [(factor * c[top], sum(c[name] for name in bottom)) for c in count.values()]

    def compare(self, ours: str, theirs: str, pairs: int | None = None) -> dict[str, Any]:
        """Differences ours - theirs, 95 % intervals: {"recall", "recall_area", "precision", "f1", "frechet", ...}.

        All but `frechet` by `statistics.difference`, over seeds and captions; `frechet` from the trainings alone,
        paired by seed and pairs, by Student's t. Without `pairs` the trainings on all sizes stand together, so that
        a difference between sizes widens the interval. Raises DataError where their trainings do not pair.
        """
        keys = [self.keys(model, pairs) for model in (ours, theirs)]
        if [key.removeprefix(ours) for key in keys[0]] != [key.removeprefix(theirs) for key in keys[1]]:
            raise DataError(f"'{ours}' and '{theirs}' were trained with other seeds or pairs: finish the study first")
        measures = {
            "recall": ("both_1px", ["named"], 1),
            "recall_area": ("both", ["named"], 1),
            "precision": ("both", ["held"], 1),
            "precision_1px": ("both_1px", ["held_1px"], 1),
            "f1": ("both", ["named", "held"], 2),
        }
        result: dict[str, Any] = {}
        for name, (top, bottom, factor) in measures.items():
            sides = [self.ratios(model, top, bottom, pairs, factor) for model in (ours, theirs)]
            found = difference(*sides)
            result[name] = {key: found[key] for key in ("value", "low", "high")}
        distances = [[self._frechet(key) for key in side] for side in keys]
        found = seed_interval([a - b for a, b in zip(*distances, strict=True)])
        result["frechet"] = {key: found[key] for key in ("value", "low", "high")}
        result["trainings"] = len(distances[0])
        return result

    def _frechet(self, key: str) -> float:
        return self.facts["trials"][key]["scores"]["frechet"]["value"]


def make_study(profile: Profile, domain: str, min_area: int) -> Study:
    """The study of a domain: the released one, else trained here, going on where it stopped.

    Raises CheckpointError where the released one is missing or was judged from another area on.
    """
    folder = profile.results_folder("study", domain)
    if profile.released:
        shutil.copytree(released_folder(profile, domain, "study"), folder, dirs_exist_ok=True)
    else:
        run_study(profile, domain, folder, min_area)
    study = Study.load(folder)
    if study.facts["minimum_area"] != min_area:
        raise CheckpointError(
            f"{folder} was judged from {study.facts['minimum_area']} pixels on, the referee of this run is calibrated "
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
    parser = argparse.ArgumentParser(description="Train and judge every model of a study with every seed.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domain", default="streets")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    try:
        profile = load_profile(given.profile)
        run_study(profile, given.domain, given.output, read_known(profile, given.domain)["minimum_area"])
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
