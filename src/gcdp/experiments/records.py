"""What notebooks leave for others to read: the record of an evaluation and that of the referee, as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.readability import is_unreadable
from gcdp.evaluation.scores import Scores
from gcdp.storage import write_json


@dataclass(frozen=True)
class GuidanceCurve:
    """Scores of one model on test captions at rising guidance, and the scale that validation captions chose.

    Images made elsewhere have one point or none, and no scale.
    """

    points: tuple[Scores, ...] = ()
    guidance: float | None = None

    @property
    def chosen(self) -> Scores | None:
        """The scores at the chosen scale."""
        return next((point for point in self.points if point.guidance == self.guidance), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"guidance": self.guidance, "points": [point.to_dict() for point in self.points]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> GuidanceCurve:
        """What `to_dict` gave."""
        return cls(tuple(Scores.from_dict(point) for point in content["points"]), content["guidance"])


@dataclass(frozen=True)
class EvaluationRecord:
    """One model by the referees: what `07_evaluate` and `tools/score_folder.py` write.

    Args:
        domain, model, kind: which model; images made elsewhere are of the kind "external".
        split: of the captions that the curve is scored on.
        n: number of captions.
        minimum_area: pixels from which a class counts.
        referee: name of the network that reads layouts.
        curve: scores over guidance.
        unconditional: scores of pairs drawn without text.
        ceiling: scores of real pairs, without the classes one by one.
        training: "steps", "batch_size", "pairs" and "seed" of the network, where they are known.
        validation: [{"guidance", "by"}]: what the scale was chosen by, on validation captions.
        seed, num_steps: of the drawing; None for images made elsewhere.
    """

    domain: str
    model: str
    kind: str
    split: str
    n: int
    minimum_area: int
    referee: str
    curve: GuidanceCurve
    unconditional: Scores | None
    ceiling: Scores
    training: dict[str, Any] = field(default_factory=dict)
    validation: tuple[dict[str, float], ...] = ()
    seed: int | None = None
    num_steps: int | None = None

    @property
    def chosen(self) -> Scores | None:
        """The scores at the chosen guidance; None where the images were made without text."""
        return self.curve.chosen

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        unconditional = self.unconditional and self.unconditional.to_dict()
        parts = {"curve": self.curve.to_dict(), "unconditional": unconditional, "ceiling": self.ceiling.to_dict()}
        return {**vars(self), **parts, "validation": list(self.validation)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationRecord:
        """What `to_dict` gave. Raises KeyError or TypeError where it is something else."""
        parts = {"curve": GuidanceCurve.from_dict(content["curve"]), "ceiling": Scores.from_dict(content["ceiling"])}
        without_text = content["unconditional"]
        parts |= {"unconditional": without_text and Scores.from_dict(without_text)}
        return cls(**{**content, **parts, "validation": tuple(content["validation"])})

    def save(self, metrics: Path) -> Path:
        """Write <metrics>/evaluation/<domain>/<model>.json; returns the path."""
        path = Path(metrics) / "evaluation" / self.domain / f"{self.model}.json"
        write_json(path, self.to_dict())
        return path


def load_evaluations(metrics: Path) -> dict[str, dict[str, EvaluationRecord]]:
    """Every record in <metrics>/evaluation, by domain and model; empty where there are none.

    Raises DataError for a file that is damaged or of another form.
    """
    found: dict[str, dict[str, EvaluationRecord]] = {}
    for path in sorted(Path(metrics).glob("evaluation/*/*.json")):
        try:
            record = EvaluationRecord.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged or of an older form ({error!r}): run 07_evaluate again") from error
        found.setdefault(record.domain, {})[record.model] = record
    return found


@dataclass(frozen=True)
class RefereeRecord:
    """What `04_evaluators` measures of the referees of a domain.

    Args:
        domain: of the referees.
        referee: name of the network that reads layouts.
        split, n: real pairs that the ceiling was measured on.
        minimum_area: pixels from which a class counts.
        ceiling: scores of those pairs.
        calibration: how the area was found, from `recall.calibrate_area`.
        distances: {what was done to real images: their Fréchet distance to others}.
        attributes: `attribute_recall.classifier_report`, where captions name attributes.
        alignment: "name" of the text-image score and how well it retrieves, where there is one.
        spoiled: what is still read in spoiled real images, from `experiments.readability.measure_spoiled`; empty where
            it was not measured.
    """

    domain: str
    referee: str
    split: str
    n: int
    minimum_area: int
    ceiling: Scores
    calibration: dict[str, Any] = field(default_factory=dict)
    distances: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] = field(default_factory=dict)
    spoiled: list[dict[str, Any]] = field(default_factory=list)

    def readability(self, n: int = 0) -> dict[str, tuple[float, float]]:
        """{spoiling: (Fréchet distance, J)}: J of attributes where captions name those, else of classes.

        A distance shrinks as images get more: that of all spoiled pairs is given where at least so many stand behind
        `n`, the number of a model's images, else that of as many as an evaluation draws.
        """
        key = "attribute_j" if self.ceiling.has_attributes else "j"
        known = [row for row in self.spoiled if key in row and row[key]["value"] is not None]
        distances = ["frechet_all" if n >= row["n"] else "frechet" for row in known]
        return {row["name"]: (row[each]["value"], row[key]["value"]) for each, row in zip(distances, known)}

    def unreadable(self, scores: Scores | None) -> bool:
        """Whether images of these scores are too far from real ones for the referee to read text off them; see
        `gcdp.evaluation.readability`. False where that is not known."""
        if scores is None or scores.value("frechet") is None:
            return False
        # in a study a distance has one value a training, and J says how many images are behind it
        n = max(scores.measures[key]["n"] for key in ("frechet", "j") if key in scores.measures)
        points = self.readability(n)
        return is_unreadable(scores.value("frechet"), [*points.values()])

    def save(self, metrics: Path) -> Path:
        """Write <metrics>/referee/<domain>.json; returns the path."""
        path = Path(metrics) / "referee" / f"{self.domain}.json"
        write_json(path, {**vars(self), "ceiling": self.ceiling.to_dict()})
        return path

    @classmethod
    def load(cls, metrics: Path, domain: str) -> RefereeRecord:
        """Raises CheckpointError where the notebook 04_evaluators has not run, DataError for a damaged file."""
        path = Path(metrics) / "referee" / f"{domain}.json"
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: run the notebook 04_evaluators first")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**content, "ceiling": Scores.from_dict(content["ceiling"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged or of an older form ({error!r}): run 04_evaluators again") from error
