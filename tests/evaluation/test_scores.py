"""One evaluation point: every measure on its own input, and plain JSON at the end."""

import json

import numpy as np
import pytest

from gcdp.data.captions import caption_of, caption_with
from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.frechet import estimate, fsd, kernel_distance
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import RealReference, ceiling, score

TABLE = ClassTable("four", ("road", "car", "sky", "void"), ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), unlabeled=3)
RNG = np.random.default_rng(0)
ESTIMATES = ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet", "miou", "fsd")


def scenes(count, shares):
    return RNG.choice(4, p=shares, size=(count, 3, 4)).astype(np.uint8)


def reading(layouts, mean=0.0):
    return Reading(layouts, RNG.normal(mean, 1, (len(layouts), 5)).astype(np.float32))


LAYOUTS, SEEN = scenes(24, [0.5, 0.1, 0.3, 0.1]), scenes(24, [0.4, 0.2, 0.3, 0.1])
CAPTIONS = [caption_of(layout, TABLE, RNG) for layout in LAYOUTS]
GENERATED = reading(SEEN, mean=0.5)
REAL = RealReference(reading(scenes(30, [0.4, 0.1, 0.4, 0.1])), scenes(30, [0.3, 0.2, 0.4, 0.1]))


def test_a_point_is_plain_json_and_repeats():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert json.loads(json.dumps(point, allow_nan=False)) == point
    assert score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2) == point
    for name in ESTIMATES:
        assert set(point[name]) == {"value", "low", "high", "n"} and point[name]["n"] == 24
        assert point[name]["low"] <= point[name]["value"] <= point[name]["high"]


def test_every_measure_has_its_own_input():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert point["frechet"] == estimate(GENERATED.features, REAL.features)
    assert point["kid"] == {"value": kernel_distance(GENERATED.features, REAL.features)}
    assert point["fsd"] == fsd(LAYOUTS, REAL.layouts, 4) and point["fsd_of"] == "layouts"
    assert point["areas"]["road"] == (SEEN == 0).mean() and sum(point["areas"].values()) == pytest.approx(1)
    assert point["semantic_recall"]["value"] > point["semantic_recall_area"]["value"]
    recall, precision = (point[name]["value"] for name in ("semantic_recall_area", "precision"))
    assert point["f1"]["value"] == pytest.approx(2 * recall * precision / (recall + precision))
    assert point["minimum_area"] == 2


def test_classes_are_scored_one_by_one():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert list(point["per_class"]) == ["road", "car", "sky"]
    car = point["per_class"]["car"]
    named, seen = (LAYOUTS == 1).any((1, 2)), (SEEN == 1).sum((1, 2))
    assert car["n"] == named.sum()
    assert car["recall"] == (seen[named] >= 1).mean() and car["recall_area"] == (seen[named] >= 2).mean()
    assert car["precision"] == named[seen >= 2].mean()
    labeled = LAYOUTS != 3
    both = (LAYOUTS == 1) & (SEEN == 1)
    assert car["iou"] == both.sum() / (((LAYOUTS == 1) | (SEEN == 1)) & labeled).sum()


def test_at_one_pixel_both_recalls_agree():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 1)
    assert point["semantic_recall"] == point["semantic_recall_area"] and point["precision"] == point["precision_1px"]


def test_a_model_without_layouts_is_judged_by_its_images():
    point = score(GENERATED, None, CAPTIONS, TABLE, REAL, 2)
    assert point["miou"] == {"value": None, "low": None, "high": None, "n": 0}
    assert point["per_class"]["car"]["iou"] is None
    assert point["fsd"] == fsd(SEEN, REAL.reading.layouts, 4) and point["fsd_of"] == "referee"
    whole = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert {k for k in point if point[k] != whole[k]} == {"miou", "fsd", "fsd_of", "per_class"}


def test_unconditional_samples_have_no_recall():
    point = score(GENERATED, LAYOUTS, [""] * 24, TABLE, REAL, 2)
    assert point["semantic_recall"]["value"] is None and point["frechet"]["value"] > 0
    assert point["per_class"]["road"] == {**point["per_class"]["road"], "recall": None, "n": 0}


def test_the_ceiling_of_a_perfect_referee():
    real = reading(LAYOUTS)
    best = ceiling(real, CAPTIONS, LAYOUTS, TABLE, 2)
    assert list(best) == list(score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2))
    for name in ("semantic_recall", "precision_1px", "miou"):
        assert best[name]["value"] == 1 and best[name]["n"] == 24
    assert best["frechet"] == estimate(real.features[::2], real.features[1::2])
    assert best["frechet"]["n"] == best["fsd"]["n"] == 12
    assert json.loads(json.dumps(best, allow_nan=False)) == best


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: score(GENERATED, LAYOUTS, CAPTIONS[1:], TABLE, REAL, 1), "differ in number"),
        (lambda: score(GENERATED, LAYOUTS[1:], CAPTIONS, TABLE, REAL, 1), "differ in number"),
        (lambda: score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 0), "min_area"),
        (lambda: ceiling(GENERATED, CAPTIONS[1:], LAYOUTS, TABLE, 1), "differ in number"),
        (lambda: ceiling(reading(LAYOUTS[:2]), CAPTIONS[:2], LAYOUTS[:2], TABLE, 1), "at least two samples"),
        (lambda: RealReference(GENERATED, LAYOUTS[:3]), "one layout"),
        (lambda: RealReference(reading(LAYOUTS[:1]), LAYOUTS[:1]), "at least two real pairs"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_chance_holds_every_image_against_the_next_caption():
    judged = np.stack([np.full((3, 4), label, np.uint8) for label in (0, 1)])
    captions = [caption_with([label], TABLE) for label in (0, 1)]  # each image shows its own class and nothing else
    point = score(reading(judged), None, captions, TABLE, REAL, 1)
    assert point["f1"]["value"] == 1 and point["chance"]["f1"]["value"] == 0
    alike = score(reading(judged), None, captions[:1] * 2, TABLE, REAL, 1)
    assert alike["chance"] == {name: alike[name] for name in alike["chance"]}
