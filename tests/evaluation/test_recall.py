"""Semantic recall and the minimum area, on labels that are counted by eye."""

import numpy as np
import pytest

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.layouts import caption_agreement
from gcdp.evaluation.recall import calibrate_area, semantic_agreement

TABLE = ClassTable("four", ("road", "car", "sky", "void"), ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), unlabeled=3)
CAPTIONS = ["An image with road and car.", "An image with road and sky."]
# the referee sees 5 road, 1 car; then 3 road, 1 car, 2 void
SEEN = np.array([[[0, 0, 0], [0, 1, 0]], [[0, 0, 3], [0, 1, 3]]], np.uint8)


def layout_with(**areas):
    """One 4 x 5 layout of void with that many pixels of each class."""
    labels = [TABLE.names.index(name) for name, area in areas.items() for _ in range(area)]
    return np.array(labels + [3] * (20 - len(labels)), np.uint8).reshape(4, 5)


def test_recall_counts_the_named_classes_that_the_referee_sees():
    found = semantic_agreement(SEEN, CAPTIONS, TABLE)["recall"]
    assert found["micro"]["value"] == 3 / 4 and found["micro"]["n"] == 2  # sky is missing
    assert found["micro"]["low"] == 1 / 2 and found["micro"]["high"] == 1
    assert found["per_class"] == {"road": 1.0, "car": 1.0, "sky": 0.0}
    assert found["n_per_class"] == {"road": 2, "car": 1, "sky": 1} and found["macro"] == 2 / 3


def test_the_papers_recall_averages_the_shares_of_images_and_the_pooled_one_counts_cases():
    captions = ["An image with sky.", "An image with road, car and sky."]  # 0 of 1, 2 of 3
    found = semantic_agreement(SEEN, captions, TABLE)["recall"]
    assert found["mean"]["value"] == (0 + 2 / 3) / 2 and found["micro"]["value"] == 2 / 4
    assert (found["mean"]["low"], found["mean"]["high"]) == (0, 2 / 3)


def test_captions_that_name_nothing_do_not_count_for_the_mean():
    found = semantic_agreement(SEEN, ["", CAPTIONS[1]], TABLE)["recall"]["mean"]
    assert found == {"value": 1 / 2, "low": None, "high": None, "n": 1}  # one image: no interval


def test_clutter_costs_precision_and_f1():
    found = semantic_agreement(SEEN, CAPTIONS, TABLE)
    assert found["precision"]["micro"]["value"] == 3 / 4  # the second car is not named
    assert found["f1"]["micro"]["value"] == pytest.approx(2 * 0.75 * 0.75 / 1.5)
    named = ["An image with road.", "An image with road."]
    found = semantic_agreement(SEEN, named, TABLE)
    recall, precision = found["recall"]["micro"]["value"], found["precision"]["micro"]["value"]
    assert (recall, precision) == (1, 1 / 2)
    assert found["f1"]["micro"]["value"] == pytest.approx(2 * recall * precision / (recall + precision))


@pytest.mark.parametrize("min_area, recall", [(1, 3 / 4), (2, 2 / 4), (4, 1 / 4), (6, 0)])
def test_a_class_is_found_from_the_minimum_area_on(min_area, recall):
    assert semantic_agreement(SEEN, CAPTIONS, TABLE, min_area)["recall"]["micro"]["value"] == recall


def test_it_is_the_count_that_layouts_have_on_the_labels_of_the_referee():
    ours, theirs = semantic_agreement(SEEN, CAPTIONS, TABLE), caption_agreement(SEEN, CAPTIONS, TABLE)
    for measure in ("recall", "precision"):
        assert ours[measure]["micro"]["value"] == theirs[measure]["micro"]
        assert ours[measure]["micro"]["low"] == theirs[measure]["low"]
        assert ours[measure]["per_class"] == theirs[measure]["per_class"]


def test_captions_that_name_nothing_have_no_recall():
    found = semantic_agreement(SEEN, ["", ""], TABLE)
    assert found["recall"]["micro"] == {"value": None, "low": None, "high": None, "n": 2}
    assert found["recall"]["mean"] == {"value": None, "low": None, "high": None, "n": 0}
    assert found["recall"]["macro"] is None and found["precision"]["micro"]["value"] == 0


def test_the_calibrated_area_keeps_false_alarms_within_the_rate():
    # 4 images show and name road alone; the referee sees 1, 2, 3 and 0 pixels of car in them, and 1 of sky in one
    seen = np.stack([layout_with(road=9, car=1), layout_with(road=9, car=2), layout_with(road=9, car=3, sky=1),
                       layout_with(road=9)])  # fmt: skip
    captions = ["An image with road."] * 4
    found = calibrate_area(seen, captions, TABLE, rate=0.25)
    # alarms of car from 1, 2, 3, 4 px on: 3/4, 2/4, 1/4, 0; of sky: 1/4, 0; their average: 1/2, 1/4, ...
    assert found["per_class"] == {"road": None, "car": 3, "sky": 1}
    assert found["n_per_class"] == {"road": 0, "car": 4, "sky": 4}
    assert (found["area"], found["false_alarms"], found["false_alarms_1px"]) == (2, 0.25, 0.5)
    strict = calibrate_area(seen, captions, TABLE, rate=0)
    assert (strict["area"], strict["false_alarms"]) == (4, 0)


def test_a_class_that_captions_name_raises_no_false_alarm():
    seen = np.stack([layout_with(road=9, car=5), layout_with(road=9)])
    found = calibrate_area(seen, ["An image with road and car.", "An image with road."], TABLE)
    assert found["area"] == 1 and found["false_alarms_1px"] == 0
    assert found["n_per_class"] == {"road": 0, "car": 1, "sky": 2}


def test_a_referee_that_never_errs_needs_one_pixel():
    found = calibrate_area(np.stack([layout_with(road=20)] * 3), ["An image with road."] * 3, TABLE)
    assert found["area"] == 1 and found["false_alarms"] == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: semantic_agreement(SEEN, CAPTIONS[:1], TABLE), "one caption"),
        (lambda: semantic_agreement(SEEN, CAPTIONS, TABLE, 0), "min_area"),
        (lambda: semantic_agreement(SEEN + 1, CAPTIONS, TABLE), "outside"),
        (lambda: calibrate_area(SEEN, CAPTIONS[:1], TABLE), "one caption"),
        (lambda: calibrate_area(SEEN, CAPTIONS, TABLE, rate=1.5), "rate is 1.5"),
        (lambda: calibrate_area(SEEN, ["An image with road, car and sky."] * 2, TABLE), "lack some"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
