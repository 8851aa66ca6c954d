"""What several referees find together, by hand: stand-ins for networks that see what the test says they see."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import tiny

from gcdp.data.attributes import AttributeTable
from gcdp.errors import DataError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import RealReference, Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.referees import Readings, Referees

TABLE = AttributeTable.of(("Smiling", "Wearing_Hat", "Bangs", "Male"))  # Male is named by no wording
CAPTIONS = ["a hat, smiling", "bangs", "smiling", "a sky thing"]
PRESENT = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
# own captions 1 of 2, 1 of 1, 0 of 1, 0 of 0; by the other three images 3/3 of 2, 2/3 of 1, 2/3 of 1, 0 of 0
OWN, OTHERS = 2 / 4, 7 / 12
SCORES, OTHER_SCORES = np.array([30.0, 10.0, 20.0, 0.0]), np.array([4.0, 8.0, 0.0, 4.0])
READINGS = Readings(None, PRESENT, SCORES.astype(np.float32), OTHER_SCORES.astype(np.float32))
FOUND = Scores(
    {"miou": without_interval(0.5, 4), "f1": without_interval(0.5, 4)},
    {"f1": without_interval(0.25, 4)},
    {"sky": {"recall": 1.0, "precision": 0.5}},
)


class Reader:
    """Attributes as the first pixels of an image show them."""

    table = TABLE

    def present(self, images):
        return images[:, 0, :4, 0] > 0


class Counter:
    """Scores an image by its brightness times the words of its caption, and notes the captions."""

    name = "stub score"

    def __init__(self):
        self.asked = []

    def score_with_others(self, images, captions):
        self.asked.append(list(captions))
        scores = np.float32([[image[0, 0, 0] * len(c.split()) for c in captions] for image in images])
        return scores.diagonal(), (scores.sum(1) - scores.diagonal()) / (len(captions) - 1)


def segmenter():
    """A referee of layouts that sees the first channel."""
    return SimpleNamespace(read=lambda images: Reading(images[..., 0] % 5, images[:, 0, :2, 0].astype(np.float32)))


FULL = Referees(segmenter(), Reader(), Counter())


def test_each_referee_sees_all_images():
    counter, images = Counter(), np.zeros((3, 8, 16, 3), np.uint8)
    images[:, 0, 0] = np.array([1, 2, 3])[:, None]
    images[1, 0, 2] = 9
    readings = Referees(segmenter(), Reader(), counter).read(images, ["one", "two words", "now three words"])
    assert readings.present.tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]]
    assert readings.alignment.tolist() == [1, 4, 9] and readings.alignment_others.tolist() == [2.5, 4, 4.5]
    assert counter.asked == [["one", "two words", "now three words"]]
    assert readings.reading.layouts[1, 0, 2] == 4


def test_recall_and_score_stand_beside_their_chance():
    found = FULL.add(FOUND, READINGS, CAPTIONS)
    assert found.value("attribute_recall") == OWN and found.chance["attribute_recall"]["value"] == pytest.approx(OTHERS)
    assert found.value("alignment") == 15 and found.chance["alignment"]["value"] == 4
    assert found.above_chance("alignment") == 11 and found.label("alignment") == "stub score"
    assert all(found[name]["n"] == 4 for name in ("attribute_recall", "alignment"))
    for estimate in (found["attribute_recall"], found["alignment"]):
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert found["miou"] == FOUND["miou"] and found.has_attributes and not FOUND.has_attributes


def test_precision_of_classes_is_left_out_where_captions_name_attributes():
    found = FULL.add(FOUND, READINGS, CAPTIONS)
    assert "f1" not in found and "f1" not in found.chance
    assert found.per_class == {"sky": {"recall": 1.0, "precision": None}}
    without = Referees(segmenter(), None, Counter()).add(FOUND, READINGS, CAPTIONS)
    assert all(without[name] == FOUND[name] for name in ("f1", "miou")) and without.per_class == FOUND.per_class


def test_attributes_stand_one_by_one():
    found = FULL.add(FOUND, READINGS, CAPTIONS)
    each = {name: (estimate["value"], estimate["n"]) for name, estimate in found.per_attribute.items()}
    assert each == {"Smiling": (0.5, 2), "Wearing_Hat": (0, 1), "Bangs": (1, 1)}
    assert found["attribute_macro"] == without_interval(0.5, 3)


def test_what_was_found_before_is_left_as_it_was():
    before = json.dumps(FOUND.to_dict())
    FULL.add(FOUND, READINGS, CAPTIONS)
    assert before == json.dumps(FOUND.to_dict())


OF_ATTRIBUTES = {
    "attribute_recall", "attribute_recall_mean", "attribute_macro", "per_attribute", "labels", "groups", "j", "tpr",
    "fpr",
}  # fmt: skip


@pytest.mark.parametrize(
    ("referees", "added"),
    [
        (Referees(segmenter()), set()),
        (Referees(segmenter(), Reader()), OF_ATTRIBUTES),
        (Referees(segmenter(), None, Counter()), {"alignment", "alignment_name"}),
    ],
)
def test_nothing_is_added_for_a_referee_that_is_not_there(referees, added):
    readings = referees.read(np.zeros((4, 8, 16, 3), np.uint8), CAPTIONS)
    found = referees.add(FOUND, readings, CAPTIONS)
    assert set(found.to_dict()) - set(FOUND.to_dict()) == added
    assert set(found.chance) - {"f1"} == added & {"attribute_recall", "attribute_recall_mean", "alignment"}
    kept = {"attributes_shown", "attributes_named"} if referees.attributes else set()
    kept |= {"alignment", "captions"} if referees.alignment else set()
    assert set(referees.counts(readings, CAPTIONS)) == kept


def test_captions_that_name_no_attribute_leave_recall_undefined():
    found = FULL.add(FOUND, READINGS, ["sky"] * 4)
    assert not {"attribute_recall", "attribute_recall_mean", "attribute_macro", "j"} & {*found.measures, *found.chance}
    assert found.has_attributes and found.per_attribute["Smiling"]["value"] is None


def test_counts_of_every_caption_sum_to_the_scores():
    kept = FULL.counts(READINGS, CAPTIONS)
    assert kept["attributes_shown"].tolist() == [1, 1, 0, 0] and kept["attributes_named"].tolist() == [2, 1, 1, 0]
    assert kept["alignment"].tolist() == SCORES.tolist() and kept["captions"].tolist() == [1] * 4
    assert [kept[name].dtype for name in kept] == [np.uint8, np.uint8, np.float32, np.uint8]
    assert kept["attributes_shown"].sum() / kept["attributes_named"].sum() == OWN


def test_readings_for_other_captions_is_refused():
    with pytest.raises(DataError, match="need one row a caption"):
        FULL.add(FOUND, READINGS, CAPTIONS[:3])


def test_scores_are_those_of_classes_and_what_is_added():
    layouts = np.stack([np.full(tiny.SIZE, label, np.uint8) for label in (0, 1, 2, 0)])
    images = np.stack([layouts] * 3, -1)
    captions = ["a sky thing, smiling", "a road thing", "a left thing", "a road thing"]
    world = HeldOut(images, layouts, captions, list("abcd"), tiny.TABLE)
    referees = Referees(segmenter(), Reader())
    readings = referees.read(images, captions)
    found = referees.score(readings, layouts, world, RealReference(readings.reading, layouts), 2)
    assert found.value("semantic_recall") == 3 / 4 and found.minimum_area == 2 and found.value("miou") == 1
    assert found.value("attribute_recall") == 0  # the one smile that is named is a black image
    assert {"semantic_recall", "attribute_recall"} <= set(found.chance) and "alignment" not in found
    # J is that of attributes, none of which has a class in this table
    assert set(found.labels) == {"Smiling"} and "j" in found and "j_layouts" not in found
