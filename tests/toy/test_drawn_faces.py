"""Faces drawn on the fly for a referee: the promised seeds, with captions and attributes."""

import pickle

import numpy as np
import pytest
from PIL import Image

from gcdp.data.attributes import attribute_values
from gcdp.data.classes import CELEBA
from gcdp.data.images import resize_pair
from gcdp.data.pairs import build_store
from gcdp.data.sources.celeba import merge_parts
from gcdp.errors import ConfigError, DataError
from gcdp.toy.faces.face import draw_face
from gcdp.toy.faces.person import COLUMNS
from gcdp.toy.on_the_fly import FIRST_SEED, DrawnFaces


@pytest.mark.parametrize(("first", "key"), [(FIRST_SEED, "000000"), (FIRST_SEED, "000017"), (5, "000002")])
def test_key_i_is_the_face_of_seed_first_plus_i(first, key):
    source = DrawnFaces(18) if first == FIRST_SEED else DrawnFaces(18, first)
    face = draw_face(first + int(key))
    image, layout = source.load("referee", key)
    assert image.mode == "RGB" and image.size == (64, 64)
    reduced = Image.fromarray(face.image).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(reduced))
    assert layout.dtype == np.uint8 and layout.shape == (64, 64)
    np.testing.assert_array_equal(layout, merge_parts(face.parts, (64, 64)))
    assert source.captions("referee", key) == face.captions
    assert source.attributes("referee", key) == attribute_values(COLUMNS, list(face.attributes.values()))


def test_it_is_a_source_and_fills_a_store(tmp_path):
    source = DrawnFaces(3)
    assert source.splits() == ["referee"] and source.classes is CELEBA
    assert source.attribute_table.num_attributes == 20 and "Beard" in source.attribute_table.names
    store = build_store(pickle.loads(pickle.dumps(source)), "referee", (32, 32), tmp_path / "pairs")
    assert store.classes == CELEBA and store.attribute_table == source.attribute_table
    for position, key in enumerate(store.keys):
        image, layout = resize_pair(*source.load("referee", key), (32, 32))
        np.testing.assert_array_equal(store.images[position], image)
        np.testing.assert_array_equal(store.layouts[position], layout)
        assert tuple(store.attributes[position].tolist()) == source.attributes("referee", key)


def test_callers_cannot_change_a_face_that_is_kept():
    source = DrawnFaces(1)
    source.captions("referee", "000000").clear()
    assert len(source.captions("referee", "000000")) == 10


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        DrawnFaces(0)
    with pytest.raises(ConfigError, match="leave the range 0 to 4294967295"):
        DrawnFaces(1, 2**32)
    source = DrawnFaces(2)
    for call in (source.load, source.captions, source.attributes):
        with pytest.raises(DataError, match="drawn faces have no split 'train': use 'referee'"):
            call("train", "000000")
        with pytest.raises(DataError, match="there is no drawn face '000002': use one of 0 to 1"):
            call("referee", "000002")
