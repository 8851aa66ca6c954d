"""Real photographs of faces: classes, captions, and the side on which the person's left lies."""

import numpy as np
import pytest

from gcdp.data.augmentation import mirror_pair
from gcdp.data.captions import caption_of, classes_in_caption
from gcdp.data.classes import CELEBA
from gcdp.data.sources import open_source


@pytest.fixture(scope="module")
def source(real_data):
    return open_source("folder", real_data / "faces")


@pytest.fixture(scope="module")
def pairs(source):
    """The first forty pairs of the validation split: image uint8 (H, W, 3) and layout."""
    loaded = [source.load("val", key) for key in source.keys("val")[:40]]
    return [(np.asarray(image), layout) for image, layout in loaded]


def test_classes_and_twins(source):
    assert source.splits() == ["train", "val", "test"]
    table = source.classes
    assert table.num_classes == 19 and table.unlabeled is None
    assert table.names == CELEBA.names and table.colors == CELEBA.colors
    assert table.twins == ((4, 5), (6, 7), (8, 9)) == CELEBA.twins


def test_captions_name_the_parts_of_a_face(source, pairs):
    for number, (_, layout) in enumerate(pairs):
        caption = caption_of(layout, source.classes, np.random.default_rng(number))
        assert classes_in_caption(caption, source.classes) == np.unique(layout).tolist()


def sides(layout, twins):
    """For each pair of twins that is whole: does the left one's center lie at the right of the other's?"""
    centers = [[np.nonzero(layout == index)[1] for index in pair] for pair in twins]
    return [bool(left.mean() > right.mean()) for left, right in centers if len(left) and len(right)]


def test_the_left_of_the_person_stays_at_the_right_of_the_picture(source, pairs):
    """About 7 % of these faces have all twins exchanged; lettering behind some of them runs backwards, so they look
    like pictures mirrored before without the exchange. Our mirror keeps whatever convention a face has."""
    persons_left, checked = 0, 0
    for image, layout in pairs:
        before = sides(layout, source.classes.twins)
        assert sides(mirror_pair(image, layout, source.classes)[1], source.classes.twins) == before
        assert len(set(before)) <= 1
        persons_left, checked = persons_left + all(before), checked + bool(before)
    # 86 to 94 % over the splits; under the other convention it would be near 7 %.
    assert checked >= 30 and persons_left >= 0.8 * checked


def test_mirrored_twice_is_the_pair_itself(source, pairs):
    image, layout = pairs[0]
    again = mirror_pair(*mirror_pair(image, layout, source.classes), source.classes)
    assert (again[0] == image).all() and (again[1] == layout).all()
