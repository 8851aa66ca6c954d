"""Crossed random effects: known answers, agreement with what is known otherwise, and coverage. Seeds are stated."""

import numpy as np
import pytest
from scipy.special import stdtrit

from gcdp.errors import DataError
from gcdp.evaluation.mixed_effects import grand_mean, growth, influence
from gcdp.evaluation.statistics import seed_interval


def simulated(rng, seeds, captions, of_seeds, of_captions, rest=0.4):
    """Values around 0.1 with errors of these three spreads."""
    return (
        0.1
        + of_seeds * rng.standard_normal((seeds, 1))
        + of_captions * rng.standard_normal((1, captions))
        + rest * rng.standard_normal((seeds, captions))
    )


def test_a_balanced_table_by_hand():
    """Mean squares of [[0, 2, 4], [2, 4, 12]]: rows 2 and 6, columns 1, 3 and 8, mean 4."""
    values = np.array([[0.0, 2, 4], [2, 4, 12]])
    by_seed, by_caption = 3 * (4 + 4) / 1, 2 * (9 + 1 + 16) / 2
    rest = ((0 - 2 - 1 + 4) ** 2 * 2 + (2 - 2 - 3 + 4) ** 2 * 2 + (4 - 2 - 8 + 4) ** 2 * 2) / 2
    assert (by_seed, by_caption, rest) == (24, 26, 6)
    variance = (by_seed + by_caption - rest) / 6  # of the best linear unbiased estimate with REML components
    freedom = (by_seed + by_caption - rest) ** 2 / (by_seed**2 / 1 + by_caption**2 / 2 + rest**2 / 2)
    width = stdtrit(freedom, 0.975) * variance**0.5
    expected = {"value": 4, "low": 4 - width, "high": 4 + width, "n": 3, "seeds": 2}
    assert grand_mean(values) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [5, 3])
@pytest.mark.parametrize("of_seeds", [0.0, 0.03, 0.2])
def test_an_interval_covers_the_truth(seeds, of_seeds):
    rng, covered = np.random.default_rng(3), 0
    for _ in range(400):
        found = grand_mean(simulated(rng, seeds, 200, of_seeds, 0.3))
        covered += found["low"] <= 0.1 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98


def test_one_seed_has_the_interval_of_its_captions():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(400):
        found = grand_mean(simulated(rng, 1, 100, 0.0, 0.3))
        covered += found["low"] <= 0.1 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98 and (found["seeds"], found["n"]) == (1, 100)


def test_one_value_a_seed_has_students_interval():
    values = [1.0, 2.0, 4.0]
    found, known = grand_mean(np.array(values)[:, None]), seed_interval(values)
    assert [found[key] for key in ("value", "low", "high")] == pytest.approx(
        [known[k] for k in ("value", "low", "high")]
    )


def test_a_single_value_has_no_interval_and_equal_ones_none_of_width():
    assert grand_mean(np.ones((1, 1))) == {"value": 1.0, "low": None, "high": None, "n": 1, "seeds": 1}
    same = grand_mean(np.ones((3, 4)))
    assert same["low"] == same["value"] == same["high"] == 1
    assert grand_mean(np.full((2, 3), np.nan))["value"] is None


def test_captions_shared_by_seeds_do_not_count_as_further_ones():
    rng = np.random.default_rng(5)
    captions = rng.standard_normal((1, 50))
    once, thrice = grand_mean(captions), grand_mean(np.repeat(captions, 3, 0))
    assert thrice["low"] == pytest.approx(once["low"]) and thrice["high"] == pytest.approx(once["high"])


def test_influence_has_the_ratio_as_mean_and_its_scatter():
    rng = np.random.default_rng(6)
    cases = rng.integers(0, 5, 4000)
    hits = rng.binomial(cases, 0.3)
    values = influence(hits, cases)
    assert values.mean() == pytest.approx(hits.sum() / cases.sum())
    drawn = [(hits[rows].sum() / cases[rows].sum()) for rows in rng.integers(4000, size=(500, 4000))]
    assert values.std() / 4000**0.5 == pytest.approx(np.std(drawn), rel=0.1)
    assert np.isnan(influence(np.zeros(3), np.zeros(3))).all()


def test_growth_is_the_slope_for_each_halving():
    sizes = np.array([250, 500, 1000, 2000])
    values = np.stack([np.full((2, 3), 0.5 - 0.1 * step) for step in range(4)])  # 0.1 less with each doubling
    assert growth(values, sizes) == pytest.approx(np.full((2, 3), 0.1))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: grand_mean(np.ones(3)), r"shape \(seeds, captions\)"),
        (lambda: influence(np.ones(3), np.ones(2)), "one number a caption"),
        (lambda: growth(np.ones((1, 2, 3)), [8]), "two numbers of pairs"),
        (lambda: growth(np.ones((2, 2, 3)), [8, 8]), "two numbers of pairs"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
