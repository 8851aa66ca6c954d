"""Scores and records made by hand, for figures, tables and the summary."""

from gcdp.evaluation.scores import Scores
from gcdp.experiments.records import EvaluationRecord, GuidanceCurve, RefereeRecord

OF_TEXT = ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet")


def estimate(value, spread=0.01, n=8):
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - spread, "high": value + spread, "n": n}


def point(guidance=None, shift=0.0, miou=0.5, **changes):
    measures = {name: estimate(0.1 * i + 0.2 + shift) for i, name in enumerate(OF_TEXT)}
    measures |= {"miou": estimate(miou), "fsd": estimate(30.25, 2.0)} | changes
    return Scores(measures, guidance=guidance, minimum_area=3, fsd_of="referee" if miou is None else "layouts")


def record(miou=0.5, points=None, guidance=2.0, **changes):
    points = (point(1.0, miou=miou), point(2.0, 0.05, miou=miou)) if points is None else tuple(points)
    fsd_of = points[0].fsd_of if points else ""
    free = Scores({"frechet": estimate(0.9), "fsd": estimate(40.0), "miou": estimate(miou)}, fsd_of=fsd_of)
    facts = {"domain": "streets", "model": "joint", "kind": "diffusion", "split": "test", "n": 8, "minimum_area": 3}
    facts |= {"referee": "segmenter", "curve": GuidanceCurve(points, guidance), "unconditional": free, "seed": 0}
    facts |= {"ceiling": point(shift=0.1), "training": {"steps": 1500, "batch_size": 16}}
    return EvaluationRecord(**facts | changes)


def external(text=True):
    """Images made elsewhere, for captions or without text."""
    made = point(miou=None)
    curve = {"points": (made,) if text else (), "guidance": None}
    return record(**curve, unconditional=None if text else made.without_text(), training={}, seed=None)


def referee(ceiling, n=120, spoiled=()):
    """`spoiled`: (distance, J of classes and of attributes) of each spoiling."""
    rows = [
        {
            "name": f"spoiled {i}",
            "n": 8,
            **dict.fromkeys(("frechet", "frechet_all"), estimate(distance)),
            **dict.fromkeys(("j", "attribute_j"), estimate(j)),
        }
        for i, (distance, j) in enumerate(spoiled)
    ]
    return RefereeRecord("streets", "segmenter", "test", n, 3, ceiling, spoiled=rows)
