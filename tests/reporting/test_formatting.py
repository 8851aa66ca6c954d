"""Numbers as text: one dash for whatever is missing, never a placeholder."""

import pytest

from gcdp.evaluation.statistics import undefined, without_interval
from gcdp.reporting.formatting import difference_text, estimate_text, number_text

ESTIMATE = {"value": 0.05, "low": -0.01, "high": 0.11, "n": 8}


def test_an_estimate_stands_with_its_interval_and_a_difference_with_its_signs():
    assert estimate_text(ESTIMATE) == "0.050 [-0.010, 0.110]" and estimate_text(ESTIMATE, 1) == "0.1 [0.0, 0.1]"
    assert estimate_text(ESTIMATE, interval=False) == "0.050"
    assert difference_text(ESTIMATE) == "+0.050 [-0.010, +0.110]"
    assert difference_text(ESTIMATE, 2) == "+0.05 [-0.01, +0.11]"


def test_what_has_no_interval_stands_alone():
    for text, expected in ((estimate_text, "0.500"), (difference_text, "+0.500")):
        assert text(without_interval(0.5, 1)) == expected
        assert text({"value": 0.5, "low": float("nan"), "high": float("nan")}) == expected
        assert text({"value": 0.5, "low": 0.5, "high": 0.5}) == expected  # all units agree: no error bar


@pytest.mark.parametrize("missing", [None, undefined(8), {"value": float("nan"), "low": None, "high": None}])
def test_what_does_not_apply_is_a_dash(missing):
    assert estimate_text(missing) == difference_text(missing) == "–"
    assert number_text(None) == number_text(float("nan"), sign=True) == "–"


def test_zero_has_one_sign():
    assert number_text(-0.0001) == "0.000" and number_text(-0.0001, sign=True) == "+0.000"
