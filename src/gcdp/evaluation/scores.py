"""All measures of one set of generated samples, and their ceiling: the same measures of real pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation import frechet
from gcdp.evaluation.iou import alignment_miou
from gcdp.evaluation.layouts import area_shares
from gcdp.evaluation.recall import semantic_agreement
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.statistics import undefined


@dataclass(frozen=True)
class RealReference:
    """Real pairs that generated ones are held against: a referee's reading of M images, and their own layouts."""

    reading: Reading
    layouts: np.ndarray

    def __post_init__(self) -> None:
        if len(self.layouts) != len(self.reading.features) or len(self.layouts) < 2:
            raise DataError(
                f"a reference needs at least two real pairs, each with one layout, got {len(self.layouts)} layouts "
                f"for {len(self.reading.features)} judged images"
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
) -> dict:
    """One point of an evaluation, as plain JSON types.

    Args:
        reading: what the referee sees in N generated images.
        layouts: the generated layouts (N, H, W), or None for a model that draws none.
        captions: what the N images were drawn from; an empty caption names no class.
        real: pairs of the same split for every model compared.
        min_area: pixels from which a class counts, from `recall.calibrate_area`.

    Returns:
        Estimates "semantic_recall" and "precision_1px" (from one pixel), "semantic_recall_area", "precision" and "f1"
        (from `min_area` pixels), "frechet" (referee features), "miou" (layouts against the referee's labels) and
        "fsd" (layouts against real ones); "chance": four of them again, with the caption of the next image in place
        of its own; "kid": {"value"}; "areas": each class's share of the pixels that the referee sees; "per_class":
        {name: {"recall", "recall_area", "precision", "iou", "n"}}, n the captions that name it; "minimum_area";
        "fsd_of". Where a model draws no layouts, "miou" has the value None and "fsd" compares the referee's labels of
        its images with the referee's labels of real ones, "fsd_of": "referee".

    Raises DataError where captions, layouts and judged images differ in number, or are too few for a distance.
    """
    _check_counts(reading, layouts, captions)
    drawn = layouts is not None
    pair = (layouts, real.layouts) if drawn else (reading.layouts, real.reading.layouts)
    distances = {
        "frechet": frechet.estimate(reading.features, real.features),
        "kid": {"value": frechet.kernel_distance(reading.features, real.features)},
        "fsd": frechet.fsd(*pair, classes.num_classes),
        "fsd_of": "layouts" if drawn else "referee",
    }
    return {**_agreements(reading, layouts, captions, classes, min_area), **distances}


def ceiling(reading: Reading, captions: Sequence[str], layouts: np.ndarray, classes: ClassTable, min_area: int) -> dict:
    """The scores of real held-out pairs, in the form of `score`: what a perfect generator would get.

    Recall, precision and mIoU are those of all N pairs. The distances are of one half to the other, every second
    pair against the rest, so that their `n` is half of N: a Fréchet distance grows as samples get fewer, and this
    one is no bound for that of a larger set. Raises DataError as `score`.
    """
    _check_counts(reading, layouts, captions)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    features, layouts = reading.features, np.asarray(layouts)
    distances = {
        "frechet": frechet.estimate(features[even], features[odd]),
        "kid": {"value": frechet.kernel_distance(features[even], features[odd])},
        "fsd": frechet.fsd(layouts[even], layouts[odd], classes.num_classes),
        "fsd_of": "layouts",
    }
    return {**_agreements(reading, layouts, captions, classes, min_area), **distances}


def _agreements(reading: Reading, layouts, captions: Sequence[str], classes: ClassTable, min_area: int) -> dict:
    pixel, area = (semantic_agreement(reading.layouts, captions, classes, smallest) for smallest in (1, min_area))
    labeled = [classes.names[k] for k in classes.labeled]
    if layouts is None:
        miou, ious = undefined(), dict.fromkeys(labeled)
    else:
        miou = alignment_miou(layouts, reading.layouts, classes)
        ious = miou.pop("per_class")
    shares = area_shares(reading.layouts, classes.num_classes)
    return {
        **_micro(pixel, area),
        "precision_1px": pixel["precision"]["micro"],
        "chance": _chance(reading, captions, classes, min_area),
        "miou": miou,
        "per_class": {
            name: {
                "recall": pixel["recall"]["per_class"][name],
                "recall_area": area["recall"]["per_class"][name],
                "precision": area["precision"]["per_class"][name],
                "iou": ious[name],
                "n": pixel["recall"]["n_per_class"][name],
            }
            for name in labeled
        },
        "areas": {name: float(share) for name, share in zip(classes.names, shares, strict=True)},
        "minimum_area": int(min_area),
    }


def _micro(pixel: dict, area: dict) -> dict:
    return {
        "semantic_recall": pixel["recall"]["micro"],
        "semantic_recall_area": area["recall"]["micro"],
        "precision": area["precision"]["micro"],
        "f1": area["f1"]["micro"],
    }


def _chance(reading: Reading, captions: Sequence[str], classes: ClassTable, min_area: int) -> dict:
    """What images score that know the world but not their caption: each is held against the next one's."""
    others = [*captions[1:], *captions[:1]]
    return _micro(*(semantic_agreement(reading.layouts, others, classes, smallest) for smallest in (1, min_area)))


def _check_counts(reading: Reading, layouts: np.ndarray | None, captions: Sequence[str]) -> None:
    counts = {len(reading.layouts), len(reading.features), len(captions)}
    counts |= set() if layouts is None else {len(layouts)}
    if len(counts) != 1:
        raise DataError(f"captions, layouts and judged images differ in number ({sorted(counts)}): pass one of each")
