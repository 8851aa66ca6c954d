"""Readability: J of spoiled real pairs over their distance, never rising, and what lies beyond all of them."""

import numpy as np
import pytest

from gcdp.errors import DataError
from gcdp.evaluation.readability import is_unreadable, readable_j

# two families of spoilings from the clean pairs: one keeps J while the distance grows, the other does not
POINTS = [(0.1, 0.8), (0.5, 0.3), (1.0, 0.7), (2.0, 0.5), (4.0, 0.1)]


@pytest.mark.parametrize(
    ("distance", "j"),
    [(0.0, 0.8), (0.1, 0.8), (0.3, 0.75), (0.5, 0.7), (0.7, 0.7), (1.0, 0.7), (1.5, 0.6), (3.0, 0.3), (4.0, 0.1)],
)
def test_the_best_spoiling_at_a_distance_or_beyond_counts(distance, j):
    assert readable_j(distance, POINTS) == pytest.approx(j)
    assert readable_j(distance, POINTS[::-1]) == pytest.approx(j)


def test_nothing_is_read_beyond_the_farthest_spoiling():
    assert readable_j(4.1, POINTS) == -np.inf and is_unreadable(4.1, POINTS, least=0.0)


def test_unreadable_is_below_the_least_j():
    assert not is_unreadable(1.49, POINTS) and is_unreadable(1.51, POINTS)
    assert is_unreadable(0.0, POINTS, least=0.81)
    assert is_unreadable(0.0, [(0.1, 0.55)])  # a referee that cannot read real pairs


def test_nothing_is_said_where_nothing_is_known():
    assert not is_unreadable(None, POINTS) and not is_unreadable(1.0, [])


@pytest.mark.parametrize(("distance", "points"), [(1.0, []), (np.nan, POINTS), (1.0, [(0.0, np.nan)])])
def test_unknown_numbers_are_refused(distance, points):
    with pytest.raises(DataError, match="readability needs"):
        readable_j(distance, points)
