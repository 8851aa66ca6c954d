"""Intervals: known answers, agreement with textbook errors, and their coverage in simulated experiments."""

import numpy as np
import pytest

from gcdp.errors import DataError
from gcdp.evaluation import statistics
from gcdp.evaluation.statistics import (
    bootstrap,
    bootstrap_ratio,
    mean_ratio,
    proportion,
    resampled_counts,
    resampled_rows,
    sample_ratios,
    undefined,
)
from gcdp.evaluation.statistics import seed_interval as over_seeds

UNDEFINED = {"value": None, "low": None, "high": None}


def test_a_ratio_pools_its_cases():
    found = bootstrap_ratio(np.array([1, 3, 0]), np.array([1, 4, 5]))
    assert found["value"] == 0.4 and found["n"] == 3
    assert found["low"] <= 0.4 <= found["high"]


def test_the_interval_of_a_ratio_is_that_of_independent_samples():
    hits = (np.arange(400) % 4 > 0).astype(int)  # 0.75, standard error sqrt(0.75 * 0.25 / 400)
    found = bootstrap_ratio(hits, np.ones(400))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 400) ** 0.5, rel=0.1)


def test_cases_of_one_sample_stay_together():
    # 100 images whose 9 cases agree are worth 100 observations, not 900
    hits = np.repeat([9, 0], 50)
    clustered = bootstrap_ratio(hits, np.full(100, 9))
    single = bootstrap_ratio(hits // 9, np.ones(100))
    assert (clustered["low"], clustered["high"]) == pytest.approx((single["low"], single["high"]))


def test_a_ratio_without_cases_is_undefined():
    assert bootstrap_ratio(np.zeros(3), np.zeros(3)) == {**UNDEFINED, "n": 3}
    assert bootstrap_ratio(np.zeros(0), np.zeros(0)) == {**UNDEFINED, "n": 0}


def test_draws_that_lose_every_case_are_left_out():
    found = bootstrap_ratio(np.array([1, 0, 0]), np.array([1, 0, 0]))
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 3}


def test_any_statistic_can_be_resampled():
    values = np.random.default_rng(0).normal(size=200)
    mean = bootstrap(lambda rows: values[rows].mean(), 200)
    assert mean["value"] == values.mean() and mean["n"] == 200
    assert mean["high"] - mean["low"] == pytest.approx(2 * 1.96 * values.std() / 200**0.5, rel=0.1)
    assert bootstrap(lambda rows: values[rows].mean(), 200) == mean
    assert bootstrap(lambda rows: values[rows].mean(), 200, seed=1) != mean


def test_the_general_bootstrap_of_a_ratio_is_the_fast_one():
    rng = np.random.default_rng(1)
    cases = rng.integers(1, 5, 30)
    hits = rng.binomial(cases, 0.5)
    slow = bootstrap(lambda rows: hits[rows].sum() / cases[rows].sum(), 30)
    assert slow == pytest.approx(bootstrap_ratio(hits, cases))


def test_an_undefined_statistic_has_no_value():
    assert bootstrap(lambda rows: float("nan"), 4) == {**UNDEFINED, "n": 4}
    assert bootstrap(lambda rows: 1.0, 0) == {**UNDEFINED, "n": 0}


def test_draws_do_not_depend_on_how_they_are_cut(monkeypatch):
    whole = np.concatenate(list(resampled_rows(7, 50, seed=3)))
    counts = np.concatenate(list(resampled_counts(7, 50, seed=3)))
    monkeypatch.setattr(statistics, "BLOCK", 7 * 4)
    cut = list(resampled_rows(7, 50, seed=3))
    assert len(cut) == 13 and (np.concatenate(cut) == whole).all()
    assert all(counts[i].tolist() == np.bincount(rows, minlength=7).tolist() for i, rows in enumerate(whole))


def test_seeds_have_students_interval():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.3027
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found["value"], found["n"]) == (2.0, 3)
    assert found["high"] - 2 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)


def test_one_seed_has_no_interval():
    assert over_seeds([0.5]) == {"value": 0.5, "low": None, "high": None, "n": 1}
    assert over_seeds([]) == {**UNDEFINED, "n": 0}


CASES = np.full(40, 5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bootstrap_ratio(np.ones(3), np.ones(2)), "one number a sample"),
        (lambda: bootstrap_ratio(np.ones((3, 2)), np.ones((3, 2))), "one number a sample"),
        (lambda: over_seeds([0.5, float("nan")]), "leave that seed out"),
        (lambda: next(resampled_rows(0)), "at least one sample"),
        (lambda: bootstrap(lambda rows: 1.0, 3, resamples=0), "one resample"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_a_proportion_keeps_a_width_at_its_ends():
    none, all_, half = proportion(0, 10), proportion(10, 10), proportion(50, 100)
    assert (none["value"], none["low"]) == (0, 0) and none["high"] == pytest.approx(0.2775, abs=1e-4)
    assert (all_["value"], all_["high"]) == (1, 1) and all_["low"] == pytest.approx(1 - 0.2775, abs=1e-4)
    assert (half["low"], half["high"]) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927, by hand
    assert proportion(0, 0) == {"value": None, "low": None, "high": None, "n": 0}


def test_a_mean_of_ratios_counts_every_sample_once():
    found = mean_ratio(np.array([0, 4, 1]), np.array([1, 4, 0]))  # the last one has no cases
    assert found["value"] == 1 / 2 and found["n"] == 2
    assert bootstrap_ratio(np.array([0, 4, 0]), np.array([1, 4, 0]))["value"] == 4 / 5
    assert mean_ratio(np.zeros(2), np.zeros(2)) == undefined()
    hits, cases = sample_ratios(np.array([0, 4, 1]), np.array([1, 4, 0]))
    assert (hits.tolist(), cases.tolist()) == ([0, 1, 0], [1, 1, 0])


def test_a_single_sample_has_a_value_and_no_interval():
    ones, alone = (np.ones(1), np.ones(1)), {"value": 1.0, "low": None, "high": None, "n": 1}
    assert bootstrap_ratio(*ones) == mean_ratio(*ones) == bootstrap(lambda rows: 1.0, 1) == alone
