"""Error bars: over samples, over training seeds, and over both at once.

A number is reported as an `Estimate`, a plain dictionary {"value", "low", "high", "n"} with a 95 % interval. What the
interval covers depends on what was drawn anew, and every function says what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict

import numpy as np
from scipy.special import ndtri, stdtrit

from gcdp.errors import DataError

RESAMPLES = 1000  # of a bootstrap
BLOCK = 1 << 22  # random numbers held at once


class Estimate(TypedDict):
    """A value with its 95 % interval; `n` counts the independent units behind it. None where it is undefined.

    A single unit has a value and no interval: drawn anew, it only repeats itself.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def undefined(n: int = 0) -> Estimate:
    """The estimate of something that has no cases."""
    return {"value": None, "low": None, "high": None, "n": n}


def without_interval(value: float, n: int) -> Estimate:
    """A value whose interval is not or cannot be computed."""
    return {"value": float(value), "low": None, "high": None, "n": int(n)}


def resampled_rows(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """Rows of bootstrap resamples, drawn with replacement: blocks of int64 (R', n) with `resamples` rows in all.

    Blocks bound the memory; the numbers do not depend on where they are cut. Raises DataError where either is < 1.
    """
    if n < 1 or resamples < 1:
        raise DataError(f"a bootstrap needs at least one sample and one resample, got {n} and {resamples}")
    rng = np.random.default_rng(seed)
    at_once = max(1, BLOCK // n)
    for start in range(0, resamples, at_once):
        yield rng.integers(n, size=(min(at_once, resamples - start), n))


def resampled_counts(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each sample occurs in each resample of `resampled_rows`: blocks of float64 (R', n).

    Sums over a resample are then matrix products: counts @ values.
    """
    for rows in resampled_rows(n, resamples, seed):
        flat = rows + n * np.arange(len(rows))[:, None]
        yield np.bincount(flat.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)


def bootstrap_ratio(hits: np.ndarray, cases: np.ndarray, seed: int = 0) -> Estimate:
    """sum(hits) / sum(cases) over samples, (N,) each, with a percentile interval; `n` is N.

    Samples (images with their captions) are drawn anew, each with all of its cases, since the cases of one image
    are not independent. Draws without any case are left out; a single sample has no interval. Raises DataError where
    the two differ in length.
    """
    hits, cases = _pair(hits, cases)
    if not cases.sum():
        return undefined(len(cases))
    if len(cases) == 1:
        return without_interval(hits.sum() / cases.sum(), 1)
    sums = [(counts @ hits, counts @ cases) for counts in resampled_counts(len(cases), seed=seed)]
    top, bottom = (np.concatenate(part) for part in zip(*sums))
    low, high = bootstrap_percentiles(top[bottom > 0] / bottom[bottom > 0])
    return {"value": float(hits.sum() / cases.sum()), "low": low, "high": high, "n": len(cases)}


def sample_ratios(hits: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """hits / cases of every sample, and 1 where it has cases: float64 (N,) each, 0 for samples without cases.

    The sums of the two, divided, are the mean of the samples' own ratios.
    Raises DataError where the two differ in length.
    """
    hits, cases = _pair(hits, cases)
    return np.divide(hits, cases, out=np.zeros_like(hits), where=cases > 0), (cases > 0).astype(np.float64)


def mean_ratio(hits: np.ndarray, cases: np.ndarray, seed: int = 0) -> Estimate:
    """Mean over samples of their own hits / cases, (N,) each; samples without cases are left out, `n` are the others.

    Every sample counts once, where `bootstrap_ratio` counts every case once. The interval is made in the same way, by
    drawing the samples that have cases anew. Raises DataError where the two differ in length.
    """
    ratios, counted = sample_ratios(hits, cases)
    return bootstrap_ratio(ratios[counted > 0], counted[counted > 0], seed)


def proportion(hits: int, n: int) -> Estimate:
    """hits / n of independent cases with Wilson's score interval, which keeps its width where all or none are hits."""
    if not n:
        return undefined()
    share, z = hits / n, float(ndtri(0.975))
    center, width = share + z * z / (2 * n), z * (share * (1 - share) / n + (z / (2 * n)) ** 2) ** 0.5
    low, high = ((center + side * width) / (1 + z * z / n) for side in (-1, 1))
    return {"value": share, "low": min(share, max(0.0, low)), "high": max(share, min(1.0, high)), "n": int(n)}


def bootstrap(statistic: Callable[[np.ndarray], float], n: int, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Any statistic of n samples with a percentile interval; the samples are drawn anew.

    Args:
        statistic: called with rows, int64 (n,), indices of the samples to compute it from; NaN says undefined.
        n: number of samples.

    Right for statistics that repeated samples leave alone, such as means and ratios. A Fréchet distance is none of
    them: see `gcdp.evaluation.frechet`.
    """
    if n == 0:
        return undefined()
    value = float(statistic(np.arange(n)))
    if n == 1:
        return undefined(1) if np.isnan(value) else without_interval(value, 1)
    drawn = [float(statistic(rows)) for block in resampled_rows(n, resamples, seed) for rows in block]
    low, high = bootstrap_percentiles(np.array(drawn))
    return {"value": None if np.isnan(value) else value, "low": low, "high": high, "n": n}


def seed_interval(values: Sequence[float]) -> Estimate:
    """Mean over training seeds with Student's t interval, n - 1 degrees of freedom; `n` counts the seeds.

    What varies is training, and sampling with it. One seed has a value and no interval, no seed neither.
    """
    numbers = np.array(list(values), np.float64)
    if np.isnan(numbers).any():
        raise DataError("a seed's score is missing or NaN: leave that seed out before taking the interval")
    n = len(numbers)
    if not n:
        return undefined()
    mean = float(numbers.mean())
    if n == 1:
        return without_interval(mean, 1)
    width = float(stdtrit(n - 1, 0.975) * numbers.std(ddof=1) / n**0.5)
    return {"value": mean, "low": mean - width, "high": mean + width, "n": n}


def _pair(hits: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hits, cases = np.asarray(hits, np.float64), np.asarray(cases, np.float64)
    if hits.ndim != 1 or hits.shape != cases.shape:
        raise DataError(f"hits and cases need one number a sample each, got shapes {hits.shape} and {cases.shape}")
    return hits, cases


def bootstrap_percentiles(drawn: np.ndarray) -> tuple[float | None, float | None]:
    """The central 95 % of drawn values (R,); NaN, a draw that is undefined, is left out. None without any value."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None, None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
