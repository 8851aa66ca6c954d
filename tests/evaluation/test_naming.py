"""Effect of naming a label: swaps differ in it alone, an oracle scores 1 and a deaf generator 0. All from seed 0."""

import numpy as np
import pytest

from gcdp.data.attributes import AttributeTable, attributes_in_caption
from gcdp.data.captions import caption_with, classes_in_caption
from gcdp.data.classes import CITYSCAPES
from gcdp.data.face_captions import contradictions, foreign_to, sex_in_caption
from gcdp.errors import DataError
from gcdp.evaluation.correspondence import label_weights, named_matrix, seen_matrix
from gcdp.evaluation.naming import Swaps, effect, plan_swaps, seen_labels
from gcdp.toy.faces.face import Drawing
from gcdp.toy.faces.person import COLUMNS

RNG = np.random.default_rng(0)
SHARES = np.array([1, 0.9, 1, 0.3, 0.3, 1, 0.4, 0.6, 1, 0.4, 1, 0.5, 0.15, 1, 0.14, 0.15, 0.05, 0.13, 0.3])
STREETS = [
    caption_with(RNG.permutation(np.flatnonzero(RNG.random(19) < SHARES)).tolist(), CITYSCAPES) for _ in range(200)
]
FACES = [caption for seed in range(30) for caption in Drawing(seed).captions]
ATTRIBUTES = AttributeTable.of(COLUMNS)
WORLDS = {"streets": (STREETS, CITYSCAPES), "faces": (FACES, ATTRIBUTES)}


def labels_in(caption, table):
    read = classes_in_caption if table is CITYSCAPES else attributes_in_caption
    return set(read(caption, table))


@pytest.fixture(params=WORLDS)
def world(request):
    return WORLDS[request.param]


def test_the_versions_of_every_toy_caption_differ_in_one_label(world):
    captions, table = world
    swaps = plan_swaps(captions, table, len(captions), seed=0)
    assert len(swaps) == len(captions) * len(set(swaps.label.tolist()))
    for m, label in enumerate(swaps.label.tolist()):
        first, second = labels_in(swaps.with_label[m], table), labels_in(swaps.without_label[m], table)
        assert first - second == {label} and not second - first
        if table is CITYSCAPES:
            assert first | {label} == labels_in(captions[swaps.caption[m]], table) | {label}


def test_one_version_of_a_street_is_its_caption():
    swaps = plan_swaps(STREETS, CITYSCAPES, 40, seed=0)
    for row, label, first, second in zip(*swaps):
        named = label in classes_in_caption(STREETS[row], CITYSCAPES)
        assert (first if named else second) == STREETS[row] and first != second


def test_versions_of_a_face_name_nothing_that_contradicts():
    swaps, against = plan_swaps(FACES, ATTRIBUTES, 60, seed=0), contradictions(ATTRIBUTES)
    for row, label, caption, _ in zip(*swaps):
        named, before = (set(attributes_in_caption(text, ATTRIBUTES)) for text in (caption, FACES[row]))
        assert not against[np.ix_(sorted(named), sorted(named))].any()
        assert sex_in_caption(caption) in (sex_in_caption(FACES[row]), "")
        assert not named & foreign_to(ATTRIBUTES, sex_in_caption(FACES[row]))
        left_out = before - named - {label}
        assert named <= before | {label} and all(against[label, k] for k in left_out)


def test_every_label_with_a_weight_gets_its_full_number_of_different_captions(world):
    captions, table = world
    weighted = np.flatnonzero(label_weights(named_matrix(captions, table)))
    swaps = plan_swaps(captions, table, 25, seed=0)
    assert set(swaps.label.tolist()) == set(weighted.tolist())
    for label in weighted:
        rows = swaps.caption[swaps.label == label]
        assert len(rows) == len(set(rows.tolist())) == 25
    assert not swaps.repeat.any()


def test_captions_come_again_where_they_are_too_few_and_are_counted():
    swaps = plan_swaps(STREETS[:8], CITYSCAPES, 20, seed=0)
    for label in set(swaps.label.tolist()):
        rows, repeat = swaps.caption[swaps.label == label], swaps.repeat[swaps.label == label]
        assert len(rows) == 20 and sorted(repeat.tolist()) == sorted([0] * 8 + [1] * 8 + [2] * 4)
        assert len(set(zip(rows.tolist(), repeat.tolist(), strict=True))) == 20


def test_swaps_follow_from_their_seed(world):
    captions, table = world
    first, again, other = (plan_swaps(captions, table, 10, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.with_label != other.with_label


def test_without_labels_or_captions_there_is_nothing_to_swap():
    assert len(plan_swaps(["A street."] * 3, CITYSCAPES, 5, seed=0)) == 0
    assert len(plan_swaps(STREETS, CITYSCAPES, 0, seed=0)) == 0
    nothing = plan_swaps([], CITYSCAPES, 5, seed=0)
    found = effect(nothing, np.zeros(0), np.zeros(0), np.zeros(20))
    assert found["effect"] == {"value": None, "low": None, "high": None, "n": 0} and found["per_label"] == [None] * 20
    men = ["He has bangs.", "He has wavy hair.", "This man is smiling. She has lipstick."]  # a sex that nobody can tell
    lipstick = COLUMNS.index("Wearing_Lipstick")
    swaps = plan_swaps(men * 2, ATTRIBUTES, 5, seed=0)
    assert set(swaps.caption[swaps.label == lipstick].tolist()) <= {2, 5}


def drawn(captions, table):
    """What an oracle draws: exactly the classes that a caption names, as stripes of a layout; or its attributes."""
    named = named_matrix(captions, table)
    if table is not CITYSCAPES:
        return seen_matrix(named, table)
    layouts = np.full((len(captions), 4, 20), table.unlabeled, np.uint8)
    rows, columns = np.nonzero(named)
    layouts[rows, :, columns] = columns[:, None]
    return seen_matrix(layouts, table, 4)


def test_an_oracle_has_an_effect_of_one(world):
    captions, table = world
    swaps, weights = plan_swaps(captions, table, 30, seed=0), label_weights(named_matrix(captions, table))
    arms = (seen_labels(drawn(arm, table), swaps) for arm in (swaps.with_label, swaps.without_label))
    found = effect(swaps, *arms, weights)
    assert (found["effect"]["value"], found["effect"]["low"], found["effect"]["high"]) == (1, 1, 1)
    for label, weight in zip(found["per_label"], weights, strict=True):
        assert label == ({"value": 1.0, "with": 1.0, "without": 0.0, "n": 30} if weight else None)


def test_a_generator_that_ignores_its_text_has_none(world):
    captions, table = world
    swaps, weights = plan_swaps(captions, table, 30, seed=0), label_weights(named_matrix(captions, table))
    shown = RNG.random(len(swaps)) < 0.6  # equal noise, equal images
    found = effect(swaps, shown, shown, weights)
    assert [found["effect"][key] for key in ("value", "low", "high")] == [0, 0, 0]
    other = effect(swaps, shown, RNG.random(len(swaps)) < 0.6, weights)["effect"]  # other noise: 0 on average alone
    assert other["low"] < 0 < other["high"] and 0.05 < other["high"] - other["low"] < 0.4


def test_the_pooled_effect_weighs_labels_and_not_their_swaps():
    swaps = Swaps(np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1]), ["with"] * 4, ["without"] * 4)
    found = effect(swaps, np.array([1, 1, 0, 1]), np.array([0, 1, 0, 1]), np.array([0.1, 0.3]))
    assert found["effect"]["value"] == pytest.approx((0.1 * (1 / 3) + 0.3 * 0) / 0.4)
    assert found["effect"]["n"] == 3 and found["per_label"][1] == {"value": 0.0, "with": 1.0, "without": 1.0, "n": 1}
    assert found == effect(swaps, np.array([1, 1, 0, 1]), np.array([0, 1, 0, 1]), np.array([0.1, 0.3]))


def test_swaps_of_one_caption_move_together():
    """Ten swaps each of 20 captions that agree among themselves tell no more than 20 swaps."""
    unit, weights = np.repeat(np.arange(20), 10), np.ones(1)
    shown = np.repeat(np.arange(20) % 2, 10)
    many = Swaps(unit, np.zeros(200, np.int64), ["a"] * 200, ["b"] * 200)
    few = Swaps(np.arange(20), np.zeros(20, np.int64), ["a"] * 20, ["b"] * 20)
    wide, same = (effect(s, x, 0 * x, weights)["effect"] for s, x in ((few, np.arange(20) % 2), (many, shown)))
    assert wide == same and wide["n"] == 20


def test_defects_are_refused():
    swaps = plan_swaps(STREETS, CITYSCAPES, 1, seed=0)
    bits = np.ones(len(swaps))
    with pytest.raises(DataError, match="one number a swap"):
        effect(swaps, bits, bits[1:], np.ones(20))
    with pytest.raises(DataError, match="one weight for each label"):
        effect(swaps, bits, bits, np.ones(3))
