"""Correspondence of text and image: how much more often a label is seen where it is named than where it is not.

With named and seen as 0/1 over N captions, J of a label is its true-positive minus its false-positive rate, which
equals their covariance over the variance of named, p (1 - p). Weighted with those variances, the mean over labels is
the sum of covariances over the sum of variances: 0 for images that ignore their captions, whatever they show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gcdp.errors import DataError
from gcdp.evaluation.statistics import Estimate, bootstrap_percentiles, resampled_counts, undefined, without_interval

SHARES = (0.04, 0.66)  # of captions that name a label which counts


def label_weights(named: np.ndarray) -> np.ndarray:
    """named bool (N, L) -> p (1 - p) of every label, float64 (L,); 0 where a share p outside `SHARES` names it."""
    shares = np.asarray(named, np.float64).mean(0)
    return np.where((shares >= SHARES[0]) & (shares <= SHARES[1]), shares * (1 - shares), 0.0)


def correspondence(named: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """What the images of N captions show of L labels: {"j", "tpr", "fpr", "per_label"}.

    Args:
        named: bool (N, L), the labels that each caption names.
        seen: bool (N, L), those that a referee sees in its image.
        weights: (L,), from `label_weights`.

    "tpr" and "fpr" are weighted means over labels of the shares of captions with and without the label whose image
    shows it, "j" their difference: Estimates, captions drawn anew; without a value where no label has a weight.
    "per_label" are arrays (L,) by the same names, NaN where no or every caption names the label. Raises DataError
    where the shapes differ.
    """
    named, seen, weights = (np.asarray(part, np.float64) for part in (named, seen, weights))
    if named.shape != seen.shape or named.ndim != 2 or weights.shape != named.shape[1:]:
        raise DataError(f"named {named.shape}, seen {seen.shape} and weights {weights.shape} do not fit each other")
    n = len(named)
    rates = _rates(np.ones((1, n)), named, seen)
    per_label = {key: rate[0] for key, rate in rates.items()}
    if not n or not weights.any():
        return {**{key: undefined(n) for key in rates}, "per_label": per_label}
    blocks = [
        {key: _mean(rate, weights) for key, rate in _rates(counts, named, seen).items()}
        for counts in resampled_counts(n)
    ]
    drawn = {key: np.concatenate([block[key] for block in blocks]) for key in rates}
    found = {key: _estimate(float(_mean(rate, weights)[0]), drawn[key], n) for key, rate in rates.items()}
    return {**found, "per_label": per_label}


def _rates(counts: np.ndarray, named: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Rates of each label in R resamples: counts (R, N), named and seen (N, L) -> (R, L) each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = (counts @ (named * seen)) / (counts @ named)
        fpr = (counts @ ((1 - named) * seen)) / (counts @ (1 - named))
    return {"j": tpr - fpr, "tpr": tpr, "fpr": fpr}


def _mean(rates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over labels (R, L) -> (R,); a label without cases in a resample is left out of it."""
    kept = np.isfinite(rates) * weights
    with np.errstate(invalid="ignore"):
        return (np.where(kept > 0, rates, 0.0) * kept).sum(1) / kept.sum(1)


def _estimate(value: float, drawn: np.ndarray, n: int) -> Estimate:
    if n == 1:
        return without_interval(value, 1)
    low, high = bootstrap_percentiles(drawn)
    return {"value": value, "low": low, "high": high, "n": n}
