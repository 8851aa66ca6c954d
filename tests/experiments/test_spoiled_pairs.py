"""Referees on spoiled real pairs: every spoiling is measured, against what the pairs show and not what captions say."""

from types import SimpleNamespace

import numpy as np
import pytest
from worlds import tiny

from gcdp.data.attributes import AttributeTable
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.readability import SPOILINGS, measure_spoiled
from gcdp.experiments.referees import Referees

N = 12
LAYOUTS = np.stack([np.full(tiny.SIZE, label, np.uint8) for label in (0, 1, 2) * (N // 3)])
ATTRIBUTES = np.array([[i % 2, 1, i % 3 == 0] for i in range(N)], np.uint8)
TABLE = AttributeTable.of(("Smiling", "Male", "Bangs"))  # Male is named by no wording


class Reader:
    """Sees label and attributes where an image is as dark and as smooth as it was drawn."""

    table = TABLE

    def read(self, images):
        intact = images.reshape(len(images), -1).std(1) < 3
        layouts = np.where(intact[:, None, None], images[..., 0] // 40, 0).astype(np.uint8)
        return Reading(layouts, images.reshape(len(images), -1)[:, :2].astype(np.float32))

    def present(self, images):
        return (ATTRIBUTES > 0) & (images.reshape(len(images), -1).std(1) < 5)[:, None]


@pytest.fixture(scope="module")
def world():
    images = np.repeat(40 * LAYOUTS[..., None], 3, -1)
    return HeldOut(images, LAYOUTS, ["a face"] * N, [str(i) for i in range(N)], tiny.TABLE, ATTRIBUTES)


@pytest.fixture(scope="module")
def rows(world):
    scores = np.full(N, 7.0, np.float32)
    scorer = SimpleNamespace(name="stub", score_with_others=lambda images, captions: (scores, scores))
    features = Reader().read(world.images).features
    found = measure_spoiled(Referees(Reader(), Reader(), scorer), world, features, 2, N // 2)
    return {row["name"]: row for row in found}


def test_the_first_row_is_the_ceiling_at_this_number_of_pairs(rows):
    assert list(rows) == list(SPOILINGS) and {row["n"] for row in rows.values()} == {N}
    clean = rows["as they are"]
    assert clean["frechet_all"]["value"] == pytest.approx(0, abs=1e-6)
    assert clean["frechet"]["value"] > 0 and clean["frechet"]["n"] == N // 2
    assert [clean[key]["value"] for key in ("recall", "precision", "f1", "j")] == [1, 1, 1, 1]
    assert clean["attribute_recall"]["value"] == clean["attribute_j"]["value"] == 1
    assert clean["alignment"]["value"] == 7


def test_what_a_referee_loses_shows_as_far_as_it_is_lost(rows):
    assert rows["noise 4"]["j"]["value"] < 0.9 and rows["noise 4"]["attribute_j"]["value"] == 1
    assert rows["noise 16"]["attribute_j"]["value"] < 0.5 and rows["noise 16"]["attribute_recall"]["value"] < 0.5
    assert rows["noise 64"]["frechet"]["value"] > rows["noise 8"]["frechet"]["value"] > 0
    assert rows["blur 5"]["j"]["value"] == rows["contrast 0.5"]["j"]["value"] == 1  # these images are uniform


def test_referees_that_are_not_there_add_nothing(world):
    (first, *_) = measure_spoiled(Referees(Reader()), world, Reader().read(world.images).features, 2, N)
    assert list(first) == ["name", "n", "frechet", "frechet_all", "recall", "precision", "f1", "j"]
