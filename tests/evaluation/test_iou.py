"""Alignment of layouts and the referee's labels, counted by eye."""

import time

import numpy as np
import pytest

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.iou import alignment_miou, confusion, miou_difference, pair_miou_difference, pixel_accuracy

TABLE = ClassTable("four", ("road", "car", "sky", "void"), ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), unlabeled=3)
LAYOUTS = np.array([[[0, 0, 1], [0, 1, 3]], [[0, 0, 0], [0, 0, 3]]], np.uint8)
SEEN = np.array([[[0, 0, 1], [1, 1, 1]], [[0, 0, 0], [3, 0, 0]]], np.uint8)


def test_confusion_has_layouts_in_rows():
    expected = [[6, 1, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert confusion(LAYOUTS, SEEN, 4).tolist() == expected
    assert confusion(LAYOUTS, SEEN, 4).dtype == np.int64


def test_unlabeled_pixels_of_the_layout_do_not_count_and_blind_spots_of_the_referee_do():
    found = alignment_miou(LAYOUTS, SEEN, TABLE)
    # road: 6 of 8, only an unlabeled pixel is mistaken for road; car: 2 of 2, one road pixel is mistaken for car
    assert found["per_class"] == {"road": 6 / 8, "car": 2 / 3, "sky": None}
    assert found["miou"]["value"] == pytest.approx((6 / 8 + 2 / 3) / 2) and found["miou"]["n"] == 2


def test_the_mean_over_all_labeled_classes_counts_absent_ones_as_0():
    found = alignment_miou(LAYOUTS, SEEN, TABLE)["miou_all"]
    assert found["value"] == pytest.approx((6 / 8 + 2 / 3 + 0) / 3) and found["n"] == 2
    assert found["low"] <= found["value"] <= found["high"] < 2 / 3
    # the car is in one of two images alone: draws without it count it as 0, so that they cannot lie higher
    layouts = np.array([[[0, 1]], [[0, 0]]])
    found = alignment_miou(layouts, layouts, TABLE)
    assert (found["miou"]["low"], found["miou"]["value"]) == (1, 1)
    assert (found["miou_all"]["low"], found["miou_all"]["value"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_one_image_has_no_interval():
    found = alignment_miou(LAYOUTS[:1], SEEN[:1], TABLE)
    for name in ("miou", "miou_all"):
        assert found[name]["value"] > 0 and found[name]["low"] is found[name]["high"] is None


def test_it_is_what_the_confusion_matrix_says():
    rng = np.random.default_rng(0)
    layouts, seen = rng.integers(0, 4, (2, 20, 6, 6)).astype(np.uint8)
    matrix = confusion(layouts, seen, 4)
    matrix[3] = 0
    ious = [matrix[k, k] / (matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]) for k in range(3)]
    found = alignment_miou(layouts, seen, TABLE)
    assert list(found["per_class"].values()) == pytest.approx(ious)
    miou = found["miou"]
    assert miou["value"] == pytest.approx(np.mean(ious)) and miou["low"] < miou["value"] < miou["high"]
    assert found["miou_all"] == miou  # every class is there, in every draw


def test_a_difference_of_two_readings_is_that_of_their_means_over_the_same_images():
    rng = np.random.default_rng(0)
    layouts = rng.integers(0, 3, (40, 6, 6)).astype(np.uint8)
    good, bad = (np.where(rng.random(layouts.shape) < share, layouts, 0) for share in (0.9, 0.8))
    found = miou_difference(layouts, good, bad, TABLE)
    apart = [alignment_miou(layouts, seen, TABLE)["miou"] for seen in (good, bad)]
    assert found["value"] == pytest.approx(apart[0]["value"] - apart[1]["value"]) and found["n"] == 40
    assert found["low"] > 0  # each difference is small beside how much images differ
    same = miou_difference(layouts, good, good, TABLE)
    assert same["value"] == same["low"] == same["high"] == 0
    assert miou_difference(layouts[:0], good[:0], bad[:0], TABLE)["value"] is None
    with pytest.raises(DataError, match="equal in shape"):
        miou_difference(layouts, good, bad[:2], TABLE)


def test_accuracy_counts_labeled_pixels():
    found = pixel_accuracy(LAYOUTS, SEEN, TABLE)
    assert found["value"] == pytest.approx(8 / 10) and found["n"] == 2  # 4 of 5 and 4 of 5; two pixels are unlabeled


def test_perfect_and_hopeless_alignment():
    perfect = alignment_miou(LAYOUTS, LAYOUTS, TABLE)["miou"]
    assert (perfect["value"], perfect["low"], perfect["high"]) == (1, 1, 1)
    assert alignment_miou(np.zeros((3, 2, 2), int), np.ones((3, 2, 2), int), TABLE)["miou"]["value"] == 0


def test_pixels_are_pooled_before_the_ratio():
    # road is right in the large share of one image and wrong in the small one of the other
    layouts, seen = np.zeros((2, 1, 4), int), np.array([[[0, 0, 0, 0]], [[0, 0, 0, 1]]])
    assert alignment_miou(layouts, seen, TABLE)["per_class"]["road"] == 7 / 8


def test_an_interval_draws_images_anew():
    # the referee sees the road in half of 200 images: a draw's IoU is its share of those
    layouts, seen = np.zeros((200, 2, 2), int), np.zeros((200, 2, 2), int)
    seen[::2] = 3
    found = alignment_miou(layouts, seen, TABLE)["miou"]
    assert found["value"] == 1 / 2
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.5 / 200**0.5, rel=0.1)


def test_nothing_labeled_has_no_score():
    void = np.full((2, 2, 2), 3)
    for layouts in (void, void[:0]):
        found = alignment_miou(layouts, layouts, TABLE)
        assert found["miou"] == found["miou_all"] == {"value": None, "low": None, "high": None, "n": len(layouts)}
        assert found["per_class"] == {"road": None, "car": None, "sky": None}


def test_a_table_without_an_unlabeled_class_counts_every_pixel():
    table = ClassTable("two", ("a", "b"), ((0, 0, 0), (1, 1, 1)))
    found = alignment_miou(np.array([[[0, 0, 1, 1]]]), np.array([[[0, 1, 1, 1]]]), table)
    assert found["per_class"] == {"a": 1 / 2, "b": 2 / 3}


def test_hundreds_of_images_take_a_moment():
    rng = np.random.default_rng(0)
    layouts = rng.integers(0, 4, (256, 32, 64)).astype(np.uint8)
    start = time.perf_counter()
    alignment_miou(layouts, layouts[::-1], TABLE)
    assert time.perf_counter() - start < 3  # 0.1 s on an idle core


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: confusion(LAYOUTS, SEEN[:1], 4), "equal in shape"),
        (lambda: confusion(LAYOUTS, SEEN, 3), r"outside 0\.\.2"),
        (lambda: alignment_miou(LAYOUTS[0], SEEN[0], TABLE), "equal in shape"),
        (lambda: alignment_miou(LAYOUTS, SEEN + 1, TABLE), r"outside 0\.\.3"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_a_difference_of_pairs_is_that_of_their_means_and_of_nobody_is_zero():
    ours, theirs = (LAYOUTS, SEEN), (LAYOUTS, LAYOUTS)
    found = pair_miou_difference(ours, theirs, TABLE)
    assert found["value"] == pytest.approx(alignment_miou(*ours, TABLE)["miou"]["value"] - 1)
    assert found["low"] <= found["value"] <= found["high"] and found["n"] == 2
    assert pair_miou_difference(ours, ours, TABLE) == {"value": 0, "low": 0, "high": 0, "n": 2}
    with pytest.raises(DataError, match="equally many images on both sides, got 2 and 1"):
        pair_miou_difference(ours, (LAYOUTS[:1], SEEN[:1]), TABLE)
