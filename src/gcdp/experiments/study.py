"""Repeated trainings behind the claim: every model with every seed on every number of pairs, judged alike.

    python -m gcdp.experiments.study --profile toy-scratch --domain streets --output weights/toy-streets-study

Training seeds differ far more than bootstrap samples of one network do, so a claim about models rests on several of
each. What is kept of a training is small: what the referees found for every caption, and its features. Intervals are
computed from that, wherever it is read.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcdp.errors import CheckpointError, DataError, GCDPError
from gcdp.evaluation.layouts import agreement
from gcdp.evaluation.scores import RealReference
from gcdp.evaluation.statistics import difference, seed_interval
from gcdp.experiments.datasets import HeldOut, held_out, open_pairs
from gcdp.experiments.models import fit, model_folder, open_model
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.referees import open_referees
from gcdp.experiments.runs import prepare_run, released_folder
from gcdp.experiments.sweep import Sweep, correspondence, kept_measures, read_known
from gcdp.storage import load_tensors, save_tensors, write_json
from gcdp.training.checkpoint import load_card
from gcdp.validation import to_dict

RECORDS = "records.safetensors"
COUNTS = ("both_1px", "named", "held_1px", "both", "held")  # of each caption; the last two from the calibrated area
# measure -> (hits, cases to be summed, factor): what its value is the ratio of, over all captions
MEASURES = {
    "recall": ("both_1px", ("named",), 1),
    "recall_area": ("both", ("named",), 1),
    "precision": ("both", ("held",), 1),
    "precision_1px": ("both_1px", ("held_1px",), 1),
    "f1": ("both", ("named", "held"), 2),
    "attribute_recall": ("attributes_shown", ("attributes_named",), 1),
    "alignment": ("alignment", ("captions",), 1),
}


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
        return self.referees.score(readings, pairs.layouts, world, self.real[split], self.min_area), readings

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
    """Train and judge all trials; a study that was interrupted goes on, and keeps what it has."""
    all_pairs = len(open_pairs(profile, domain, "train"))
    scoring = Scoring(profile, domain, min_area)
    facts, tensors = _started(output, min_area)
    for trial in trials(profile, all_pairs):
        if trial.key in facts["trials"]:
            continue
        weights = train_trial(profile, domain, trial)
        chosen = _chosen_guidance(scoring, weights, trial, facts)
        if profile.study.sweep:
            points = {f"{g:g}": scoring.score(weights, trial, "test", g)[0] for g in profile.sampling.guidances}
            facts.setdefault("sweeps", {})[trial.key] = points
        scores, readings = scoring.score(weights, trial, "test", chosen)
        facts["trials"][trial.key] = {**vars(trial), "guidance": chosen, "scores": scores}
        tensors |= {f"{trial.key}/{name}": value for name, value in scoring.counts(readings, "test").items()}
        save_tensors(output / RECORDS, tensors)
        write_json(output / "study.json", facts)
        found = {name: scores[name]["value"] for name in ("semantic_recall", "f1", "attribute_recall", "alignment")
                 if name in scores}  # fmt: skip
        print(trial.key, {name: value if value is None else round(value, 3) for name, value in found.items()})


def _chosen_guidance(scoring: Scoring, weights: Path, trial: Trial, facts: dict[str, Any]) -> float:
    """The guidance of a model: chosen once, on validation captions, with its first network."""
    if trial.model not in facts["guidance"]:
        sweep = {g: scoring.score(weights, trial, "val", g)[0] for g in scoring.profile.sampling.guidances}
        facts["guidance"][trial.model] = max(sweep, key=lambda g: correspondence(sweep[g]))
        facts["val"][trial.model] = {f"{g:g}": scores for g, scores in sweep.items()}
    return facts["guidance"][trial.model]


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

    def ratios(self, model: str, measure: str, pairs: int | None = None) -> list:
        """(hits, cases) of every caption for each trial of a model, one of MEASURES."""
        top, bottom, factor = MEASURES[measure]
        found = []
        for key in self.keys(model, pairs):
            counts = {name: self.tensors[f"{key}/{name}"].double().numpy() for name in (top, *bottom)}
            found.append((factor * counts[top], sum(counts[name] for name in bottom)))
        return found

    def compare(self, ours: str, theirs: str, pairs: int | None = None) -> dict[str, Any]:
        """Differences ours - theirs with 95 % intervals: {"recall", "recall_area", ..., "frechet", "trainings"}.

        All but `frechet` by `statistics.difference`, over seeds and captions; `frechet` from the trainings alone,
        paired by seed and pairs, by Student's t. Without `pairs` the trainings on all sizes stand together, so that
        a difference between sizes widens the interval. Raises DataError where their trainings do not pair.
        """
        keys = [self.keys(model, pairs) for model in (ours, theirs)]
        if [key.removeprefix(ours) for key in keys[0]] != [key.removeprefix(theirs) for key in keys[1]]:
            raise DataError(f"'{ours}' and '{theirs}' were trained with other seeds or pairs: finish the study first")
        result: dict[str, Any] = {}
        described = any(f"{key}/attributes_named" in self.tensors for key in keys[0])
        for name, (top, _, _) in MEASURES.items():
            # captions that name attributes leave out most classes that are there: precision means nothing then
            counted = any(f"{key}/{top}" in self.tensors for key in keys[0])
            if counted and not (described and name in ("precision", "precision_1px", "f1")):
                found = difference(*(self.ratios(model, name, pairs) for model in (ours, theirs)))
                result[name] = {key: found[key] for key in ("value", "low", "high")}
        distances = [[self._frechet(key) for key in side] for side in keys]
        found = seed_interval([a - b for a, b in zip(*distances, strict=True)])
        result["frechet"] = {key: found[key] for key in ("value", "low", "high")}
        result["trainings"] = len(distances[0])
        return result

    def sweep(self, key: str) -> dict[str, Any]:
        """All guidance scales of one trial, in the form that `07_evaluate` keeps.

        Raises DataError where the study judged its networks at the chosen scale alone (`study.sweep`).
        """
        if key not in self.facts.get("sweeps", {}):
            raise DataError(f"the study holds no sweep of {key}: set study.sweep in its profile and judge it anew")
        facts = self.facts["trials"][key]
        points = [{"guidance": float(scale), **scores} for scale, scores in self.facts["sweeps"][key].items()]
        return {"sweep": points, "best": facts["guidance"], "chosen": facts["scores"], "n": facts["scores"]["f1"]["n"]}

    def _frechet(self, key: str) -> float:
        return self.facts["trials"][key]["scores"]["frechet"]["value"]


def subset_rows(study: Study) -> dict[str, dict[str, Any]]:
    """{model: {number of pairs: scores at the chosen guidance}} of a model's first training on each number of pairs."""
    rows: dict[str, dict[str, Any]] = {}
    for trial in sorted(study.facts["trials"].values(), key=lambda t: (t["model"], t["pairs"], t["seed"])):
        found = {**kept_measures(trial["scores"]), "chance": trial["scores"]["chance"]}
        found |= {name: trial[name] for name in ("guidance", "seed")}
        rows.setdefault(trial["model"], {}).setdefault(str(trial["pairs"]), found)
    return rows


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
        profile = load_profile(given.profile, given.domain)
        run_study(profile, given.domain, given.output, read_known(profile, given.domain)["minimum_area"])
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
