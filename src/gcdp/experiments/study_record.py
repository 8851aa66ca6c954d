"""The record of repeated trainings: scores of each, counts of every caption, and differences of models with intervals.

What is kept of a training is small: what the referees found for every caption, and its features. Intervals are
computed from that, wherever it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import Estimate, difference, mean_ratio, sample_ratios, seed_interval, without_interval
from gcdp.experiments.records import GuidanceCurve
from gcdp.storage import load_tensors, save_tensors, write_json

RECORDS = "records.safetensors"
FORMAT = 2  # of study.json; the first one had no number


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


@dataclass
class Study:
    """Records of a finished or growing study.

    Args:
        minimum_area: pixels from which a class counts.
        identity: fingerprint of all that decides scores but the networks; empty for released records of old.
        networks: fingerprint of the weights behind each trial.
        guidance: of each model, chosen on validation captions with its first network.
        validation: of each model, its scores on validation captions at every scale.
        trials: scores on test captions at the chosen scale.
        sweeps: scores on test captions at every scale, where the study has them.
        tensors: "<trial>/<count>" of every caption, and "<trial>/features".
    """

    minimum_area: int
    identity: str = ""
    guidance: dict[str, float] = field(default_factory=dict)
    validation: dict[str, tuple[Scores, ...]] = field(default_factory=dict)
    trials: dict[Trial, Scores] = field(default_factory=dict)
    sweeps: dict[Trial, tuple[Scores, ...]] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    networks: dict[Trial, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Raises CheckpointError where a file is missing or damaged."""
        path = Path(folder) / "study.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tensors = load_tensors(Path(folder) / RECORDS)[0]
            if "format" not in content:
                content = _from_first_format(content, tensors)
            trials = {key: Trial(each["model"], each["pairs"], each["seed"]) for key, each in content["trials"].items()}
            return cls(
                content["minimum_area"],
                content.get("identity", ""),
                content["guidance"],
                {model: _points(rows) for model, rows in content["validation"].items()},
                {trials[key]: Scores.from_dict(each["scores"]) for key, each in content["trials"].items()},
                {trials[key]: _points(rows) for key, rows in content["sweeps"].items()},
                tensors,
                {trials[key]: network for key, network in content.get("networks", {}).items()},
            )
        except CheckpointError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is missing or damaged: run the study again") from error

    def save(self, folder: Path) -> None:
        """Write study.json and the tensors; the first one last, so that it never speaks of tensors that are missing."""
        save_tensors(Path(folder) / RECORDS, self.tensors)
        content = {
            "format": FORMAT,
            "minimum_area": self.minimum_area,
            "identity": self.identity,
            "networks": {trial.key: network for trial, network in self.networks.items()},
            "guidance": self.guidance,
            "validation": {model: [point.to_dict() for point in points] for model, points in self.validation.items()},
            "trials": {trial.key: {**vars(trial), "scores": found.to_dict()} for trial, found in self.trials.items()},
            "sweeps": {trial.key: [point.to_dict() for point in points] for trial, points in self.sweeps.items()},
        }
        write_json(Path(folder) / "study.json", content)

    def trials_of(self, model: str, pairs: int | None = None) -> list[Trial]:
        """Trials of a model, in order of pairs and seed."""
        return sorted(trial for trial in self.trials if trial.model == model and pairs in (None, trial.pairs))

    def ratios(self, model: str, measure: str, pairs: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(hits, cases) of every caption for each trial of a model: the sums divided are the measure."""
        ratio = MEASURES[measure].ratio
        found = []
        for trial in self.trials_of(model, pairs):
            counts = {name: self._count(trial, name) for name in (ratio.hits, *ratio.cases)}
            hits, cases = ratio.factor * counts[ratio.hits], sum(counts[name] for name in ratio.cases)
            found.append(sample_ratios(hits, cases) if ratio.per_caption else (hits, cases))
        return found

    def compare(self, ours: str, theirs: str, pairs: int | None = None) -> dict[str, Any]:
        """Differences ours - theirs by key of MEASURES, {"value", "low", "high"} each, and the number of "trainings".

        Ratios by `statistics.difference`, over seeds and captions; "frechet" from the trainings alone, paired by seed
        and pairs, by Student's t: no interval for a single pair. A measure that does not apply is absent. Without
        `pairs` the trainings on all sizes stand together, so that a difference between sizes widens the interval.
        Raises DataError where their trainings do not pair.
        """
        sides = [self.trials_of(model, pairs) for model in (ours, theirs)]
        if not sides[0] or len({tuple((trial.pairs, trial.seed) for trial in side) for side in sides}) != 1:
            raise DataError(f"'{ours}' and '{theirs}' were trained with other seeds or pairs: finish the study first")
        result: dict[str, Any] = {}
        for measure in MEASURES.values():
            if measure.ratio and self._applies(measure.key, sides[0]):
                found = difference(*(self.ratios(model, measure.key, pairs) for model in (ours, theirs)))
                if found["value"] is not None:
                    result[measure.key] = _ends(found)
        distances = [[self.trials[trial]["frechet"]["value"] for trial in side] for side in sides]
        result["frechet"] = _ends(seed_interval([a - b for a, b in zip(*distances, strict=True)]))
        result["trainings"] = len(distances[0])
        return result

    def curve(self, trial: Trial) -> GuidanceCurve:
        """All guidance scales of one trial.

        Raises DataError where the study scored its networks at the chosen scale alone (`study.sweep`).
        """
        if trial not in self.sweeps:
            raise DataError(
                f"the study holds no sweep of {trial.key}: set study.sweep in its profile and run it in a new folder"
            )
        return GuidanceCurve(self.sweeps[trial], self.trials[trial].guidance)

    def first_scores(self) -> dict[str, dict[int, Scores]]:
        """{model: {number of pairs: scores}} of a model's first training on each number of pairs."""
        rows: dict[str, dict[int, Scores]] = {}
        for trial in sorted(self.trials):
            rows.setdefault(trial.model, {}).setdefault(trial.pairs, self.trials[trial])
        return rows

    def _count(self, trial: Trial, name: str) -> np.ndarray:
        return self.tensors[f"{trial.key}/{name}"].double().numpy()

    def _applies(self, key: str, trials: list[Trial]) -> bool:
        """Whether trainings have the counts of a measure, and captions that it takes for granted."""
        if MEASURES[key].of_all_classes and any(f"{trial.key}/attributes_named" in self.tensors for trial in trials):
            return False
        return any(f"{trial.key}/{MEASURES[key].ratio.hits}" in self.tensors for trial in trials)


def _ends(estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate[name] for name in ("value", "low", "high")}


def _points(rows: list[dict]) -> tuple[Scores, ...]:
    return tuple(Scores.from_dict(row) for row in rows)


# In the first format recall of classes was pooled under the names that the paper's mean over images has now.
_RENAMED = {"semantic_recall": "semantic_recall_pooled", "semantic_recall_area": "semantic_recall_area_pooled"}
_RECALLS = {"semantic_recall": "both_1px", "semantic_recall_area": "both"}


def _from_first_format(content: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The content of study.json as it is written now. The paper's recalls follow exactly from the counts of captions;
    points of which no counts were kept (validation, other scales) have the pooled ones alone."""
    trials, sweeps = {}, {}
    for key, each in content["trials"].items():
        scores = _scores_from_first_format(each["scores"], each["guidance"])
        for name, hits in _RECALLS.items():
            counts = [tensors[f"{key}/{count}"].double().numpy() for count in (hits, "named")]
            scores[name] = mean_ratio(*counts)
        trials[key] = {"model": each["model"], "pairs": each["pairs"], "seed": each["seed"], "scores": scores}
    for key, points in content.get("sweeps", {}).items():
        rows = [_scores_from_first_format(found, float(scale)) for scale, found in points.items()]
        chosen = trials[key]["scores"]
        sweeps[key] = [chosen if row["guidance"] == chosen["guidance"] else row for row in rows]
    validation = {
        model: [_scores_from_first_format(found, float(scale)) for scale, found in points.items()]
        for model, points in content["val"].items()
    }
    return {**content, "trials": trials, "sweeps": sweeps, "validation": validation}


def _scores_from_first_format(content: dict[str, Any], guidance: float | None) -> dict[str, Any]:
    found = {_RENAMED.get(name, name): value for name, value in content.items()} | {"guidance": guidance}
    found["chance"] = {_RENAMED.get(name, name): value for name, value in content["chance"].items()}
    if "kid" in found:
        found["kid"] = without_interval(found["kid"]["value"], found["frechet"]["n"])
    if found.get("attribute_macro") is not None:
        named = sum(estimate["n"] > 0 for estimate in found["per_attribute"].values())
        found["attribute_macro"] = without_interval(found["attribute_macro"], named)
    else:
        found.pop("attribute_macro", None)
    return found
