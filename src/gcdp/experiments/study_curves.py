"""Whole curves over guidance of every model of a study, and what follows of them: the trade-off of Fig. 6 and 7.

A test has the chosen scale alone; validation captions were drawn at every scale of the grid by every network. So curves
over guidance are of validation captions, with as many trainings as there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gcdp.evaluation.mixed_effects import grand_mean
from gcdp.experiments.records import GuidanceCurve
from gcdp.experiments.study_measures import curve, estimate, seeds_of, stacked
from gcdp.experiments.study_record import Record, Study, Trial

COMPARED = ("j", "semantic_recall", "attribute_recall", "alignment", "frechet", "kid", "miou")


def on_validation(study: Study) -> Study:
    """The study with its validations in the place of its tests, at the scales that they choose.

    Whatever `study_measures` computes of tests can so be computed of validations; the effect of naming, for which no
    swaps of validation captions were drawn, is absent.
    """
    named = {name.replace("val/", "test/"): bits for name, bits in study.setup.named.items() if name.startswith("val/")}
    found = Study(replace(study.setup, named=named, swaps={}), study.validations, dict(study.validations))
    for model, pairs in {(trial.model, trial.pairs) for trial in study.validations}:
        scales = _scales(found, model, pairs)
        best = max(scales, key=lambda scale: _mean(found, model, pairs, "j", scale))
        for seed in seeds_of(found, model, pairs):
            trial = Trial(model, pairs, seed)
            found.tests[trial] = replace(found.tests[trial], guidance=best)
    return found


def curves_of(validated: Study, models: Iterable[str], pairs: int) -> dict[str, GuidanceCurve]:
    """The curve of every model that was validated on so many pairs; `validated`: from `on_validation`."""
    return {model: curve(validated, model, pairs) for model in models if seeds_of(validated, model, pairs)}


def at_no_larger_distance(
    validated: Study, ours: str, theirs: str, pairs: int, keys: Iterable[str] = COMPARED
) -> dict[str, Any]:
    """ours - theirs, theirs at its best scale and ours at one where its images lie no farther from held-out ones.

    Of these scales the one with the largest J; where none is as close, the closest. Scale and difference come from the
    same captions, of both models.

    Args:
        validated: from `on_validation`.

    Returns {"guidance": {model: scale}, key: estimate of `grand_mean`}; empty where no seed has both models.
    """
    seeds = seeds_of(validated, ours, pairs, theirs, pairs)
    if not seeds:
        return {}
    their_scale = _record(validated, theirs, pairs).guidance
    limit = _mean(validated, theirs, pairs, "frechet", their_scale)
    distances = {scale: _mean(validated, ours, pairs, "frechet", scale) for scale in _scales(validated, ours, pairs)}
    near = [scale for scale, distance in distances.items() if distance <= limit]
    near = near or [min(distances, key=distances.get)]
    scale = max(near, key=lambda each: _mean(validated, ours, pairs, "j", each))
    found: dict[str, Any] = {"guidance": {ours: scale, theirs: their_scale}}
    for key in keys:
        sides = [
            stacked(validated, model, pairs, key, seeds, at) for model, at in ((ours, scale), (theirs, their_scale))
        ]
        if sides[0] is not None and sides[1] is not None:
            found[key] = grand_mean(sides[0] - sides[1])
    return found


def _record(study: Study, model: str, pairs: int) -> Record:
    return study.tests[Trial(model, pairs, seeds_of(study, model, pairs)[0])]


def _scales(study: Study, model: str, pairs: int) -> list[float]:
    return sorted(_record(study, model, pairs).points)


def _mean(study: Study, model: str, pairs: int, key: str, scale: float) -> float:
    """A measure at one scale, averaged over seeds; 0 where it is not defined."""
    found = estimate(study, model, pairs, key, scale)
    return (found["value"] or 0.0) if found else 0.0
