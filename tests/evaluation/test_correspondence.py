"""J: chance is 0 whatever images show, perfection is 1, and recall is the false-positive rate plus J. Seed 0."""

import numpy as np
import pytest
from worlds.tiny import TABLE
from worlds.tiny_attributes import TABLE as ATTRIBUTES

from gcdp.data.captions import caption_with
from gcdp.errors import DataError
from gcdp.evaluation.correspondence import correspondence, j_difference, label_weights, named_matrix, seen_matrix

RNG = np.random.default_rng(0)
SHARES = np.array([0.02, 0.05, 0.2, 0.5, 0.65, 0.7])
NAMED = RNG.permuted(np.arange(400)[:, None] < 400 * SHARES, axis=0)
WEIGHTS = label_weights(NAMED)


def test_labels_weigh_their_variance_and_the_rare_and_the_common_nothing():
    assert WEIGHTS == pytest.approx([0, 0.05 * 0.95, 0.16, 0.25, 0.65 * 0.35, 0])
    assert label_weights(np.zeros((0, 3), bool)).tolist() == [0, 0, 0]
    edges = np.arange(100)[:, None] < [3, 4, 66, 67]
    assert (label_weights(edges) > 0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_images_that_ignore_their_captions_score_nothing_however_much_they_show(share):
    many = [correspondence(NAMED, RNG.random(NAMED.shape) < share, WEIGHTS)["j"] for _ in range(40)]
    assert np.mean([found["low"] <= 0 <= found["high"] for found in many]) >= 0.85
    assert abs(np.mean([found["value"] for found in many])) < 0.02
    assert all(found["high"] - found["low"] < 0.2 and found["n"] == 400 for found in many)


def test_images_that_show_exactly_what_is_named_score_one():
    found = correspondence(NAMED, NAMED, WEIGHTS)
    assert [found[key]["value"] for key in ("j", "tpr", "fpr")] == [1, 1, 0]
    assert found["j"]["low"] == found["j"]["high"] == 1
    assert correspondence(NAMED, ~NAMED, WEIGHTS)["j"]["value"] == -1


def test_recall_is_the_false_positive_rate_plus_j():
    seen = (RNG.random(NAMED.shape) < 0.3) | (NAMED & (RNG.random(NAMED.shape) < 0.4))
    found = correspondence(NAMED, seen, WEIGHTS)
    for k, label in enumerate(found["per_label"]):
        assert label["recall"] == pytest.approx(seen[NAMED[:, k], k].mean())
        assert label["recall"] == pytest.approx(label["fpr"] + label["j"]) and label["n"] == NAMED[:, k].sum()
    assert found["j"]["value"] == pytest.approx(found["tpr"]["value"] - found["fpr"]["value"])
    assert found["j"]["low"] < found["j"]["value"] < found["j"]["high"]


def test_pooled_j_is_the_ratio_of_covariances_to_variances():
    seen = (RNG.random(NAMED.shape) < 0.3) | (NAMED & (RNG.random(NAMED.shape) < 0.4))
    used = WEIGHTS > 0
    named, shown = NAMED[:, used].astype(float), seen[:, used].astype(float)
    covariances = (named * shown).mean(0) - named.mean(0) * shown.mean(0)
    assert correspondence(NAMED, seen, WEIGHTS)["j"]["value"] == pytest.approx(covariances.sum() / named.var(0).sum())


def test_the_interval_covers_what_other_captions_would_have_given():
    """200 experiments of 100 captions each with J 0.5 by construction: about 95 % of the intervals hold it."""
    covered = []
    for _ in range(200):
        named = RNG.random((100, 4)) < 0.3
        seen = np.where(RNG.random(named.shape) < 0.5, named, RNG.random(named.shape) < 0.4)
        found = correspondence(named, seen, label_weights(named))["j"]
        covered.append(found["low"] <= 0.5 <= found["high"])
    assert np.mean(covered) > 0.89


def test_intervals_repeat():
    seen = RNG.random(NAMED.shape) < 0.5
    assert correspondence(NAMED, seen, WEIGHTS) == correspondence(NAMED, seen, WEIGHTS)


def test_labels_without_a_comparison_and_captions_without_a_label_are_undefined():
    found = correspondence(np.array([[True, False, True], [True, False, False]]), np.ones((2, 3)), np.ones(3))
    assert found["per_label"][:2] == [None, None] and found["per_label"][2]["j"] == 0
    assert found["j"]["value"] == 0  # of the one label that can be compared
    for named in (np.zeros((3, 2), bool), np.zeros((0, 2), bool)):
        nothing = correspondence(named, named, label_weights(named))
        assert nothing["j"] == {"value": None, "low": None, "high": None, "n": len(named)}


def test_bits_of_classes_and_attributes():
    sky, road = TABLE.labeled[:2]
    captions = [caption_with([sky], TABLE), caption_with([road, sky], TABLE), ""]
    named = named_matrix(captions, TABLE)
    assert [np.flatnonzero(row).tolist() for row in named] == [[sky], sorted([road, sky]), []]
    layouts = np.full((2, 3, 4), road, np.uint8)
    layouts[:, 0, 0] = sky
    layouts[1, 0, 1] = sky if TABLE.unlabeled is None else TABLE.unlabeled
    assert [np.flatnonzero(row).tolist() for row in seen_matrix(layouts, TABLE)] == [sorted([road, sky])] * 2
    assert not seen_matrix(layouts, TABLE, 3)[:, sky].any() and seen_matrix(layouts, TABLE, 3)[:, road].all()
    named = named_matrix(["This man is smiling, has a beard", "She wears a hat and no beard"], ATTRIBUTES)
    assert named.tolist() == [[True, False, False, True], [False, False, True, False]]
    probabilities = np.array([[0.9, np.nan, 0.5, 0.1]])
    assert seen_matrix(probabilities, ATTRIBUTES).tolist() == [[True, False, True, False]]
    assert seen_matrix(probabilities >= 0.5, ATTRIBUTES).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: seen_matrix(np.zeros((1, 2, 2), np.uint8), TABLE, 0), "min_area is 0"),
        (lambda: seen_matrix(np.zeros((2, 3)), ATTRIBUTES), "one column for each of the 4 attributes"),
        (lambda: correspondence(NAMED, NAMED[:3], WEIGHTS), "named and seen of one shape"),
        (lambda: correspondence(NAMED, NAMED, WEIGHTS[:2]), "L weights"),
        (lambda: label_weights(np.zeros(3, bool)), "one bit a caption and label"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_a_difference_of_j_is_paired():
    rng = np.random.default_rng(3)
    named = rng.random((200, 6)) < 0.3
    theirs = np.where(rng.random(named.shape) < 0.5, named, rng.random(named.shape) < 0.3)
    ours = np.where(rng.random(named.shape) < 0.5, named, theirs)
    weights = label_weights(named)
    found = j_difference(named, ours, theirs, weights)
    ends = [correspondence(named, seen, weights)["j"]["value"] for seen in (ours, theirs)]
    assert found["value"] == pytest.approx(ends[0] - ends[1]) and found["low"] > 0 and found["n"] == 200
    assert j_difference(named, ours, ours, weights) == {"value": 0, "low": 0, "high": 0, "n": 200}
    assert j_difference(named, ours, theirs, np.zeros(6))["value"] is None
