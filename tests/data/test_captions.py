"""Captions: form, completeness, the way back to classes, mirror images, the captions file."""

import errno
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcdp.data.captions import (
    caption_of,
    caption_with,
    classes_in_caption,
    mirror_caption,
    read_captions,
    with_mirrors,
    write_captions,
)
from gcdp.data.classes import CITYSCAPES, ClassTable
from gcdp.errors import ConfigError, DataError

FACE_NAMES = ("background", "left eye", "right eye", "left ear", "right ear", "earring", "neck", "necklace")
FACES = ClassTable("faces", FACE_NAMES, ((0, 0, 0),) * 8, twins=((1, 2), (3, 4)))


def test_form_of_the_listing():
    expected = "An image of an urban street view with Buildings, Fences, Roads and Cars."
    assert caption_with([2, 4, 0, 13], CITYSCAPES) == expected
    assert caption_with([2, 4], CITYSCAPES) == "An image of an urban street view with Buildings and Fences."
    assert caption_with([2], CITYSCAPES) == "An image of an urban street view with Buildings."
    assert caption_with([], CITYSCAPES) == "An image of an urban street view."


@pytest.mark.parametrize("table", [CITYSCAPES, FACES], ids=lambda table: table.name)
@given(data=st.data())
def test_caption_names_exactly_the_classes_of_the_layout(table, data):
    present = data.draw(st.sets(st.integers(0, table.num_classes - 1), min_size=1))
    seed = data.draw(st.integers(0, 2**32))
    layout = np.array(sorted(present), dtype=np.uint8)[None]
    caption = caption_of(layout, table, np.random.default_rng(seed))
    assert classes_in_caption(caption, table) == sorted(present - {table.unlabeled})
    assert "nlabeled" not in caption


def test_order_is_random_but_seeded():
    layout = np.arange(19, dtype=np.uint8)[None]
    captions = [caption_of(layout, CITYSCAPES, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert captions[0] == captions[1] != captions[2]


def test_names_and_case_of_a_user_are_understood():
    assert classes_in_caption("a person on a bicycle beside a TRAFFIC LIGHT", CITYSCAPES) == [6, 11, 18]
    assert classes_in_caption("nothing known, no cartwheels", CITYSCAPES) == []
    assert classes_in_caption("with a necklace and a left ear", FACES) == [3, 7]


def test_words_of_the_template_are_no_classes():
    table = replace(CITYSCAPES, template="A road seen by car with {classes}.")
    caption = caption_with([10], table)
    assert classes_in_caption(caption, table) == [10]


def test_mirrored_captions_swap_sides():
    caption = "An image with left eye, neck and right ear."
    assert mirror_caption(caption, FACES) == "An image with right eye, neck and left ear."
    assert mirror_caption("Left eye and neck", FACES) == "Right eye and neck"
    assert mirror_caption("left", CITYSCAPES) == "left"
    assert with_mirrors([["a left eye", "neck"], ["neck"]], FACES) == ["a left eye", "neck", "a right eye"]


@given(st.lists(st.sampled_from(range(8)), unique=True))
def test_mirroring_twice_changes_nothing(present):
    caption = caption_with(present, FACES)
    assert mirror_caption(mirror_caption(caption, FACES), FACES) == caption


def store_of(layouts, captions=None):
    keys = [f"pair{index}" for index in range(len(layouts))]
    return SimpleNamespace(keys=keys, layouts=layouts, classes=CITYSCAPES, captions=captions)


def test_file_round_trip_depends_on_seed_and_pair_only(tmp_path):
    layouts = np.array([[[0, 1, 2]], [[3, 4, 19]], [[5, 6, 7]]], dtype=np.uint8)
    write_captions(store_of(layouts), tmp_path / "a.jsonl", per_pair=3, seed=7)
    captions = read_captions(tmp_path / "a.jsonl", keys=["pair0", "pair1", "pair2"])
    assert [len(group) for group in captions] == [3, 3, 3]
    assert all(classes_in_caption(caption, CITYSCAPES) == [3, 4] for caption in captions[1])
    write_captions(store_of(layouts[:2]), tmp_path / "b.jsonl", per_pair=3, seed=7)
    assert read_captions(tmp_path / "b.jsonl") == captions[:2]
    with pytest.raises(DataError, match="other pairs than the store"):
        read_captions(tmp_path / "b.jsonl", keys=["pair1", "pair0"])
    with pytest.raises(ConfigError, match="per_pair"):
        write_captions(store_of(layouts), tmp_path / "c.jsonl", per_pair=0)


def test_captions_of_the_source_are_kept(tmp_path):
    own = [["a blue road"], ["one", "two"]]
    write_captions(store_of(np.zeros((2, 1, 1), np.uint8), own), tmp_path / "a.jsonl", per_pair=5)
    assert read_captions(tmp_path / "a.jsonl") == own


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "3", json.dumps({"key": "a"}), json.dumps({"captions": ["x"]}),
     json.dumps({"key": "a", "captions": []}), json.dumps({"key": "a", "captions": "x"}),
     json.dumps({"key": "a", "captions": [" "]}), json.dumps({"key": 1, "captions": ["x"]})],
)  # fmt: skip
def test_malformed_lines_are_named(tmp_path, line):
    path = tmp_path / "captions.jsonl"
    path.write_text('{"key": "ok", "captions": ["x"]}\n' + line + "\n")
    with pytest.raises(DataError, match=r"captions\.jsonl line 2 is malformed"):
        read_captions(path)


def test_missing_empty_and_binary_files(tmp_path):
    path = tmp_path / "captions.jsonl"
    with pytest.raises(DataError, match="does not exist"):
        read_captions(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        read_captions(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_captions(path)


def test_a_failed_write_leaves_the_former_captions(tmp_path, monkeypatch):
    path, store = tmp_path / "a.jsonl", store_of(np.zeros((2, 1, 1), np.uint8))
    write_captions(store, path)
    before = path.read_bytes()

    def full(*args, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gcdp.data.captions.caption_of", full)
    with pytest.raises(DataError, match=r"disk full while writing .*a\.jsonl: free some space and run again"):
        write_captions(store, path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
