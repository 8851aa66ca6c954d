"""Agreement of layouts with what a referee sees in the images that belong to them."""

from __future__ import annotations

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.layouts import class_areas
from gcdp.evaluation.statistics import (
    RESAMPLES,
    Estimate,
    bootstrap_percentiles,
    bootstrap_ratio,
    resampled_counts,
    undefined,
    without_interval,
)


def confusion(layouts: np.ndarray, seen: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by label of the layout (rows) and label of the referee (columns), (N, H, W) each: int64 (K, K).

    Raises DataError for unequal shapes or a label outside 0..K-1.
    """
    layouts, seen = _checked(layouts, seen, num_classes)
    flat = layouts.astype(np.int64) * num_classes + seen
    return np.bincount(flat.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes)


def alignment_miou(
    layouts: np.ndarray, seen: np.ndarray, classes: ClassTable, resamples: int = RESAMPLES, seed: int = 0
) -> dict:
    """Mean intersection over union of layouts and the referee's labels, (N, H, W) each, for a whole set of images.

    The layouts are the reference. Pixels that they leave unlabeled do not count; a labeled pixel in which the
    referee sees nothing is a miss of its class. Pixels are pooled over all images before any ratio is taken:
    IoU = both / (layout + referee - both) for each class; a class that neither side shows has none.

    Returns {"miou", "miou_all", "per_class"}. Two Estimates, their intervals by drawing the n images anew: "miou" is
    the mean over the classes that have an IoU, so that what it averages depends on the images; "miou_all" is the mean
    over all labeled classes of the table (19 of Cityscapes), where a class that neither side shows scores 0, in the
    set and in every draw. Both are undefined where no pixel is labeled. "per_class": {name: IoU or None}.
    Raises DataError as `confusion`.
    """
    layouts, seen = _checked(layouts, seen, classes.num_classes)
    if not len(layouts):
        nothing = {classes.names[k]: None for k in classes.labeled}
        return {"miou": undefined(), "miou_all": undefined(), "per_class": nothing}
    both, either = _labeled_overlaps(layouts, seen, classes)
    scores = _ious(both.sum(0), either.sum(0))
    drawn = [_ious(counts @ both, counts @ either) for counts in resampled_counts(len(both), resamples, seed)]
    ious = np.concatenate(drawn)
    return {
        "miou": _estimate(_mean(scores[None])[0], _mean(ious), len(layouts)),
        "miou_all": _estimate(_mean_of_all(scores[None])[0], _mean_of_all(ious), len(layouts)),
        "per_class": {
            classes.names[k]: None if np.isnan(score) else float(score)
            for k, score in zip(classes.labeled, scores, strict=True)
        },
    }


def miou_difference(
    layouts: np.ndarray, first: np.ndarray, second: np.ndarray, classes: ClassTable, seed: int = 0
) -> Estimate:
    """ "miou" of `alignment_miou` of the first set of labels less that of the second, for the same n layouts.

    See `pair_miou_difference`.
    """
    return pair_miou_difference((layouts, first), (layouts, second), classes, seed)


def pair_miou_difference(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray], classes: ClassTable, seed: int = 0
) -> Estimate:
    """ "miou" of `alignment_miou` of our layouts and what is seen in our images less theirs, of the same n captions.

    Both sides have the same captions in every draw of the interval, so that what is hard for both does not count.
    Raises DataError as `confusion`, and where the two have other numbers of images.
    """
    pairs = [_checked(*pair, classes.num_classes) for pair in (ours, theirs)]
    count = len(pairs[0][0])
    if len(pairs[1][0]) != count:
        raise DataError(f"a difference needs equally many images on both sides, got {count} and {len(pairs[1][0])}")
    overlaps = [_labeled_overlaps(*pair, classes) for pair in pairs]
    if not count:
        return undefined()

    def difference(counts: np.ndarray) -> np.ndarray:
        ours, theirs = (_mean(_ious(counts @ both, counts @ either)) for both, either in overlaps)
        return ours - theirs

    drawn = [difference(counts) for counts in resampled_counts(count, seed=seed)]
    return _estimate(difference(np.ones((1, count)))[0], np.concatenate(drawn), count)


def pixel_accuracy(layouts: np.ndarray, seen: np.ndarray, classes: ClassTable) -> Estimate:
    """Share of the labeled pixels of layouts (N, H, W) whose label is also seen there; intervals over images.

    Raises DataError as `confusion`.
    """
    layouts, seen = _checked(layouts, seen, classes.num_classes)
    labeled = np.ones(layouts.shape, bool) if classes.unlabeled is None else layouts != classes.unlabeled
    return bootstrap_ratio(((layouts == seen) & labeled).sum((1, 2)), labeled.sum((1, 2)))


def _estimate(value: float, drawn: np.ndarray, n: int) -> Estimate:
    if np.isnan(value):
        return undefined(n)
    if n == 1:
        return without_interval(value, n)
    low, high = bootstrap_percentiles(drawn)
    return {"value": float(value), "low": low, "high": high, "n": n}


def _overlaps(layouts: np.ndarray, seen: np.ndarray, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each class on both sides, and on either, of every image: int64 (N, K) each.

    These two are all that the bootstrap needs of the confusion matrices of single images, K times smaller.
    """
    count = classes.num_classes
    # Label K collects the pixels that do not count; its column is dropped.
    skipped = np.zeros(layouts.shape, bool) if classes.unlabeled is None else layouts == classes.unlabeled
    reference, seen = (np.where(skipped, count, part.astype(np.int64)) for part in (layouts, seen))
    both = np.where(reference == seen, reference, count)
    areas, others, shared = (class_areas(part, count + 1)[:, :count] for part in (reference, seen, both))
    return shared, areas + others - shared


def _labeled_overlaps(layouts: np.ndarray, seen: np.ndarray, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """`_overlaps` of the labeled classes alone, float64."""
    both, either = _overlaps(layouts, seen, classes)
    labeled = list(classes.labeled)
    return both[:, labeled].astype(np.float64), either[:, labeled].astype(np.float64)


def _ious(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    """both / either, NaN for classes on neither side."""
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def _mean(ious: np.ndarray) -> np.ndarray:
    """Mean over the classes that have a score, float64 (R, K) -> (R,); NaN where none has."""
    found = ~np.isnan(ious)
    count = found.sum(1)
    return np.divide(np.where(found, ious, 0).sum(1), count, out=np.full(len(ious), np.nan), where=count > 0)


def _mean_of_all(ious: np.ndarray) -> np.ndarray:
    """Mean over all classes, those without a score as 0, float64 (R, K) -> (R,); NaN where none has one."""
    return np.where(np.isnan(ious).all(1), np.nan, np.nan_to_num(ious).mean(1))


def _checked(layouts: np.ndarray, seen: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    layouts, seen = np.asarray(layouts), np.asarray(seen)
    if layouts.ndim != 3 or layouts.shape != seen.shape:
        raise DataError(f"layouts and the referee's labels must be equal in shape, got {layouts.shape}, {seen.shape}")
    for part in (layouts, seen):
        if part.size and not 0 <= int(part.min()) <= int(part.max()) < num_classes:
            raise DataError(f"labels lie outside 0..{num_classes - 1}: map them to the class table first")
    return layouts, seen
