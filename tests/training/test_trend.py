"""Slopes of losses: known lines, known noise, and the few rows of a short run."""

import json

import numpy as np
import pytest

from gcdp.training.curve import read_curve
from gcdp.training.trend import in_words, series, still_falling, summarize


def line(values_at, count=40, last=1000):
    steps = np.linspace(last / count, last, count)
    return steps, values_at(steps)


def test_the_change_of_a_straight_line_is_that_between_its_two_last_quarters():
    trend = still_falling(*line(lambda s: 2 - s / 1000))
    # quarter means 2 - 0.625 and 2 - 0.875
    assert trend["change"] == pytest.approx(-0.25 / 1.375)
    assert trend["low"] == pytest.approx(trend["high"]) and in_words(trend) == "falling"


def test_only_the_second_half_counts():
    trend = still_falling(*line(lambda s: np.where(s < 500, 100 - s, 3.0)))
    assert trend["change"] == pytest.approx(0) and trend["points"] == 21


def test_a_rising_loss_is_called_rising():
    assert in_words(still_falling(*line(lambda s: 1 + s / 1000))) == "rising"


def test_the_interval_covers_the_true_slope_at_its_stated_rate():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        steps, values = line(lambda s: 1 - 0.1 * s / 1000)
        trend = still_falling(steps, values + rng.normal(0, 0.05, len(steps)))
        covered += trend["low"] <= -0.025 / (1 - 0.0625) <= trend["high"]
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("noise, said", [(0.01, "flat within 2%"), (0.2, "too noisy to tell")])
def test_without_slope_little_noise_is_called_flat_and_much_noise_is_not(noise, said):
    steps, values = line(lambda s: 1 + 0 * s)
    assert in_words(still_falling(steps, values + np.random.default_rng(1).normal(0, noise, 40))) == said


def test_a_slope_within_the_limit_counts_as_rest():
    assert in_words(still_falling(*line(lambda s: 1 - 0.01 * s / 1000))) == "flat within 2%"


@pytest.mark.parametrize("count, change, interval", [(0, False, False), (1, False, False), (2, True, False)])
def test_too_few_points_leave_fields_empty(count, change, interval):
    trend = still_falling(np.array([15.0, 30.0])[:count], np.array([2.0, 1.0])[:count])
    assert (trend["change"] is not None) == change and (trend["low"] is not None) == interval
    assert in_words(trend) == "too few points to tell"


ROWS = [
    {"step": 10, "image": 4.0, "layout": 2.0},
    {"step": 20, "image": 3.0, "layout": 1.0, "val_image": 3.5, "val_layout": 1.5},
    {"step": 30, "image": 2.5, "layout": 1.0},
    {"step": 40, "val_image": 2.5, "val_layout": 1.0},
]


def test_a_series_leaves_out_rows_without_its_column():
    assert [part.tolist() for part in series(ROWS, "val_image")] == [[20, 40], [3.5, 2.5]]
    assert [part.tolist() for part in series(ROWS, "absent")] == [[], []]


def test_a_summary_holds_both_ends_of_every_loss_as_plain_json():
    summary = summarize(ROWS)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["steps"] == 40
    assert (summary["image"]["train"]["first"], summary["image"]["train"]["last"]) == (4.0, 2.5)
    assert (summary["layout"]["val"]["first"], summary["layout"]["val"]["last"]) == (1.5, 1.0)


def test_an_absent_half_and_absent_validation_are_left_out():
    summary = summarize([{"step": 5, "image": 1.0}, {"step": 10, "image": 0.5}])
    assert list(summary) == ["steps", "image"] and list(summary["image"]) == ["train"]
    assert summarize([]) == {"steps": 0}


def test_the_ends_of_a_long_training_curve_are_means_over_a_tenth():
    rows = [{"step": i + 1, "image": float(i)} for i in range(100)]
    ends = summarize(rows)["image"]["train"]
    assert (ends["first"], ends["last"]) == (4.5, 94.5)


def test_a_half_that_was_given_clean_has_no_curve(tmp_path):
    """Its loss is 0 at every step: it used to be summarized as a change of +nan."""
    path = tmp_path / "curve.csv"
    path.write_text("step,image,layout,val_layout\n" + "".join(f"{s},{1 / s},0.0,0.0\n" for s in range(1, 9)))
    rows = read_curve(path)
    assert set(rows[0]) == {"step", "image"} and set(summarize(rows)) == {"steps", "image"}
