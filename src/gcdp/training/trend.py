"""What a curve of losses says: where it started, where it ended, and whether it is still falling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

HALVES = ("image", "layout")
FLAT = 0.02  # relative change over a quarter of the run that counts as rest


def series(rows: Sequence[dict[str, float]], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one column of `gcdp.training.curve.read_curve`, without the rows that lack it."""
    points = [(row["step"], row[column]) for row in rows if column in row]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values


def still_falling(steps: np.ndarray, values: np.ndarray) -> dict[str, float | int | None]:
    """Relative change of a loss over the last quarter of a run, compared to the quarter before.

    A straight line is fitted to the second half of the curve. Its slope times a quarter of the run, which is the
    difference between the means of the two quarters, is divided by the line's mean over the third quarter:

        change = b (S / 4) / (value of the line at 5 S / 8),    S the last step.

    Returns {"change", "low", "high", "points"}: -0.1 means 10 % lower. `low` and `high` are the 95 % interval of
    the slope by Student's t; rows are taken as independent, so a loss that wanders slowly makes it too narrow.
    Fields are None where the half holds too few points: two for the change, three for the interval.
    """
    last = steps[-1] if len(steps) else 0.0
    half = steps >= last / 2
    result: dict[str, float | int | None] = {"change": None, "low": None, "high": None, "points": int(half.sum())}
    if half.sum() < 2:
        return result
    x, y = steps[half] - steps[half].mean(), values[half] - values[half].mean()
    slope = float(x @ y / (x @ x))
    scale = (last / 4) / (values[half].mean() + slope * (5 * last / 8 - steps[half].mean()))
    result["change"] = float(slope * scale)
    if half.sum() > 2:
        freedom = int(half.sum()) - 2
        error = (np.square(y - slope * x).sum() / freedom / (x @ x)) ** 0.5
        width = float(stdtrit(freedom, 0.975) * error * abs(scale))
        result["low"], result["high"] = result["change"] - width, result["change"] + width
    return result


def in_words(trend: dict[str, float | int | None]) -> str:
    """A result of `still_falling` in words. Flat needs an interval within +-FLAT: wide noise is no evidence of rest."""
    low, high = trend["low"], trend["high"]
    if low is None:
        return "too few points to tell"
    if -FLAT < low and high < FLAT:
        return f"flat within {FLAT:.0%}"
    if high < 0:
        return "falling"
    return "rising" if low > 0 else "too noisy to tell"


def summarize(rows: Sequence[dict[str, float]]) -> dict:
    """A curve in numbers: {"steps", "image": {"train", "val"}, "layout": {...}}, halves that were trained only.

    Each of train and val is {"first", "last", "still_falling"}. Training losses are means over the first and last
    tenth of the rows, since a single row holds few batches; validation losses, on fixed pairs and noise, are the
    first and last measured. A run without validation has no "val".
    """
    summary: dict = {"steps": int(rows[-1]["step"]) if rows else 0}
    for half in HALVES:
        kinds = {"train": half, "val": f"val_{half}"}
        found = {kind: _ends(*series(rows, column), kind) for kind, column in kinds.items()}
        found = {kind: ends for kind, ends in found.items() if ends is not None}
        if found:
            summary[half] = found
    return summary


def _ends(steps: np.ndarray, values: np.ndarray, kind: str) -> dict | None:
    if not len(steps):
        return None
    count = max(1, len(values) // 10) if kind == "train" else 1
    first, last = float(values[:count].mean()), float(values[-count:].mean())
    return {"first": first, "last": last, "still_falling": still_falling(steps, values)}
