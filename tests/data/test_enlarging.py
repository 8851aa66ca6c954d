"""Pairs twice as large with the smaller ones of the same place: crops fit, are mirrored together, and are refused."""

import numpy as np
import pytest
import torch
from worlds.tiny import SIZE, TABLE, Scenes, large_world

from gcdp.data.batches import collate
from gcdp.data.enlarging import EnlargingDataset
from gcdp.data.pairs import PairDataset, build_store
from gcdp.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The tiny world at twice its size, with its own pairs as `low`."""
    return large_world(tmp_path_factory.mktemp("enlarging"))


def test_whole_pairs_stand_beside_the_stored_ones(place):
    item = place.dataset(augment=False)[(3, 0)]
    assert item["x"].shape == (3, 16, 32) and item["low_x"].shape == (3, *SIZE)
    assert np.array_equal(item["y"], place.store.layouts[3]) and np.array_equal(item["low_y"], place.low.layouts[3])
    small = PairDataset(place.low, place.captions, place.text)[(3, 0)]
    assert torch.equal(item["low_x"], small["x"]) and item["caption"] == small["caption"]


def test_crops_show_the_same_place_at_both_sizes_and_are_mirrored_together(place):
    pairs, seen, mirrored = place.dataset(crop=(8, 12)), set(), 0
    for draw in range(40):
        item = pairs[(5, draw)]
        y, low = item["y"].numpy(), item["low_y"].numpy()
        assert y.shape == (8, 12) and low.shape == (4, 6) and item["low_x"].shape == (3, 4, 6)
        flipped = TABLE.swap_twins(place.store.layouts[5][:, ::-1])
        corners = [
            (bool(turned), top, left)
            for turned, whole in enumerate((place.store.layouts[5], flipped))
            for top in range(0, 9, 2) for left in range(0, 21, 2)
            if np.array_equal(whole[top : top + 8, left : left + 12], y)
        ]  # fmt: skip
        small = place.low.layouts[5]
        fits = [
            (turned, top, left)
            for turned, top, left in corners
            if np.array_equal(
                (TABLE.swap_twins(small[:, ::-1]) if turned else small)[top // 2 :, left // 2 :][:4, :6], low
            )
        ]
        assert fits
        seen.add(item["y"].numpy().tobytes())
        mirrored += all(turned for turned, *_ in fits)
    assert len(seen) > 5 and 5 < mirrored < 35


def test_items_depend_on_seed_row_and_draw_and_the_crop_is_part_of_the_fingerprint(place):
    one, same, other = (place.dataset(crop=(8, 8), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one[(0, 4)]["x"], same[(0, 4)]["x"]) and one.fingerprint == same.fingerprint
    assert other.fingerprint != one.fingerprint
    prints = {place.dataset(crop=crop).fingerprint for crop in ((8, 8), (8, 16), None)}
    small = PairDataset(place.low, place.captions, place.text)
    assert len(prints | {small.fingerprint}) == 4


def test_a_batch_holds_both_sizes(place):
    pairs = place.dataset(crop=(8, 8))
    batch = collate([pairs[(i, 0)] for i in range(3)], place.text)
    assert batch["x"].shape == (3, 3, 8, 8) and batch["low_x"].shape == (3, 3, 4, 4)
    assert batch["low_y"].shape == (3, 4, 4) and batch["low_y"].dtype == torch.int64


@pytest.mark.parametrize("crop", [(7, 8), (18, 8), (0, 8)])
def test_crops_that_do_not_fit_are_refused(place, crop):
    with pytest.raises(ConfigError, match=r"crop \[.*\] must be even and at most \[16, 32\]"):
        place.dataset(crop=crop)


@pytest.mark.parametrize("count, size", [(2, SIZE), (12, (16, 32))])
def test_other_pairs_or_sizes_are_refused(place, tmp_path, count, size):
    low = build_store(Scenes(count), "train", size, tmp_path / "pairs")
    with pytest.raises(DataError, match=r"must hold the pairs of .* at half the size, \[8, 16\]: build both"):
        EnlargingDataset(place.store, place.captions, low=low)
