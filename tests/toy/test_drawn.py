"""Streets drawn on the fly for a referee: the promised seeds, none of them a scene of a generated world."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gcdp.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_ID
from gcdp.data.images import resize_pair
from gcdp.data.pairs import build_store
from gcdp.errors import ConfigError, DataError
from gcdp.toy.on_the_fly import FIRST_SEED, DrawnStreets
from gcdp.toy.streets.picture import draw_scene
from gcdp.toy.streets.world import generate
from gcdp.toy.tree import SPLITS

PROFILES = sorted((Path(__file__).resolve().parents[2] / "params").glob("*.yaml"))


def entropy(*words: int) -> tuple[int, ...]:
    """The state that a scene's dice are made from: 128 bits."""
    return tuple(np.random.SeedSequence(words).generate_state(4))


@pytest.mark.parametrize(("first", "key"), [(FIRST_SEED, "000000"), (FIRST_SEED, "000017"), (5, "000002")])
def test_key_i_is_the_scene_of_seed_first_plus_i(first, key):
    source = DrawnStreets(18) if first == FIRST_SEED else DrawnStreets(18, first)
    assert FIRST_SEED == 10_000_000
    drawn, labels = draw_scene(first + int(key), (128, 256))
    image, layout = source.load("referee", key)
    assert image.mode == "RGB" and image.size == (256, 128)
    np.testing.assert_array_equal(np.asarray(image), drawn)
    assert layout.dtype == np.uint8 and layout.shape == (128, 256)
    np.testing.assert_array_equal(layout, np.array(CITYSCAPES_TRAIN_ID)[labels])


def test_it_is_a_source_and_fills_a_store(tmp_path):
    source = DrawnStreets(3)
    assert source.splits() == ["referee"] and source.classes is CITYSCAPES
    assert source.keys("referee") == ["000000", "000001", "000002"] and source.captions("referee", "000000") is None
    store = build_store(pickle.loads(pickle.dumps(source)), "referee", (32, 64), tmp_path / "pairs")
    assert store.captions is None and store.split == "referee" and store.classes == CITYSCAPES
    for position, key in enumerate(store.keys):
        image, layout = resize_pair(*source.load("referee", key), (32, 64))
        np.testing.assert_array_equal(store.images[position], image)
        np.testing.assert_array_equal(store.layouts[position], layout)


def test_keys_are_sorted_however_many():
    keys = DrawnStreets(1_000_001).keys("referee")
    assert keys[:2] == ["0000000", "0000001"] and keys[-1] == "1000000"
    assert keys == sorted(keys) and len(set(keys)) == 1_000_001


def test_no_scene_is_one_of_a_generated_world():
    """Of the states themselves, for every split of worlds 0 and 1 far beyond their profiles' counts."""
    drawn = {entropy(FIRST_SEED + i) for i in range(5000)}
    worlds = {entropy(seed, split, i) for seed in (0, 1) for split in SPLITS.values() for i in range(2000)}
    assert len(drawn) == 5000 and len(worlds) == 2 * len(SPLITS) * 2000
    assert not drawn & worlds


def test_the_one_way_to_meet_is_a_world_of_the_same_seed(tmp_path):
    """Seed sequences end in zeros that are not written: (s) is (s, 0, 0), the first training scene of world s."""
    assert entropy(FIRST_SEED) == entropy(FIRST_SEED, SPLITS["train"], 0)
    assert entropy(2**32) == entropy(0, SPLITS["val"])  # hence the limit of 32 bits
    generate(tmp_path, {"train": 1}, seed=FIRST_SEED)
    path = next(tmp_path.glob("gtFine/train/*/*labelIds.png"))
    layout = DrawnStreets(1).load("referee", "000000")[1]
    np.testing.assert_array_equal(np.array(CITYSCAPES_TRAIN_ID)[np.asarray(Image.open(path))], layout)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_no_profile_generates_such_a_world(profile):
    domains = yaml.safe_load(profile.read_text(encoding="utf-8")).get("domains", {})
    assert all(domain.get("seed", 0) < FIRST_SEED for domain in domains.values())


@pytest.mark.parametrize("arguments", [(1, -1), (2, 2**32 - 1), (2**32,)])
def test_seeds_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError, match=r"leave the range 0 to 4294967295: choose another first_seed or a smaller"):
        DrawnStreets(*arguments)
    assert DrawnStreets(1, 2**32 - 1).keys("referee") == ["000000"]


def test_other_mistakes_are_named():
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        DrawnStreets(0)
    source = DrawnStreets(2)
    for call in (lambda: source.keys("train"), lambda: source.load("train", "000000")):
        with pytest.raises(DataError, match="drawn streets have no split 'train': use 'referee'"):
            call()
    for key in ("000002", "-1", "first"):
        with pytest.raises(DataError, match=f"there is no drawn street '{key}': use one of 0 to 1"):
            source.load("referee", key)
