"""Intervals over training seeds and captions at once, both drawn anew: crossed random effects, in closed form.

A value d[s, c] for every seed s and caption c is taken as

    d[s, c] = m + a_s + b_c + e_sc,        a, b, e independent, of variances v_a, v_b, v_e.

Another study would have other seeds and other captions, so the error of the grand mean has three parts,

    V = v_a / S + v_b / C + v_e / (S C) = (MS_a + MS_b - MS_e) / (S C),

with the mean squares of a two-way table without replication (Searle, Casella & McCulloch 1992, Sec. 4.7; variances
below 0 count as 0). The interval is Student's t with Satterthwaite's degrees of freedom. Training on different numbers
of pairs is a fixed effect: sizes are compared by a contrast within each seed, never pooled as if they were seeds.

Ratios of sums over captions become such values by their influence: `influence`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtrit

from gcdp.errors import DataError
from gcdp.evaluation.statistics import undefined


def influence(hits: np.ndarray, cases: np.ndarray) -> np.ndarray:
    """Values (C,) whose mean is sum(hits) / sum(cases), and whose scatter is that of this ratio times sqrt(C).

    r + (hits - r cases) / mean(cases), the first-order change of the ratio r when one caption is drawn more often.
    NaN throughout where there are no cases. Raises DataError where the two differ in length.
    """
    hits, cases = np.asarray(hits, np.float64), np.asarray(cases, np.float64)
    if hits.ndim != 1 or hits.shape != cases.shape:
        raise DataError(f"hits and cases need one number a caption each, got shapes {hits.shape} and {cases.shape}")
    if not cases.sum():
        return np.full(len(hits), np.nan)
    ratio = hits.sum() / cases.sum()
    return ratio + (hits - ratio * cases) / cases.mean()


def grand_mean(values: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """Mean of values (S, C) over seeds and captions, with its interval: {"value", "low", "high", "n": C, "seeds": S}.

    With one seed the interval is that of its captions alone: it speaks of this one network. With one caption, or one
    value for each seed (C = 1), that of the seeds. None where both are one. Raises DataError for another shape.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise DataError(f"values must have shape (seeds, captions), got {values.shape}")
    seeds, captions = values.shape
    counts = {"n": captions, "seeds": seeds}
    if not values.size or np.isnan(values).any():
        return {**undefined(captions), **counts}
    mean = float(values.mean())
    variance, freedom = _error(values)
    if freedom is None:
        return {"value": mean, "low": None, "high": None, **counts}
    width = float(stdtrit(freedom, 0.5 + level / 2)) * variance**0.5
    return {"value": mean, "low": mean - width, "high": mean + width, **counts}


def _error(values: np.ndarray) -> tuple[float, float | None]:
    """Variance of the grand mean and its degrees of freedom; None where a single value tells nothing."""
    seeds, captions = values.shape
    if 1 in (seeds, captions):
        count = max(seeds, captions)
        return (float(values.var(ddof=1)) / count, count - 1) if count > 1 else (0.0, None)
    by_seed, by_caption, rest = _mean_squares(values)
    freedoms = seeds - 1, captions - 1, (seeds - 1) * (captions - 1)
    # where a component comes out below 0 its mean square estimates no more than the rest does
    terms = [(by_seed, freedoms[0])] if by_seed > rest else []
    terms += [(by_caption, freedoms[1])] if by_caption > rest else []
    if len(terms) != 1:
        terms += [(-rest if terms else rest, freedoms[2])]
    total = sum(square for square, _ in terms)
    uncertainty = sum(square**2 / freedom for square, freedom in terms)
    return total / (seeds * captions), total**2 / uncertainty if uncertainty else float(freedoms[2])


def _mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of seeds, of captions and of the rest."""
    seeds, captions = values.shape
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    rest = values - rows[:, None] - columns[None] + mean
    return (
        float(captions * np.square(rows - mean).sum() / (seeds - 1)),
        float(seeds * np.square(columns - mean).sum() / (captions - 1)),
        float(np.square(rest).sum() / ((seeds - 1) * (captions - 1))),
    )


def growth(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Growth of values (Z, S, C) at Z numbers of training pairs with every halving of these: (S, C).

    The least-squares slope over log2(pairs), within each seed and caption, with its sign turned. Raises DataError for
    fewer than two sizes.
    """
    x = np.log2(np.asarray(sizes, np.float64))
    if len(set(x.tolist())) < 2 or len(x) != len(values):
        raise DataError(f"a slope needs values at two numbers of pairs or more, got {list(sizes)}")
    x = x - x.mean()
    return -np.tensordot(x, np.asarray(values, np.float64), 1) / np.square(x).sum()
