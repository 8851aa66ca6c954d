"""All measures of one set of generated samples, and their ceiling: the same measures of real pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation import frechet
from gcdp.evaluation.chance import of_others
from gcdp.evaluation.correspondence import RATES, correspondence, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.iou import alignment_miou
from gcdp.evaluation.layouts import area_shares
from gcdp.evaluation.measures import COMPARED, COMPARED_BY_ATTRIBUTES, MEASURES
from gcdp.evaluation.recall import label_agreement
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.statistics import Estimate


@dataclass(frozen=True)
class Scores:
    """What one set of samples scores: estimates by key of `MEASURES`. A measure that does not apply is absent.

    Args:
        measures: {key: Estimate}; one without a value is left out.
        chance: those of text again, of every image against the captions of all others. Absent for `chance_is_zero`.
        per_class: {class: {"recall", "recall_area", "precision", "iou", "n"}}, n the captions that name it; None
            where a class has no cases or a model no layouts.
        per_attribute: {attribute: Estimate} of recall, where captions name attributes.
        labels: {label: {"j", "tpr", "fpr", "recall", "n"}} of the labels that captions name, classes or attributes;
            n the captions that name it. One that all captions name, or none, is absent.
        groups: `attribute_groups.group_scores`, where captions name attributes.
        effects: {label: {"value", "with", "without", "n"}}, n its swaps, where the effect of naming was measured.
        areas: share of all pixels that the referee reads as each class.
        minimum_area: pixels from which a class counts.
        fsd_of: whose layouts "fsd" compares: the generated ones ("layouts"), or the labels of the "referee".
        alignment_name: what the measure "alignment" is called.
        guidance: at which the samples were drawn; None for real pairs and images made elsewhere.

    Raises DataError for a measure that `MEASURES` does not know.
    """

    measures: dict[str, Estimate]
    chance: dict[str, Estimate] = field(default_factory=dict)
    per_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    per_attribute: dict[str, Estimate] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    effects: dict[str, dict[str, Any]] = field(default_factory=dict)
    areas: dict[str, float] = field(default_factory=dict)
    minimum_area: int = 1
    fsd_of: str = ""
    alignment_name: str = ""
    guidance: float | None = None

    def __post_init__(self) -> None:
        for name in ("measures", "chance"):
            given = getattr(self, name)
            if unknown := sorted(set(given) - set(MEASURES)):
                raise DataError(f"scores hold unknown measures {', '.join(unknown)}: make the record again")
            kept = {key: given[key] for key in MEASURES if key in given and given[key]["value"] is not None}
            object.__setattr__(self, name, kept)

    def __contains__(self, key: str) -> bool:
        return key in self.measures

    def __getitem__(self, key: str) -> Estimate:
        return self.measures[key]

    def get(self, key: str) -> Estimate | None:
        """The estimate of a measure, None where it does not apply."""
        return self.measures.get(key)

    def value(self, key: str) -> float | None:
        """The value of a measure alone."""
        return self.measures[key]["value"] if key in self.measures else None

    def above_chance(self, key: str) -> float | None:
        """What a measure of text exceeds its chance by, None where either is missing."""
        if key in self.measures and MEASURES[key].chance_is_zero:
            return self.measures[key]["value"]
        if key not in self.measures or key not in self.chance:
            return None
        return self.measures[key]["value"] - self.chance[key]["value"]

    def label(self, key: str) -> str:
        """How axes and the report call a measure of these scores."""
        named = key == "alignment" and self.alignment_name
        return named or MEASURES[key].label(self.minimum_area)

    @property
    def has_attributes(self) -> bool:
        """Whether captions name attributes that a referee reads."""
        return bool(self.per_attribute)

    @property
    def correspondence_measure(self) -> str:
        """What "text-image correspondence" is counted by on ordinary captions: J, of attributes or of classes."""
        return "j"

    @property
    def compared(self) -> tuple[str, ...]:
        """The measures by which repeated trainings are compared."""
        return COMPARED_BY_ATTRIBUTES if self.has_attributes else COMPARED

    def brief(self) -> Scores:
        """Without what is told class by class."""
        return replace(self, per_class={}, areas={}, labels={}, groups={}, effects={})

    def without_text(self) -> Scores:
        """What is left where images were made without text: distances, areas, and agreement with their own layouts."""
        measures = {key: found for key, found in self.measures.items() if not MEASURES[key].of_text}
        return Scores(measures, areas=self.areas, minimum_area=self.minimum_area, fsd_of=self.fsd_of)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the measures by key, and beside them whatever else is there."""
        others = {name: getattr(self, name) for name in _OTHERS}
        return {**self.measures, **{name: value for name, value in others.items() if value not in ({}, "", None)}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Scores:
        """What `to_dict` gave. Raises DataError for an unknown key."""
        measures = {key: found for key, found in content.items() if key not in _OTHERS}
        return cls(measures, **{name: content[name] for name in _OTHERS if name in content})


_OTHERS = tuple(each.name for each in fields(Scores) if each.name != "measures")


@dataclass(frozen=True)
class RealReference:
    """Real pairs that generated ones are held against: a referee's reading of M images, and their own layouts."""

    reading: Reading
    layouts: np.ndarray

    def __post_init__(self) -> None:
        if len(self.layouts) != len(self.reading.features) or len(self.layouts) < 2:
            raise DataError(
                f"a reference needs at least two real pairs, each with one layout, got {len(self.layouts)} layouts "
                f"for {len(self.reading.features)} images"
            )

    @property
    def features(self) -> np.ndarray:
        """The referee's features of the real images, float32 (M, D)."""
        return self.reading.features


def score(
    reading: Reading,
    layouts: np.ndarray | None,
    captions: Sequence[str],
    classes: ClassTable,
    real: RealReference,
    min_area: int,
) -> Scores:
    """The scores of N generated samples by a referee of layouts.

    Args:
        reading: what the referee sees in the N images.
        layouts: the generated layouts (N, H, W), or None for a model that draws none.
        captions: what the N images were drawn from; an empty caption names no class.
        real: pairs of the same split for every model compared.
        min_area: pixels from which a class counts, from `recall.calibrate_area`.

    "j", "tpr" and "fpr" are those of the classes that the referee sees from `min_area` pixels on, "j_layouts" that of
    the layouts' own labels, from one pixel on, which needs no referee: real layouts score 1. "semantic_recall" is the
    paper's mean over images (Sec. 4.3), "semantic_recall_pooled" counts every (image, class) case once; both from one
    pixel, and with "_area" from `min_area` pixels on, as are "precision" and "f1" (pooled). Chance is the mean over the
    captions of all other images. "frechet" and "kid" compare referee features with those of real images, "miou" and
    "miou_all" the layouts with the referee's labels, "fsd" the areas of layouts with those of real ones. Where a model
    draws no layouts, what speaks of them is absent, and "fsd" compares the referee's labels of its images with those of
    real ones.

    Raises DataError where captions, layouts and images differ in number, or are too few for a distance.
    """
    _check_counts(reading, layouts, captions)
    drawn = layouts is not None
    pair = (layouts, real.layouts) if drawn else (reading.layouts, real.reading.layouts)
    distances = _distances(reading.features, real.features, *pair, classes)
    return _scores(reading, layouts, captions, classes, min_area, distances)


def ceiling(
    reading: Reading, captions: Sequence[str], layouts: np.ndarray, classes: ClassTable, min_area: int
) -> Scores:
    """The scores of real held-out pairs, in the form of `score`: what a perfect generator would get.

    Recall, precision and mIoU are those of all N pairs. The distances are of one half to the other, every second
    pair against the rest, so that their `n` is half of N: a Fréchet distance grows as samples get fewer, and this
    one is no bound for that of a larger set. Raises DataError as `score`.
    """
    _check_counts(reading, layouts, captions)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    features, layouts = reading.features, np.asarray(layouts)
    distances = _distances(features[even], features[odd], layouts[even], layouts[odd], classes)
    return _scores(reading, layouts, captions, classes, min_area, distances)


def _distances(features, real_features, layouts, real_layouts, classes: ClassTable) -> dict[str, Estimate]:
    return {
        "frechet": frechet.estimate(features, real_features),
        "kid": frechet.kernel_estimate(features, real_features),
        "fsd": frechet.fsd(layouts, real_layouts, classes.num_classes),
    }


def _scores(
    reading: Reading, layouts, captions: Sequence[str], classes: ClassTable, min_area: int, distances: dict
) -> Scores:
    named, held = named_matrix(captions, classes), [seen_matrix(reading.layouts, classes, k) for k in (1, min_area)]
    pixel, area = (label_agreement(named, each, classes) for each in held)
    chance = [label_agreement(named, of_others(each), classes) for each in held if len(named) > 1]
    own = None if layouts is None else seen_matrix(layouts, classes)
    measures, labels = of_labels(named, held[1], own, classes.names)
    alignment: dict[str, Any] = {"per_class": {}}
    if layouts is not None:
        alignment = alignment_miou(layouts, reading.layouts, classes)
    ious = alignment.pop("per_class")
    shares = area_shares(reading.layouts, classes.num_classes)
    return Scores(
        {**measures, **_of_text(pixel, area), **alignment, **distances},
        _of_text(*chance) if chance else {},
        {
            name: {
                "recall": pixel["recall"]["per_class"][name],
                "recall_area": area["recall"]["per_class"][name],
                "precision": area["precision"]["per_class"][name],
                "iou": ious.get(name),
                "n": pixel["recall"]["n_per_class"][name],
            }
            for name in (classes.names[k] for k in classes.labeled)
        },
        labels=labels,
        areas={name: float(share) for name, share in zip(classes.names, shares, strict=True)},
        minimum_area=int(min_area),
        fsd_of="referee" if layouts is None else "layouts",
    )


def of_labels(
    named: np.ndarray, seen: np.ndarray, own: np.ndarray | None, names: Sequence[str], known: np.ndarray | bool = True
) -> tuple[dict[str, Estimate], dict[str, dict]]:
    """(measures, labels) of what N captions name and images show, bool (N, L) each: J, its rates, J of the layouts.

    Args:
        own: what the model's own layouts hold, bool (N, L); None where it draws none.
        names: of the L labels.
        known: which labels a layout can hold, bool (L,).
    """
    weights = label_weights(named)
    found = correspondence(named, seen, weights)
    measures = {key: found[key] for key in RATES}
    if own is not None:
        measures["j_layouts"] = correspondence(named, own, weights * known)["j"]
    return measures, {name: row for name, row in zip(names, found["per_label"], strict=True) if row}


def _of_text(pixel: dict, area: dict) -> dict[str, Estimate]:
    return {
        "semantic_recall": pixel["recall"]["mean"],
        "semantic_recall_pooled": pixel["recall"]["micro"],
        "semantic_recall_area": area["recall"]["mean"],
        "semantic_recall_area_pooled": area["recall"]["micro"],
        "precision": area["precision"]["micro"],
        "precision_1px": pixel["precision"]["micro"],
        "f1": area["f1"]["micro"],
    }


def _check_counts(reading: Reading, layouts: np.ndarray | None, captions: Sequence[str]) -> None:
    counts = {len(reading.layouts), len(reading.features), len(captions)}
    counts |= set() if layouts is None else {len(layouts)}
    if len(counts) != 1:
        raise DataError(f"captions, layouts and images differ in number ({sorted(counts)}): pass one of each")
