"""Measures of layouts on hand-made layouts whose answers are counted by eye."""

import numpy as np
import pytest

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.layouts import (
    area_shares,
    caption_agreement,
    class_areas,
    compare_areas,
    layout_report,
    named_classes,
    smoothness,
)

TABLE = ClassTable("four", ("road", "car", "sky", "void"), ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), unlabeled=3)
ROAD_CAR, ROAD_SKY = "An image with road and car.", "An image with road and sky."
# first layout: 5 road, 1 car; second: 4 road, 2 void
LAYOUTS = np.array([[[0, 0, 0], [0, 1, 0]], [[0, 0, 3], [0, 0, 3]]], np.uint8)


def test_areas_count_pixels_of_each_layout():
    assert class_areas(LAYOUTS, 4).tolist() == [[5, 1, 0, 0], [4, 0, 0, 2]]


def test_shares_are_those_of_all_pixels_together():
    assert area_shares(LAYOUTS, 4).tolist() == [9 / 12, 1 / 12, 0, 2 / 12]


def test_captions_name_their_classes_and_never_the_unlabeled_one():
    named = named_classes([ROAD_CAR, "An image with sky and void.", "An image."], TABLE)
    assert named.tolist() == [[True, True, False, False], [False, False, True, False], [False] * 4]


def test_smoothness_of_known_layouts():
    assert smoothness(np.zeros((2, 3, 4))) == 1
    board = np.indices((4, 6)).sum(0) % 2
    assert smoothness(board[None]) == 0
    # 2 x 3 layout: 7 adjacent pairs, the car at the middle of the lower row breaks three
    assert smoothness(LAYOUTS[:1]) == 4 / 7
    assert smoothness(np.array([[[0, 0, 1]]])) == 1 / 2
    assert smoothness(np.array([[[0], [0], [1]]])) == 1 / 2


def test_smoothness_of_uniform_noise_is_one_over_K():
    noise = np.random.default_rng(0).integers(20, size=(16, 64, 64))
    assert smoothness(noise) == pytest.approx(1 / 20, abs=0.002)


def test_recall_asks_for_named_classes_and_precision_for_held_ones():
    found = caption_agreement(LAYOUTS, [ROAD_CAR, ROAD_SKY], TABLE)
    recall, precision = found["recall"], found["precision"]
    assert (recall["micro"], recall["n"]) == (3 / 4, 4)  # road, car, road found; sky is missing
    assert recall["per_class"] == {"road": 1.0, "car": 1.0, "sky": 0.0}
    assert recall["n_per_class"] == {"road": 2, "car": 1, "sky": 1}
    assert recall["macro"] == 2 / 3
    assert (precision["micro"], precision["n"]) == (1.0, 3)  # void is no case
    assert precision["per_class"] == {"road": 1.0, "car": 1.0, "sky": None} and precision["macro"] == 1


def test_an_unnamed_class_costs_precision_only():
    found = caption_agreement(LAYOUTS, ["An image with road.", "An image with road."], TABLE)
    assert found["recall"]["micro"] == 1 and found["precision"]["micro"] == 2 / 3
    assert found["precision"]["per_class"]["car"] == 0


@pytest.mark.parametrize("min_area, recall, precision", [(1, 3 / 4, 1.0), (2, 1 / 2, 1.0), (5, 1 / 4, 1.0)])
def test_a_class_counts_from_the_minimum_area_on(min_area, recall, precision):
    found = caption_agreement(LAYOUTS, [ROAD_CAR, ROAD_SKY], TABLE, min_area)
    assert found["recall"]["micro"] == recall and found["precision"]["micro"] == precision


def test_without_any_case_a_score_is_none():
    found = caption_agreement(LAYOUTS, [ROAD_CAR, ROAD_SKY], TABLE, min_area=7)
    assert found["recall"]["micro"] == 0
    for key in ("micro", "macro", "low", "high"):
        assert found["precision"][key] is None
    assert found["precision"]["n"] == 0
    assert caption_agreement(LAYOUTS[:0], [], TABLE)["recall"]["micro"] is None


def test_a_bootstrap_interval_holds_its_score_narrows_with_n_and_repeats():
    def interval(copies):
        recall = caption_agreement(np.tile(LAYOUTS, (copies, 1, 1)), [ROAD_CAR, ROAD_SKY] * copies, TABLE)["recall"]
        return recall["low"], recall["high"]

    few, many = interval(8), interval(128)
    assert few == interval(8) and few[0] < many[0] < 3 / 4 < many[1] < few[1]
    # each pair scores 2/2 or 1/2: standard error 0.25 / sqrt(pairs)
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * 0.25 / 256**0.5, rel=0.15)


def test_areas_beside_real_ones():
    real = np.zeros((3, 2, 3), np.uint8)
    found = compare_areas(LAYOUTS, real, TABLE)
    assert found["per_class"]["road"] == [9 / 12, 1.0] and found["per_class"]["void"] == [2 / 12, 0.0]
    assert found["total_variation"] == pytest.approx(3 / 12)
    assert compare_areas(real, real, TABLE)["total_variation"] == 0


def test_a_report_is_plain_json():
    import json

    report = layout_report(LAYOUTS, [ROAD_CAR, ROAD_SKY], TABLE, min_areas=(1, 2))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["n"] == 2 and sorted(report["agreement"]) == ["1", "2"]
    assert report["agreement"]["2"]["recall"]["micro"] == 1 / 2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: class_areas(LAYOUTS, 3), r"outside 0\.\.2"),
        (lambda: class_areas(LAYOUTS[0], 4), "shape"),
        (lambda: smoothness(np.zeros((2, 1, 1))), "two pixels"),
        (lambda: caption_agreement(LAYOUTS, [ROAD_CAR], TABLE), "one caption a layout"),
        (lambda: caption_agreement(LAYOUTS, [ROAD_CAR] * 2, TABLE, 0), "min_area"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
