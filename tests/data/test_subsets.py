"""Subsets of a store are nested and reproducible; attributes travel from the source to the batch."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gcdp.data.attributes import AttributeTable
from gcdp.data.augmentation import Augmentation
from gcdp.data.batches import collate
from gcdp.data.captions import read_captions, write_captions
from gcdp.data.classes import CELEBA
from gcdp.data.pairs import PairDataset, PairStore, build_store, draw_subset
from gcdp.errors import ConfigError, DataError


class Faces:
    """Six pairs in memory with two attributes each."""

    classes = CELEBA
    attribute_table = AttributeTable.of(["Bangs", "No_Beard"])

    def splits(self):
        return ["train"]

    def keys(self, split):
        return [f"{index:05d}" for index in range(6)]

    def load(self, split, key):
        layout = np.random.default_rng(int(key)).integers(0, 19, (8, 8), dtype=np.uint8)
        return Image.fromarray(np.stack([layout * 10] * 3, axis=-1)), layout

    def captions(self, split, key):
        return [f"face {int(key)} line {line}" for line in range(3)]

    def attributes(self, split, key):
        return (int(key) % 2, 1)


class Plain(Faces):
    """The same pairs of a source that knows no attributes."""

    attribute_table = None


CAPTIONS = [[f"first {index}", f"second {index}"] for index in range(6)]


@pytest.fixture
def store(tmp_path):
    return build_store(Faces(), "train", (8, 8), tmp_path / "train", Augmentation().rescale)


def test_pinned_subset():
    assert draw_subset(100, 8, seed=0).tolist() == PINNED
    assert draw_subset(100, 8, seed=1).tolist() != PINNED


PINNED = [8, 31, 64, 68, 88, 91, 96, 97]


@given(length=st.integers(1, 200), seed=st.integers(0, 2**32), data=st.data())
def test_subsets_are_nested_sorted_rows(length, seed, data):
    large = data.draw(st.integers(1, length))
    small = data.draw(st.integers(1, large))
    outer, inner = draw_subset(length, large, seed), draw_subset(length, small, seed)
    assert outer.dtype == np.int64 and len(outer) == large and len(inner) == small
    assert set(inner) <= set(outer) <= set(range(length)) and (np.diff(outer) > 0).all()
    assert (draw_subset(length, length, seed) == np.arange(length)).all()


@pytest.mark.parametrize("count", [0, 11, -1])
def test_impossible_subsets_are_refused(count):
    with pytest.raises(ConfigError, match=f"subset of {count} pairs cannot be drawn from 10: ask for 1 to 10"):
        draw_subset(10, count, seed=0)


def test_items_of_a_subset_are_those_of_the_whole(store):
    whole = PairDataset(store, CAPTIONS, None, Augmentation(), seed=5)
    part = PairDataset(store, CAPTIONS, None, Augmentation(), seed=5, rows=np.array([1, 4]))
    assert len(whole) == 6 and len(part) == 2
    for position, row in ((0, 1), (1, 4)):
        for draw in range(4):
            one, other = part[(position, draw)], whole[(row, draw)]
            assert one["index"] == row and one["caption"] == other["caption"]
            assert torch.equal(one["x"], other["x"]) and torch.equal(one["y"], other["y"])
    assert pickle.loads(pickle.dumps(part)).rows.tolist() == [1, 4]


def test_rows_outside_the_store_are_refused(store):
    for rows in ([], [6], [-1, 2]):
        with pytest.raises(ConfigError, match=r"rows must be some of 0\.\.5"):
            PairDataset(store, CAPTIONS, rows=np.array(rows))


class Text(dict):
    folder = "cache"


def test_only_captions_of_the_subset_must_be_in_the_cache(store):
    cache = Text.fromkeys([*CAPTIONS[1], *CAPTIONS[4]])
    assert PairDataset(store, CAPTIONS, cache, rows=np.array([1, 4]))
    with pytest.raises(DataError, match="2 captions are missing"):
        PairDataset(store, CAPTIONS, cache, rows=np.array([1, 2, 4]))
    with pytest.raises(DataError, match="write the captions again"):
        PairDataset(store, CAPTIONS[:2], cache, rows=np.array([1]))


def test_store_keeps_attributes(store):
    assert store.attribute_table == Faces.attribute_table and store.attributes.dtype == np.uint8
    assert store.attributes.tolist() == [[index % 2, 1] for index in range(6)]
    assert isinstance(store.attributes, np.memmap) and not store.attributes.flags.writeable
    assert pickle.loads(pickle.dumps(store)).attributes.tolist() == store.attributes.tolist()
    store.verify()
    np.save(store.folder / "attributes.npy", 1 - np.array(store.attributes))
    with pytest.raises(DataError, match=r"attributes\.npy has changed"):
        PairStore.open(store.folder).verify()


def test_store_without_attributes(tmp_path):
    store = build_store(Plain(), "train", (8, 8), tmp_path / "plain")
    assert store.attributes is None and store.attribute_table is None
    assert not (store.folder / "attributes.npy").exists()
    index = json.loads((store.folder / "index.json").read_text())
    assert "attributes" not in index and list(index["files"]) == ["images.npy", "layouts.npy"]
    assert set(PairDataset(store, CAPTIONS)[(0, 0)]) == {"x", "y", "caption", "index"}


def test_attributes_reach_the_batch(store):
    dataset = PairDataset(store, CAPTIONS, None, Augmentation())
    batch = collate([dataset[(index, 0)] for index in (1, 2, 5)])
    assert batch["attributes"].dtype == torch.float32
    assert batch["attributes"].tolist() == [[1, 1], [0, 1], [1, 1]]


@pytest.mark.parametrize("row", [(1,), (1, 2), (1, -1)])
def test_attributes_that_do_not_fit_their_table_are_refused(tmp_path, row):
    source = Faces()
    source.attributes = lambda split, key: row
    with pytest.raises(DataError, match="train/00000 needs 2 attributes of 0 or 1"):
        build_store(source, "train", (8, 8), tmp_path / "train")
    assert list(tmp_path.iterdir()) == []


def test_damaged_attributes_are_refused(store):
    path = store.folder / "index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"attributes": {"name": "x"}}))
    with pytest.raises(DataError, match=r"index\.json: attribute table is malformed"):
        PairStore.open(store.folder)
    path.write_text(json.dumps(index | {"attributes": AttributeTable.of(["Bangs"]).to_dict()}))
    with pytest.raises(DataError, match=r"attributes\.npy holds uint8 \(6, 2\)"):
        PairStore.open(store.folder)


def test_at_most_per_pair_captions_of_the_source_are_used(store, tmp_path):
    for per_pair, count in ((1, 1), (2, 2), (5, 3), (0, 3)):
        write_captions(store, tmp_path / "captions.jsonl", per_pair=per_pair)
        captions = read_captions(tmp_path / "captions.jsonl", store.keys)
        assert captions == [group[:count] for group in store.captions]
