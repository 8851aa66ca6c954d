"""Studies made by hand: random or chosen bits in place of what referees see."""

from __future__ import annotations

import numpy as np

from gcdp.experiments.study import Trial
from gcdp.experiments.study_record import Point, Record, Setup, Study

CAPTIONS, LABELS = 40, 5


def setup(seed: int = 0, captions: int = CAPTIONS, attributes: bool = False) -> Setup:
    """Captions that name each of five labels in about a third of cases, and two swaps a label."""
    rng = np.random.default_rng(seed)
    named = {
        f"{split}/{name}": rng.random((captions, LABELS)) < 0.35
        for split in ("val", "test")
        for name in (("classes", "attributes") if attributes else ("classes",))
    }
    facts = {"classes": list("abcde"), "labeled": list(range(LABELS)), "alignment_name": "toy" if attributes else ""}
    facts |= {"attributes": list("vwxyz") if attributes else [], "nameable": [0, 1, 2, 4]}
    label = np.repeat(np.arange(LABELS), 6)
    return Setup("now", 3, facts, named, {"caption": rng.integers(captions, size=len(label)), "label": label})


def point(made: Setup, follows: float, rng: np.random.Generator, split: str = "test", **scalars) -> Point:
    """Labels seen as named with probability `follows`, else at random."""

    def seen(labels: str) -> np.ndarray:
        asked = made.named[f"{split}/{labels}"]
        return np.where(rng.random(asked.shape) < follows, asked, rng.random(asked.shape) < 0.5)

    bits = {"seen_1px": seen("classes"), "seen": seen("classes"), "drawn": seen("classes")}
    values = {}
    if made.labels == "attributes":
        bits["attributes"] = seen("attributes")
        values["alignment"] = rng.random(len(bits["seen"])).astype(np.float16)
    return Point(bits, values, {"frechet": 1.0, "kid": 0.1, "fsd": 3.0, "miou": 0.5, "miou_all": 0.4} | scalars)


def record(made: Setup, follows: float, seed: int = 0, scales=(1.0, 2.0), guidance: float | None = 2.0) -> Record:
    """A test, or a validation where there is no guidance, of a network that follows its text so far."""
    rng = np.random.default_rng(seed)
    split = "val" if guidance is None else "test"
    points = {scale: point(made, follows * scale / max(scales), rng, split) for scale in scales}
    swaps = len(made.swaps["label"])
    with_label = rng.random(swaps) < 0.5 + follows / 2
    swapped = {"seen_with": with_label, "seen_without": rng.random(swaps) < 0.5 - follows / 2}
    facts = {"seconds": 60.0, "steps": 10, "batch_size": 4}
    return Record(f"network {seed}", made.identity, points, guidance, facts, {} if guidance is None else swapped)


def study(seeds: int = 3, sizes=(8, 16), attributes: bool = False, **follows: float) -> Study:
    """A finished study of models that follow their text so far, by name."""
    made, count = Study(setup(attributes=attributes)), 0
    for model, share in follows.items():
        for pairs in sizes:
            for seed in range(seeds):
                count += 1
                trial = Trial(model, pairs, seed)
                made.validations[trial] = record(made.setup, share, 1000 + count, guidance=None)
                made.tests[trial] = record(made.setup, share, count)
    return made
