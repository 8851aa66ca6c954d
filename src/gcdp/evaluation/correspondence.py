"""J: does a label show more often where the caption names it than where it does not?

For a label k (a class or an attribute) and N images with their captions,

    J_k = P(k seen | k named) - P(k seen | k not named),

true-positive minus false-positive rate (Youden 1950). Images that have nothing to do with their captions score 0
whatever they show, so clutter earns nothing; images that show exactly what is named score 1. Recall of a label is its
false-positive rate plus J: the part that chance gives, and the part that the text earned.

Labels are pooled with weights p_k (1 - p_k), p_k the share of captions that name k. As the covariance of "seen" and
"named" over captions is p_k (1 - p_k) J_k, pooled J is the sum of these covariances over the sum of the variances of
"named". A label that nearly no caption names, or most do, has a rate that rests on a handful of captions: its weight
is 0.

"Named" and "seen" are kept as one bit a caption and label, bool (N, L): any other measure can be computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.data.attributes import AttributeTable, attributes_in_caption
from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.layouts import class_areas, named_classes
from gcdp.evaluation.referees.attributes import is_present
from gcdp.evaluation.statistics import (
    Estimate,
    bootstrap_percentiles,
    resampled_counts,
    undefined,
    without_interval,
)

RAREST, COMMONEST = 0.04, 0.66  # shares of captions between which a label counts
RATES = ("j", "tpr", "fpr")


def named_matrix(captions: Sequence[str], table: ClassTable | AttributeTable) -> np.ndarray:
    """Which labels each caption names, bool (N, L): classes (never the unlabeled one) or attributes of the table."""
    if isinstance(table, ClassTable):
        return named_classes(captions, table)
    named = np.zeros((len(captions), table.num_attributes), bool)
    for row, caption in zip(named, captions, strict=True):
        row[attributes_in_caption(caption, table)] = True
    return named


def seen_matrix(seen: np.ndarray, table: ClassTable | AttributeTable, min_area: int = 1) -> np.ndarray:
    """Which labels each image shows, bool (N, L).

    Args:
        seen: labels (N, H, W), of a referee or of layouts, for a table of classes; probabilities (N, A) of a referee,
            or bits that it made of them, for a table of attributes.
        min_area: pixels from which a class counts.

    Raises DataError for `min_area` < 1, or arrays of another shape.
    """
    if isinstance(table, ClassTable):
        if min_area < 1:
            raise DataError(f"min_area is {min_area}: a class counts from at least one pixel on")
        held = class_areas(seen, table.num_classes) >= min_area
        if table.unlabeled is not None:
            held[:, table.unlabeled] = False
        return held
    seen = np.asarray(seen)
    if seen.ndim != 2 or seen.shape[1] != table.num_attributes:
        raise DataError(f"need one column for each of the {table.num_attributes} attributes, got {seen.shape}")
    return is_present(seen)


def label_weights(named: np.ndarray) -> np.ndarray:
    """Weight of each label from what N captions name, bool (N, L): p (1 - p), p the share that names it; float64 (L,).

    0 for labels that fewer than `RAREST` or more than `COMMONEST` of the captions name.
    """
    named = _bits("named", named)
    share = named.mean(0) if len(named) else np.zeros(named.shape[1])
    return np.where((share >= RAREST) & (share <= COMMONEST), share * (1 - share), 0.0)


def correspondence(named: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """J of N images and its two rates, pooled and for every label.

    Args:
        named, seen: bool (N, L) each, from `named_matrix` and `seen_matrix`; `seen` as 0/1 numbers too, or as shares.
        weights: (L,), from `label_weights`.

    Returns {"j", "tpr", "fpr", "per_label"}. The first three are Estimates, sums over labels with these weights, their
    intervals by drawing captions anew; j = tpr - fpr. "per_label" holds for every label {"j", "tpr", "fpr", "recall",
    "n"}, n the captions that name it and recall = fpr + j; None for a label that all captions name, or none.

    Raises DataError where the shapes do not fit.
    """
    named, seen = _bits("named", named), np.asarray(seen, np.float64)
    weights = np.asarray(weights, np.float64)
    if named.shape != seen.shape or weights.shape != named.shape[1:]:
        raise DataError(
            f"need named and seen of one shape (N, L) and L weights, got {named.shape}, {seen.shape}, {weights.shape}"
        )
    count = named.shape[0]
    per_label = [_of_label(named[:, k], seen[:, k]) for k in range(named.shape[1])]
    pooled = {key: undefined(count) for key in RATES}
    if count:
        parts = named.astype(np.float64), named * seen, seen
        values = _pooled(np.ones((1, count)), *parts, weights)
        drawn = [_pooled(counts, *parts, weights) for counts in resampled_counts(count)] if count > 1 else []
        for key, value, draws in zip(RATES, values, zip(*drawn) if drawn else [()] * 3, strict=True):
            pooled[key] = estimate_of(float(value[0]), np.concatenate(draws) if draws else None, count)
    return {**pooled, "per_label": per_label}


def j_difference(named: np.ndarray, ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray) -> Estimate:
    """ "j" of `correspondence` of our images less that of theirs, of the same N captions in the same order.

    Captions are drawn anew, the same for both. Raises DataError as `correspondence`.
    """
    sides = [correspondence(named, seen, weights)["j"]["value"] for seen in (ours, theirs)]
    count = len(named)
    if None in sides:
        return undefined(count)
    parts = [(named.astype(np.float64), named * seen, np.asarray(seen, np.float64)) for seen in (ours, theirs)]
    drawn = [
        _pooled(counts, *parts[0], weights)[0] - _pooled(counts, *parts[1], weights)[0]
        for counts in (resampled_counts(count) if count > 1 else ())
    ]
    return estimate_of(sides[0] - sides[1], np.concatenate(drawn) if drawn else None, count)


def estimate_of(value: float, draws: np.ndarray | None, n: int) -> Estimate:
    """A value with the central 95 % of its bootstrap draws; NaN is undefined, and no draws give no interval."""
    if np.isnan(value):
        return undefined(n)
    if draws is None:
        return without_interval(value, n)
    low, high = bootstrap_percentiles(draws)
    return {"value": value, "low": low, "high": high, "n": int(n)}


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over labels of values (R, L), float64 (R,); a label that is NaN in a row is left out of that row."""
    defined = ~np.isnan(values)
    total = defined @ weights
    sums = np.where(defined, values, 0.0) @ weights
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def _pooled(counts: np.ndarray, named: np.ndarray, both: np.ndarray, seen: np.ndarray, weights: np.ndarray):
    """J and the two rates (R,) each, for captions drawn `counts` (R, N) times."""
    with_label, drawn = counts @ named, counts.sum(1, keepdims=True)
    hits, alarms = counts @ both, counts @ (seen - both)
    without_label = drawn - with_label
    defined = (with_label > 0) & (without_label > 0)
    tpr = np.divide(hits, with_label, out=np.full_like(hits, np.nan), where=defined)
    fpr = np.divide(alarms, without_label, out=np.full_like(hits, np.nan), where=defined)
    return tuple(weighted_mean(rates, weights) for rates in (tpr - fpr, tpr, fpr))


def _of_label(named: np.ndarray, seen: np.ndarray) -> dict[str, Any] | None:
    if named.all() or not named.any():
        return None
    tpr, fpr = float(seen[named].mean()), float(seen[~named].mean())
    return {"j": tpr - fpr, "tpr": tpr, "fpr": fpr, "recall": tpr, "n": int(named.sum())}


def _bits(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 2:
        raise DataError(f"{name} must have shape (N, L), one bit a caption and label, got {values.shape}")
    return values > 0
