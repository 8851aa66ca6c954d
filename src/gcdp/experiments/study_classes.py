"""What a study says class by class: the recall of each class, and whether small classes gain most (paper, Fig. 6b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.evaluation.layouts import named_shares
from gcdp.evaluation.mixed_effects import grand_mean, influence
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.study_measures import named, seeds_of
from gcdp.experiments.study_record import Setup, Study, Trial


def minor_classes(pairs: HeldOut) -> list[str]:
    """The half of the classes that captions can name which covers least of these pixels, the largest of them first."""
    names = [*named_shares(pairs.layouts, pairs.classes)]
    return names[len(names) // 2 :]


def class_recall(study: Study, model: str, pairs: int) -> dict[str, dict[str, Any]]:
    """Recall of each class that captions name, from one pixel on, at the model's guidance on so many pairs.

    {name: {"value", "low", "high", "seeds", "n"}}: over seeds and captions, "n" the captions that name the class.
    """
    asked, names = named(study.setup, "classes"), study.setup.facts["classes"]
    found = {}
    for k in np.flatnonzero(asked.any(0)):
        found[names[k]] = {**grand_mean(_recall(study, model, pairs, [k])), "n": int(asked[:, k].sum())}
    return found


def minor_gains(study: Study, ours: str, theirs: str, pairs: int, minor: Sequence[str]) -> dict[str, Any]:
    """What ours - theirs is on the classes `minor` and on the others, paired by seed.

    {"classes": minor, "recall": from one pixel on, of all that captions name of them together, "j": true- minus
    false-positive rate from the calibrated area on, "others": recall of the other classes, "gain": "recall" less
    "others"}; estimates of `grand_mean`. Empty where captions name no classes or no seed has both models.
    """
    seeds = seeds_of(study, ours, pairs, theirs, pairs)
    if study.setup.labels != "classes" or not seeds or not minor:
        return {}
    names, counted = study.setup.facts["classes"], study.setup.facts["labeled"]
    small = [k for k in counted if names[k] in minor]
    large = [k for k in counted if names[k] not in minor]

    def difference(values, group: list[int]) -> np.ndarray:
        first, second = (values(study, model, pairs, group, seeds) for model in (ours, theirs))
        return first - second

    recall, others = difference(_recall, small), difference(_recall, large)
    estimates = {"recall": recall, "j": difference(_correspondence, small), "others": others, "gain": recall - others}
    return {"classes": list(minor), **{name: grand_mean(values) for name, values in estimates.items()}}


def _recall(study: Study, model: str, pairs: int, group: list[int], seeds: list[int] | None = None) -> np.ndarray:
    """Values (S, C) whose mean is the share of the named classes of a group that are seen, from one pixel on."""
    return _stacked(
        study, model, pairs, seeds, lambda setup, bits: _rate(_asked(setup, group), bits["seen_1px"][:, group])
    )


def _correspondence(
    study: Study, model: str, pairs: int, group: list[int], seeds: list[int] | None = None
) -> np.ndarray:
    """The same from the calibrated area on, less the share of the classes that are not named and seen."""

    def values(setup: Setup, bits: dict[str, np.ndarray]) -> np.ndarray:
        asked, seen = _asked(setup, group), bits["seen"][:, group]
        return _rate(asked, seen) - _rate(~asked, seen)

    return _stacked(study, model, pairs, seeds, values)


def _stacked(study: Study, model: str, pairs: int, seeds: list[int] | None, values) -> np.ndarray:
    trials = [Trial(model, pairs, seed) for seed in seeds or seeds_of(study, model, pairs)]
    return np.stack([values(study.setup, study.tests[trial].chosen.bits) for trial in trials])


def _asked(setup: Setup, group: list[int]) -> np.ndarray:
    return named(setup, "classes")[:, group]


def _rate(cases: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return influence((cases & seen).sum(1), cases.sum(1))
