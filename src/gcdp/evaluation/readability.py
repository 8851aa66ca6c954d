"""Whether a referee can still read text off images as far from real ones as those of a model are.

A referee that sees nothing in imperfect images finds that they ignore their captions, whatever they show. So it is
tried on real pairs, whose images show what they are held to, after these were spoiled: each spoiling is a point
(Fréchet distance to real images, J). If no spoiling so far from real images leaves J at `READABLE`, a low score at
that distance may be the referee's failure and not the model's; a high one stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gcdp.errors import DataError

READABLE = 0.6  # smallest J of spoiled real pairs at which scores of text are reported without a mark
UNREADABLE = "unreadable"  # the mark


def readable_j(distance: float, points: Sequence[tuple[float, float]]) -> float:
    """The best J that the referee reaches on real pairs spoiled to `distance` or beyond, -inf where none is so far.

    `points` are (distance, J) of the spoilings, the untouched pairs among them. Each gets the largest J of all points
    at its distance or beyond, so that J never rises with the distance; between two points it runs straight, and before
    the first it stays as it is there. Raises DataError for no points, or numbers that are not finite.
    """
    array = np.array(sorted(points), np.float64).reshape(-1, 2)
    if not len(array) or not np.isfinite([distance, *array.ravel()]).all():
        raise DataError("a referee's readability needs a finite distance and J of at least one spoiling")
    best = np.maximum.accumulate(array[::-1, 1])[::-1]
    return float(np.interp(distance, array[:, 0], best, right=-np.inf))


def is_unreadable(distance: float | None, points: Sequence[tuple[float, float]], least: float = READABLE) -> bool:
    """Whether `readable_j` at the distance of a model's images is below `least`.

    False where nothing is known: no distance, or a referee that was never tried on spoiled images.
    """
    return distance is not None and bool(points) and readable_j(distance, points) < least
