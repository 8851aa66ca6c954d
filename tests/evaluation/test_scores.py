"""One evaluation point: every measure on its own input, and plain JSON at the end."""

import json

import numpy as np
import pytest

from gcdp.data.captions import caption_of, caption_with
from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.chance import of_others
from gcdp.evaluation.correspondence import correspondence, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.frechet import estimate, fsd, kernel_distance, kernel_estimate
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import RealReference, Scores, ceiling, score

TABLE = ClassTable("four", ("road", "car", "sky", "void"), ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), unlabeled=3)
RNG = np.random.default_rng(1)
ESTIMATES = (
    "semantic_recall", "semantic_recall_pooled", "semantic_recall_area", "semantic_recall_area_pooled", "precision",
    "precision_1px", "f1", "j", "j_layouts", "tpr", "fpr", "frechet", "miou", "miou_all", "fsd",
)  # fmt: skip


def scenes(count, shares):
    return RNG.choice(4, p=shares, size=(count, 3, 4)).astype(np.uint8)


def reading(layouts, mean=0.0):
    return Reading(layouts, RNG.normal(mean, 1, (len(layouts), 5)).astype(np.float32))


LAYOUTS, SEEN = scenes(24, [0.55, 0.05, 0.3, 0.1]), scenes(24, [0.5, 0.12, 0.28, 0.1])
CAPTIONS = [caption_of(layout, TABLE, RNG) for layout in LAYOUTS]
GENERATED = reading(SEEN, mean=0.5)
REAL = RealReference(reading(scenes(30, [0.4, 0.1, 0.4, 0.1])), scenes(30, [0.3, 0.2, 0.4, 0.1]))


def test_a_point_is_plain_json_and_repeats():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    plain = json.loads(json.dumps(point.to_dict(), allow_nan=False))
    assert plain == point.to_dict() and Scores.from_dict(plain) == point
    assert list(point.measures) == [key for key in MEASURES if key in (*ESTIMATES, "kid")]
    assert score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2) == point
    for name in ESTIMATES:
        assert set(point[name]) == {"value", "low", "high", "n"} and point[name]["n"] == 24
        assert point[name]["low"] <= point[name]["value"] <= point[name]["high"]


def test_every_measure_has_its_own_input():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert point["frechet"] == estimate(GENERATED.features, REAL.features)
    assert point["kid"] == kernel_estimate(GENERATED.features, REAL.features)
    assert point.value("kid") == kernel_distance(GENERATED.features, REAL.features)
    assert point["fsd"] == fsd(LAYOUTS, REAL.layouts, 4) and point.fsd_of == "layouts"
    assert point.areas["road"] == (SEEN == 0).mean() and sum(point.areas.values()) == pytest.approx(1)
    assert point["semantic_recall"]["value"] > point["semantic_recall_area"]["value"]
    recall, precision = (point.value(name) for name in ("semantic_recall_area_pooled", "precision"))
    assert point["f1"]["value"] == pytest.approx(2 * recall * precision / (recall + precision))
    assert point.minimum_area == 2 and point.label("f1") == "F1, from 2 pixels (calibrated)"


def test_recall_is_the_papers_mean_over_images_beside_the_pooled_one():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    for name, least in (("semantic_recall", 1), ("semantic_recall_area", 2)):
        named = np.stack([[word in caption for word in TABLE.names[:3]] for caption in CAPTIONS])
        shown = np.stack([(SEEN == k).sum((1, 2)) >= least for k in range(3)], 1) & named
        assert point.value(name) == pytest.approx((shown.sum(1) / named.sum(1)).mean())
        assert point.value(f"{name}_pooled") == pytest.approx(shown.sum() / named.sum())
        assert point.value(name) != point.value(f"{name}_pooled")


def test_classes_are_scored_one_by_one():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    assert list(point.per_class) == ["road", "car", "sky"]
    car = point.per_class["car"]
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


def test_a_model_without_layouts_is_scored_by_its_images():
    point = score(GENERATED, None, CAPTIONS, TABLE, REAL, 2)
    assert "miou" not in point and "miou_all" not in point and point.value("miou") is None
    assert point.per_class["car"]["iou"] is None
    assert point["fsd"] == fsd(SEEN, REAL.reading.layouts, 4) and point.fsd_of == "referee"
    whole = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    point, whole = point.to_dict(), whole.to_dict()
    assert {k for k in whole if point.get(k) != whole[k]} == {
        "miou", "miou_all", "j_layouts", "fsd", "fsd_of", "per_class"
    }  # fmt: skip


def test_unconditional_samples_have_no_recall():
    point = score(GENERATED, LAYOUTS, [""] * 24, TABLE, REAL, 2)
    assert "semantic_recall" not in point and "f1" in point and point["frechet"]["value"] > 0
    assert point.per_class["road"] == {**point.per_class["road"], "recall": None, "n": 0}
    free = point.without_text()
    assert set(free.measures) == {"frechet", "kid", "miou", "miou_all", "fsd"} and not free.chance


def test_the_ceiling_of_a_perfect_referee():
    real = reading(LAYOUTS)
    best = ceiling(real, CAPTIONS, LAYOUTS, TABLE, 2)
    assert list(best.to_dict()) == list(score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2).to_dict())
    assert best.value("j_layouts") == 1
    for name in ("semantic_recall", "precision_1px", "miou"):
        assert best[name]["value"] == 1 and best[name]["n"] == 24
    assert best["frechet"] == estimate(real.features[::2], real.features[1::2])
    assert best["frechet"]["n"] == best["fsd"]["n"] == 12
    assert Scores.from_dict(json.loads(json.dumps(best.to_dict(), allow_nan=False))) == best


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


def test_j_is_that_of_the_classes_that_are_seen_from_the_area_on():
    point = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2)
    named = named_matrix(CAPTIONS, TABLE)
    found = correspondence(named, seen_matrix(SEEN, TABLE, 2), label_weights(named))
    assert all(point[key] == found[key] for key in ("j", "tpr", "fpr"))
    assert point["j_layouts"]["value"] == 1  # captions name what these layouts hold
    for name, label in point.labels.items():
        assert label["recall"] == pytest.approx(point.per_class[name]["recall_area"])
        assert label["recall"] == pytest.approx(label["fpr"] + label["j"])
    assert point.correspondence_measure == "j" and point.above_chance("j") == point.value("j")
    assert "j" not in point.chance and not point.brief().labels


def test_chance_is_the_mean_over_every_other_caption():
    point, captions = score(GENERATED, LAYOUTS, CAPTIONS, TABLE, REAL, 2), np.array(CAPTIONS)
    shifts = [score(GENERATED, None, np.roll(captions, k).tolist(), TABLE, REAL, 2) for k in range(1, 24)]
    for key in ("semantic_recall", "semantic_recall_pooled", "semantic_recall_area", "precision", "f1"):
        assert point.chance[key]["value"] == pytest.approx(np.mean([each.value(key) for each in shifts]))
    assert of_others(np.array([1, 0, 1, 1])).tolist() == pytest.approx([2 / 3, 1, 2 / 3, 2 / 3])
    assert np.isnan(of_others(np.ones((1, 2)))).all()


def test_chance_of_two_images_is_that_of_each_others_captions():
    seen = np.stack([np.full((3, 4), label, np.uint8) for label in (0, 1)])
    captions = [caption_with([label], TABLE) for label in (0, 1)]  # each image shows its own class and nothing else
    point = score(reading(seen), None, captions, TABLE, REAL, 1)
    assert point["f1"]["value"] == 1 and point.chance["f1"]["value"] == 0
    assert point.above_chance("f1") == 1 and point.above_chance("frechet") is None
    alike = score(reading(seen), None, captions[:1] * 2, TABLE, REAL, 1)
    assert alike.chance == {name: alike[name] for name in alike.chance}


def test_an_unknown_measure_is_refused():
    with pytest.raises(DataError, match="unknown measures f2: make the record again"):
        Scores.from_dict({"f2": {"value": 1.0, "low": None, "high": None, "n": 1}})
