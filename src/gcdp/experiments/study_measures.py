"""Every measure of a study, computed from its bits: of one model, of two models' difference, and of its growth.

All come as values (seeds, captions) whose mean is the measure (`gcdp.evaluation.mixed_effects`), so that one interval
covers other seeds and other captions. Differences are paired: seed s of both models shares its subset of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gcdp.errors import DataError
from gcdp.evaluation.attribute_groups import groups_of_bits
from gcdp.evaluation.correspondence import label_weights
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.mixed_effects import grand_mean, growth, influence
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import Estimate, proportion, sample_ratios
from gcdp.experiments.records import GuidanceCurve
from gcdp.experiments.study_record import Point, Record, Setup, Study, Trial

SCALARS = ("frechet", "kid", "miou", "miou_all", "fsd")


def named(setup: Setup, labels: str, split: str = "test") -> np.ndarray:
    """What the captions name, bool (N, L), "classes" or "attributes"."""
    return setup.named[f"{split}/{labels}"]


def point_values(key: str, setup: Setup, point: Point) -> np.ndarray | None:
    """Values (C,) of a measure of the samples at one guidance; None where it does not apply."""
    if key in SCALARS:
        return np.array([point.scalars[key]]) if key in point.scalars else None
    if key in ("j", "j_layouts", "tpr", "fpr"):
        return _correspondence(key, setup, point)
    measure = MEASURES[key]
    if measure.ratio is None or (measure.of_all_classes and setup.labels == "attributes"):
        return None
    counts = _counts(setup, point)
    if not {measure.ratio.hits, *measure.ratio.cases} <= set(counts):
        return None
    hits = measure.ratio.factor * counts[measure.ratio.hits]
    cases = sum(counts[name] for name in measure.ratio.cases)
    return _if_any(*(sample_ratios(hits, cases) if measure.ratio.per_caption else (hits, cases)))


def _if_any(hits: np.ndarray, cases: np.ndarray) -> np.ndarray | None:
    return influence(hits, cases) if cases.any() else None


def _correspondence(key: str, setup: Setup, point: Point) -> np.ndarray | None:
    """J, the covariances of "named" and "seen" over the variances of "named", or one of its two rates."""
    labels = "classes" if key == "j_layouts" else setup.labels
    bits = "drawn" if key == "j_layouts" else {"attributes": "attributes", "classes": "seen"}[labels]
    weights = label_weights(named(setup, labels))
    if bits not in point.bits or not weights.any():
        return None
    counted = weights > 0
    asked, seen = (matrix[:, counted].astype(np.float64) for matrix in (named(setup, labels), point.bits[bits]))
    if key in ("j", "j_layouts"):
        centered = asked - asked.mean(0)
        return influence((centered * (seen - seen.mean(0))).sum(1), np.square(centered).sum(1))
    cases = asked if key == "tpr" else 1 - asked
    rates = np.stack([influence(cases[:, k] * seen[:, k], cases[:, k]) for k in range(cases.shape[1])], 1)
    return rates @ weights[counted] / weights.sum()


def _counts(setup: Setup, point: Point) -> dict[str, np.ndarray]:
    """Numbers of labels of every caption, float64 (N,), by the names of `measures.Ratio`."""
    asked, bits = named(setup, "classes"), point.bits
    counts = {"named": asked, "held_1px": bits["seen_1px"], "held": bits["seen"]}
    counts |= {"both_1px": asked & bits["seen_1px"], "both": asked & bits["seen"]}
    if "attributes" in bits:
        attributes = named(setup, "attributes")
        counts |= {"attributes_named": attributes, "attributes_shown": attributes & bits["attributes"]}
    found = {name: matrix.sum(1).astype(np.float64) for name, matrix in counts.items()}
    if "alignment" in point.values:
        found |= {"alignment": point.values["alignment"], "captions": np.ones(len(asked))}
    return found


def effect_values(setup: Setup, record: Record, part: str = "seen") -> np.ndarray | None:
    """Effect of naming as values of the captions that have swaps, (C',); None without swaps.

    The pooled effect is a mean over swaps, each weighted by the weight of its label over the number of its swaps.
    """
    if f"{part}_with" not in record.swapped:
        return None
    gains = record.swapped[f"{part}_with"].astype(np.float64) - record.swapped[f"{part}_without"]
    label, weights = setup.swaps["label"], label_weights(named(setup, setup.labels))
    cases = np.bincount(label, minlength=len(weights))
    effects = np.bincount(label, gains, len(weights)) / np.maximum(cases, 1)
    total = weights[cases > 0].sum()
    value = float(weights @ effects / total)
    units, unit = np.unique(setup.swaps["caption"], return_inverse=True)
    scatter = weights[label] / cases[label] / total * (gains - effects[label])
    return value + len(units) * np.bincount(unit, scatter, len(units))


def _values(study: Study, trial: Trial, key: str, guidance: float | None = None) -> np.ndarray | None:
    """Values (C,) of one network, at its own guidance where none is given; None where the measure does not apply."""
    record = study.tests[trial]
    if key in ("effect", "effect_layouts"):
        return effect_values(study.setup, record, "seen" if key == "effect" else "drawn")
    return point_values(key, study.setup, record.points[record.guidance if guidance is None else guidance])


def stacked(
    study: Study, model: str, pairs: int, key: str, seeds: list[int] | None = None, guidance: float | None = None
) -> np.ndarray | None:
    """Values (S, C) of a model with so many pairs; None where the measure does not apply to all of its networks."""
    seeds = seeds_of(study, model, pairs) if seeds is None else seeds
    rows = [_values(study, Trial(model, pairs, seed), key, guidance) for seed in seeds]
    return None if not rows or any(row is None for row in rows) else np.stack(rows)


def seeds_of(study: Study, *models_and_pairs: Any) -> list[int]:
    """Seeds that have a test of every (model, pairs): `seeds_of(study, "joint", 250, "gaussian", 250)`."""
    asked = list(zip(models_and_pairs[::2], models_and_pairs[1::2]))
    found = [{t.seed for t in study.tests if (t.model, t.pairs) == each} for each in asked]
    return sorted(set.intersection(*found)) if found else []


def sizes_of(study: Study, model: str) -> list[int]:
    """Numbers of pairs on which a model was trained and tested, in rising order."""
    return sorted({trial.pairs for trial in study.tests if trial.model == model})


def estimate(study: Study, model: str, pairs: int, key: str, guidance: float | None = None) -> dict[str, Any] | None:
    """A measure of a model: mean over its seeds and all captions, with its interval; None where it does not apply."""
    values = stacked(study, model, pairs, key, guidance=guidance)
    return None if values is None else grand_mean(values)


def difference(study: Study, ours: str, theirs: str, pairs: int, key: str) -> dict[str, Any] | None:
    """ours - theirs on so many pairs, paired by seed; None where the measure does not apply to both.

    Raises DataError where no seed was tested with both.
    """
    seeds = seeds_of(study, ours, pairs, theirs, pairs)
    if not seeds:
        raise DataError(f"no seed of '{ours}' and '{theirs}' on {pairs} pairs was tested: run train-all first")
    sides = [stacked(study, model, pairs, key, seeds) for model in (ours, theirs)]
    return None if sides[0] is None or sides[1] is None else grand_mean(sides[0] - sides[1])


def growth_of_difference(study: Study, ours: str, theirs: str, sizes: list[int], key: str) -> dict[str, Any] | None:
    """How the difference ours - theirs changes as pairs get fewer, over the seeds that have all sizes.

    {"per_halving": slope for each halving of the pairs, "smallest_minus_all": difference of the two ends, "pairs"}.
    None where the measure does not apply or there is one size.
    """
    seeds = seeds_of(study, *(part for pairs in sizes for model in (ours, theirs) for part in (model, pairs)))
    if len(sizes) < 2 or not seeds:
        return None
    sides = [[stacked(study, model, pairs, key, seeds) for pairs in sizes] for model in (ours, theirs)]
    if any(values is None for side in sides for values in side):
        return None
    differences = np.stack(sides[0]) - np.stack(sides[1])
    return {
        "per_halving": grand_mean(growth(differences, np.array(sizes))),
        "smallest_minus_all": grand_mean(differences[0] - differences[-1]),
        "pairs": sizes,
    }


def scores(study: Study, model: str, pairs: int, guidance: float | None = None) -> Scores:
    """All measures of a model on so many pairs, at its own guidance where none is given, averaged over its seeds.

    The form that figures take; intervals are those of `estimate`, `n` counts captions, and those of a single attribute
    are Wilson's, of the captions that name it, for the mean of the seeds; those of groups of attributes are of captions
    alone too. Chance is the recall that the same images
    have of all other captions, on average.
    """
    record = study.tests[Trial(model, pairs, seeds_of(study, model, pairs)[0])]
    scale = record.guidance if guidance is None else guidance
    keys = [key for key in MEASURES if key not in ("effect", "effect_layouts") or scale == record.guidance]
    found = {key: estimate(study, model, pairs, key, scale) for key in keys}
    measures = {key: _plain(each) for key, each in found.items() if each is not None}
    facts = study.setup.facts
    tests = [study.tests[Trial(model, pairs, seed)].points[scale] for seed in seeds_of(study, model, pairs)]
    return Scores(
        measures,
        _chance(study.setup, tests),
        per_attribute=_per_attribute(study.setup, tests),
        groups=_groups(study.setup, tests),
        minimum_area=study.setup.minimum_area,
        alignment_name=facts["alignment_name"] if "alignment" in measures else "",
        guidance=scale,
    )


def curve(study: Study, model: str, pairs: int) -> GuidanceCurve:
    """Scores of a model at every scale that all of its seeds were tested at, and the chosen one."""
    records = [study.tests[Trial(model, pairs, seed)] for seed in seeds_of(study, model, pairs)]
    scales = sorted(set.intersection(*(set(record.points) for record in records)))
    return GuidanceCurve(tuple(scores(study, model, pairs, scale) for scale in scales), records[0].guidance)


def all_scores(study: Study, models: Iterable[str]) -> dict[str, dict[int, Scores]]:
    """{model: {number of pairs: scores}} of these models, on every number that they were tested with."""
    return {model: {pairs: scores(study, model, pairs) for pairs in sizes_of(study, model)} for model in models}


def _chance(setup: Setup, points: list[Point]) -> dict[str, Estimate]:
    kinds = {"semantic_recall_pooled": ("classes", "seen_1px"), "semantic_recall_area_pooled": ("classes", "seen")}
    if setup.labels == "attributes":
        kinds["attribute_recall"] = ("attributes", "attributes")
    found = {}
    for key, (labels, bits) in kinds.items():
        asked = named(setup, labels).astype(np.float64)
        others = asked.sum(0) - asked  # how many other captions name each label
        rows = [influence((others * point.bits[bits]).sum(1), others.sum(1)) for point in points]
        found[key] = _plain(grand_mean(np.stack(rows)))
    return found


def _per_attribute(setup: Setup, points: list[Point]) -> dict[str, Estimate]:
    if setup.labels != "attributes":
        return {}
    asked = named(setup, "attributes")
    shown, cases = np.mean([asked & point.bits["attributes"] for point in points], 0).sum(0), asked.sum(0)
    names = setup.facts["attributes"]
    return {names[k]: proportion(shown[k], int(cases[k])) for k in setup.facts["nameable"]}


def _groups(setup: Setup, points: list[Point]) -> dict[str, dict[str, Any]]:
    if setup.labels != "attributes":
        return {}
    shown = np.mean([point.bits["attributes"] for point in points], 0)
    return groups_of_bits(named(setup, "attributes"), shown, setup.facts["attributes"], setup.facts["nameable"])


def _plain(found: dict[str, Any]) -> Estimate:
    return {name: found[name] for name in ("value", "low", "high", "n")}


def each_training(study: Study, key: str) -> dict[Trial, float]:
    """The value of a measure for every network that was tested, where it applies."""
    values = {trial: _values(study, trial, key) for trial in sorted(study.tests)}
    return {trial: float(np.mean(each)) for trial, each in values.items() if each is not None}


def compare(study: Study, ours: str, theirs: str, pairs: int, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`difference` by key, of the measures that apply to both."""
    found = {key: difference(study, ours, theirs, pairs, key) for key in keys}
    return {key: each for key, each in found.items() if each is not None}
