"""Semantic recall: are the classes that a caption names to be found in the image, as a referee sees it?

The paper's measure (Sec. 4.3). A caption names classes; a segmentation network, the referee, labels the generated
image; a class is found where it covers at least `min_area` pixels. Recall alone rewards clutter: a blurred image in
which the referee sees a little of everything finds every class. So precision stands beside it, and a minimum area
at which real scenes rarely raise a false alarm, calibrated by `calibrate_area`.

The paper averages the recalls of images (Sec. 4.3): every caption counts once, however many classes it names. That is
`mean` here. Pooled scores count every (image, class) case once, so that captions of many classes weigh more. Precision
and F1 are pooled only: an image in which nothing is seen has no precision, and F1 is the harmonic mean of the pooled
recall and precision.

The paper's formula compares with the generated pair's own layout; we follow its prose, and its sense: the classes of
the caption.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.layouts import agreement, class_areas, named_classes, summarize_ratio
from gcdp.evaluation.statistics import bootstrap_ratio, mean_ratio


def semantic_agreement(
    seen: np.ndarray, captions: Sequence[str], classes: ClassTable, min_area: int = 1
) -> dict[str, dict]:
    """Recall, precision and F1 of the captions' classes in `seen` layouts (N, H, W), from `min_area` pixels on.

    "recall": {"mean", "micro", "macro", "per_class", "n_per_class"}. `mean` is the paper's, an Estimate: the mean over
    images of the share of their named classes that are found, images whose captions name none left out (`n` are the
    others). `micro` is the pooled one, an Estimate over all (image, named class) cases. The intervals of both draw
    images anew. `macro` is the mean over classes; a class that no caption names scores None. "precision" likewise
    without `mean`, its `micro` over all (image, class seen) cases; "f1" with `micro` alone: 2 |both| / (|named| +
    |seen|) over all cases, which is the harmonic mean of the two micro scores.

    Raises DataError where captions and images differ in number, or `min_area` < 1.
    """
    found = agreement(seen, captions, classes, min_area)
    return label_agreement(found.named, found.held, classes)


def label_agreement(named: np.ndarray, held: np.ndarray, classes: ClassTable) -> dict[str, dict]:
    """`semantic_agreement` of classes that captions name, bool (N, K), and those that images hold, bits or shares."""
    both = named * held
    return {
        "recall": {"mean": mean_ratio(both.sum(1), named.sum(1)), **_scores(both, named, classes)},
        "precision": _scores(both, held, classes),
        "f1": {"micro": bootstrap_ratio(2 * both.sum(1), named.sum(1) + held.sum(1))},
    }


def _scores(hits: np.ndarray, cases: np.ndarray, classes: ClassTable) -> dict:
    summary = summarize_ratio(hits, cases, classes)
    micro = {"value": summary["micro"], "low": summary["low"], "high": summary["high"], "n": len(cases)}
    return {"micro": micro, **{key: summary[key] for key in ("macro", "per_class", "n_per_class")}}


def calibrate_area(seen: np.ndarray, captions: Sequence[str], classes: ClassTable, rate: float = 0.05) -> dict:
    """Smallest area at which the referee rarely sees, in real images, a class that their captions do not name.

    Args:
        seen: what the referee sees in real images, labels (N, H, W).
        captions: of those images; each must name every class that its image shows.
        rate: largest share of false alarms, 0..1.

    Returns {"area", "rate", "false_alarms", "false_alarms_1px", "per_class", "n_per_class"}. `area`, in pixels, is
    the smallest at which at most `rate` of all cases, an image and a class that it lacks, raise a false alarm;
    `false_alarms` is their share at `area`, and `false_alarms_1px` at a single pixel. Every case counts once: a mean
    over classes would hang on those that hardly any image lacks, such as the road. `per_class` holds each class's
    own smallest area and `n_per_class` the images without the class that it was found on; a class that no image
    lacks scores None.

    Raises DataError for a rate outside 0..1, or where no image lacks any class.
    """
    if not 0 <= rate <= 1:
        raise DataError(f"rate is {rate}: give the largest share of false alarms, between 0 and 1")
    if len(captions) != len(seen):
        raise DataError(f"need one caption an image, got {len(captions)} captions for {len(seen)} images")
    areas, lacking = class_areas(seen, classes.num_classes), ~named_classes(captions, classes)
    labeled = [k for k in classes.labeled if lacking[:, k].any()]
    if not labeled:
        raise DataError(
            "every caption names every class, so nothing can raise a false alarm: add images that lack some"
        )
    rates = {k: _alarm_rates(areas[lacking[:, k], k], int(areas.max())) for k in labeled}
    cases = [int(lacking[:, k].sum()) for k in labeled]
    average = np.average(list(rates.values()), 0, weights=cases)
    area = _smallest(average, rate)
    own = {classes.names[k]: _smallest(rates[k], rate) for k in labeled}
    return {
        "area": area,
        "rate": float(rate),
        "false_alarms": float(average[area]),
        "false_alarms_1px": float(average[1]),
        "per_class": {classes.names[k]: own.get(classes.names[k]) for k in classes.labeled},
        "n_per_class": {classes.names[k]: int(lacking[:, k].sum()) for k in classes.labeled},
    }


def _alarm_rates(areas: np.ndarray, largest: int) -> np.ndarray:
    """Share of `areas` that reach a, for a = 0..largest + 1: the last is 0."""
    counts = np.bincount(areas, minlength=largest + 2)
    return counts[::-1].cumsum()[::-1] / len(areas)


def _smallest(rates: np.ndarray, rate: float) -> int:
    """First area of at least one pixel whose rate is within the bound; rates never rise with the area."""
    return 1 + int(np.argmax(rates[1:] <= rate))
