"""How well the referees of a domain read real pairs whose images were spoiled on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from gcdp.data.attributes import AttributeTable
from gcdp.evaluation import frechet
from gcdp.evaluation.correspondence import correspondence, label_weights
from gcdp.evaluation.layouts import agreement
from gcdp.evaluation.recall import semantic_agreement
from gcdp.evaluation.referees.alignment import alignment_estimate
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.spoiling import spoil_images
from gcdp.evaluation.statistics import Estimate, bootstrap_ratio, without_interval
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.referees import Referees

# noise in gray levels of 255, blur in pixels, factor of contrast; the last reach beyond what referees learn on
SPOILINGS: dict[str, dict[str, float]] = {
    "as they are": {},
    "noise 4": {"noise": 4},
    "noise 8": {"noise": 8},
    "noise 16": {"noise": 16},
    "blur 3": {"blur": 3},
    "blur 5": {"blur": 5},
    "contrast 0.5": {"contrast": 0.5},
    "contrast 1.5": {"contrast": 1.5},
    "blur 3, noise 8": {"blur": 3, "noise": 8},
    "blur 5, noise 16": {"blur": 5, "noise": 16},
    "noise 32": {"noise": 32},
    "noise 64": {"noise": 64},
}


def measure_spoiled(
    referees: Referees, world: HeldOut, real_features: np.ndarray, min_area: int, count: int
) -> list[dict[str, Any]]:
    """A row for each of `SPOILINGS`: what the referees find in the images of `world`, spoiled in that way.

    {"name", "n", "frechet", "frechet_all", "recall", "precision", "f1", "j"}, Estimates but for the first two: distance
    of `count` images at a time, as many as of a model, and of all, to `real_features` (M, D) of other real images, the
    same that models are held against; over all of `world` agreement, cases pooled, and J of the classes seen on at
    least `min_area` pixels with those in the layout. Where captions name attributes also "attribute_recall" and
    "attribute_j", against the attributes that each image has, and where text is scored "alignment". The first row is
    the ceiling.
    """
    rows = []
    for name, how in SPOILINGS.items():
        images = spoil_images(world.images, **how)
        reading, found = _measure(referees, world, images, min_area)
        numbers = {"frechet": min(count, len(world)), "frechet_all": len(world)}
        distances = {key: _distance(reading.features, real_features, number) for key, number in numbers.items()}
        rows.append({"name": name, "n": len(world), **distances, **found})
    return rows


def _measure(referees: Referees, world: HeldOut, images: np.ndarray, min_area: int) -> tuple[Reading, dict[str, Any]]:
    readings = referees.read(images, world.captions)
    reading, captions = readings.reading, world.class_captions
    scores = semantic_agreement(reading.layouts, captions, world.classes, min_area)
    row = {key: scores[key]["micro"] for key in ("recall", "precision", "f1")}
    found = agreement(reading.layouts, captions, world.classes, min_area)
    row["j"] = _j(found.named, found.held)
    if referees.attributes and world.attributes is not None:
        row |= _of_attributes(readings.present, world.attributes, referees.attributes.table)
    if referees.alignment:
        row["alignment"] = alignment_estimate(readings.alignment)
    return reading, row


def _distance(features: np.ndarray, real: np.ndarray, count: int) -> Estimate:
    """Fréchet distance of `count` images, which shrinks as they get more: mean over parts of so many."""
    parts = [features[start : start + count] for start in range(0, len(features) - count + 1, count)]
    return without_interval(float(np.mean([frechet.feature_distance(part, real) for part in parts])), count)


def _of_attributes(present: np.ndarray, truth: np.ndarray, table: AttributeTable) -> dict[str, Estimate]:
    """Recall, cases pooled, and J of the attributes (N, A) that captions can name."""
    nameable = list(table.nameable)
    seen, there = present[:, nameable], truth[:, nameable] > 0
    return {
        "attribute_recall": bootstrap_ratio((seen & there).sum(1), there.sum(1)),
        "attribute_j": _j(there, seen),
    }


def _j(named: np.ndarray, seen: np.ndarray) -> Estimate:
    return correspondence(named, seen, label_weights(named))["j"]
