"""Stores, augmentation, batches: the same pairs whatever the interruption, the process or the worker."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.utils.data import DataLoader

from gcdp.data.augmentation import Augmentation
from gcdp.data.batches import EpochBatches
from gcdp.data.classes import ClassTable
from gcdp.data.pairs import PairDataset, PairStore, build_store, collate, resize_pair
from gcdp.data.sources import open_source
from gcdp.errors import ConfigError, DataError

TABLE = ClassTable("small", ("ground", "left", "right", "void"), ((0, 0, 0),) * 4, unlabeled=3, twins=((1, 2),))


class Source:
    """Six pairs in memory; the image's channels repeat the layout, so that misalignment shows."""

    classes = TABLE

    def __init__(self, size=(16, 32), fail_at=None):
        self.size, self.fail_at = size, fail_at

    def splits(self):
        return ["train"]

    def keys(self, split):
        return [f"pair{index}" for index in range(6)] if split == "train" else []

    def load(self, split, key):
        if key == self.fail_at:
            raise DataError(f"{key} is broken: replace it.")
        small = np.random.default_rng(int(key[-1])).integers(0, 4, (4, 4), dtype=np.uint8)
        layout = np.kron(small, np.ones((self.size[0] // 4, self.size[1] // 4), np.uint8))
        return Image.fromarray(np.stack([layout * 60] * 3, axis=-1)), layout

    def captions(self, split, key):
        return None


@pytest.fixture
def store(tmp_path):
    return build_store(Source(), "train", (8, 16), tmp_path / "train")


CAPTIONS = [[f"first {index}", f"second {index}"] for index in range(6)]


def test_store_holds_resized_pairs_in_key_order(store):
    assert len(store) == 6 and store.keys[2] == "pair2" and store.split == "train" and store.size == (8, 16)
    assert store.images.shape == (6, 8, 16, 3) and store.layouts.shape == (6, 8, 16)
    assert isinstance(store.images, np.memmap) and not store.images.flags.writeable
    assert store.classes == TABLE and store.captions is None
    image, layout = Source().load("train", "pair4")
    expected = resize_pair(image, layout, (8, 16))
    assert (store.images[4] == expected[0]).all() and (store.layouts[4] == expected[1]).all()
    store.verify()


def test_resizing_crops_to_the_aspect_ratio_around_the_center():
    layout = np.zeros((10, 30), np.uint8)
    layout[:, 10:20] = 1
    image = Image.fromarray(np.stack([layout * 200] * 3, axis=-1))
    pixels, labels = resize_pair(image, layout, (5, 5))
    assert pixels.shape == (5, 5, 3) and (labels == 1).all()
    assert (abs(pixels[:, 1:-1].astype(int) - 200) < 8).all()
    tall_pixels, tall_labels = resize_pair(image.rotate(90, expand=True), layout.T.copy(), (5, 5))
    assert (tall_labels == 1).all()
    assert (abs(tall_pixels[1:-1].astype(int) - 200) < 8).all()


def test_images_are_antialiased_layouts_are_not():
    checker = np.indices((32, 32)).sum(0).astype(np.uint8) % 2
    pixels, labels = resize_pair(Image.fromarray(np.stack([checker * 255] * 3, -1)), checker, (8, 8))
    assert abs(pixels.astype(int) - 128).max() < 12
    assert set(np.unique(labels)) <= {0, 1}


def test_interrupted_build_leaves_nothing_or_the_former_store(tmp_path):
    with pytest.raises(DataError, match="pair3 is broken"):
        build_store(Source(fail_at="pair3"), "train", (8, 16), tmp_path / "train")
    assert list(tmp_path.iterdir()) == []
    build_store(Source(), "train", (8, 16), tmp_path / "train")
    with pytest.raises(DataError):
        build_store(Source(fail_at="pair3"), "train", (4, 8), tmp_path / "train")
    assert PairStore.open(tmp_path / "train").size == (8, 16)
    assert build_store(Source(), "train", (4, 8), tmp_path / "train").size == (4, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_build_refuses_empty_splits_and_sizes(tmp_path):
    with pytest.raises(DataError, match="'val' is empty: add pairs, or choose one of train"):
        build_store(Source(), "val", (8, 16), tmp_path / "val")
    with pytest.raises(ConfigError, match="size"):
        build_store(Source(), "train", (0, 16), tmp_path / "train")


def spoil_index(**changes):
    def spoil(folder):
        path = folder / "index.json"
        index = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in index.items() if value != "drop"}))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), r"index\.json does not exist: build"),
        (lambda folder: (folder / "index.json").write_text("{"), "not readable JSON"),
        (lambda folder: (folder / "images.npy").unlink(), r"images\.npy is missing"),
        (
            lambda folder: (folder / "layouts.npy").write_bytes(b"x"),
            r"layouts\.npy is missing or not of the size",
        ),
        (spoil_index(version=0), "not of store version"),
        (spoil_index(keys="drop"), r"index\.json is incomplete"),
        (spoil_index(keys=["one"]), r"images\.npy holds uint8"),
        (spoil_index(classes={"name": "x"}), r"index\.json: class table is malformed"),
    ],
)
def test_damaged_stores_are_refused(store, spoil, message):
    spoil(store.folder)
    with pytest.raises(DataError, match=message):
        PairStore.open(store.folder)


def test_verify_finds_changed_pixels(store):
    path = store.folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images\.npy has changed"):
        PairStore.open(store.folder).verify()


@given(
    layout=arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 3)),
    seed=st.integers(0, 2**32),
    highest=st.floats(1, 3),
    crop=st.booleans(),
)
def test_augmentation_keeps_shapes_and_invents_no_class(layout, seed, highest, crop):
    image = np.stack([layout * 60] * 3, axis=-1)
    augmentation = Augmentation((1.0, highest), crop=crop)
    new_image, new_layout = augmentation(image, layout, np.random.default_rng(seed), TABLE)
    assert new_image.shape == image.shape and new_layout.shape == layout.shape
    assert new_image.dtype == new_layout.dtype == np.uint8
    twins = {1: 2, 2: 1}
    allowed = set(layout.ravel()) | {twins.get(index, index) for index in layout.ravel().tolist()}
    assert set(new_layout.ravel()) <= allowed


@pytest.mark.parametrize("axis", [0, 1])
def test_image_and_layout_move_together(axis):
    coordinate = np.indices((24, 32), dtype=np.uint8)[axis]
    image = np.stack([coordinate * 6] * 3, axis=-1)
    for seed in range(50):
        pixels, labels = Augmentation((1.0, 1.5))(image, coordinate, np.random.default_rng(seed))
        # The nearest label is at most half a pixel from where the interpolated pixel looked.
        assert np.abs(pixels[..., 0] / 6 - labels).max() <= 0.5 + 0.1


def test_without_options_nothing_changes_and_flips_swap_twins(store):
    still = Augmentation((1.0, 1.0), flip=False)
    image, layout = np.array(store.images[0]), np.array(store.layouts[0])
    same = still(image, layout, np.random.default_rng(0), TABLE)
    assert (same[0] == image).all() and (same[1] == layout).all()
    mirror = Augmentation((1.0, 1.0))
    views = [mirror.draw(layout.shape, np.random.default_rng(seed)) for seed in range(200)]
    assert 70 < sum(view.mirrored for view in views) < 130
    view = next(view for view in views if view.mirrored)
    flipped = mirror.apply(image, layout, view, TABLE)
    assert (flipped[0] == image[:, ::-1]).all() and (flipped[1] == TABLE.swap_twins(layout)[:, ::-1]).all()
    for wrong in ((0.5, 1.0), (1.2, 1.1), (1.0,)):
        with pytest.raises(ConfigError, match="rescale"):
            Augmentation(wrong)


def test_items_depend_on_seed_index_and_draw_only(store):
    dataset = PairDataset(store, CAPTIONS, None, Augmentation(), seed=5)
    again = PairDataset(store, CAPTIONS, None, Augmentation(), seed=5)
    other = PairDataset(store, CAPTIONS, None, Augmentation(), seed=6)
    first = dataset[(3, 0)]
    torch.manual_seed(99)
    again[(0, 0)]
    assert torch.equal(first["x"], again[(3, 0)]["x"]) and first["caption"] == again[(3, 0)]["caption"]
    assert not torch.equal(first["x"], dataset[(3, 1)]["x"]) and not torch.equal(first["x"], other[(3, 0)]["x"])
    assert {dataset[(3, draw)]["caption"] for draw in range(20)} == set(CAPTIONS[3])


def test_item_format_without_augmentation(store):
    item = PairDataset(store, CAPTIONS)[(2, 0)]
    assert item["x"].shape == (3, 8, 16) and item["x"].dtype == torch.float32 and item["index"] == 2
    assert item["y"].dtype == torch.int64 and (item["y"].numpy() == store.layouts[2]).all()
    restored = ((item["x"] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert (restored == store.images[2]).all()


def test_captions_follow_the_mirror(store):
    dataset = PairDataset(store, [["a left hand"]] * 6, None, Augmentation((1.0, 1.0)))
    items = [dataset[(0, draw)] for draw in range(20)]
    plain = torch.from_numpy(np.array(store.layouts[0])).long()
    for item in items:
        assert (item["caption"] == "a left hand") == torch.equal(item["y"], plain)
    assert {item["caption"] for item in items} == {"a left hand", "a right hand"}


class Text(dict):
    folder = "cache"

    def batch(self, captions):
        return torch.ones(len(captions), 3, 2), torch.ones(len(captions), 3, dtype=torch.bool)


def test_captions_must_fit_store_and_cache(store):
    for wrong in (CAPTIONS[:5], CAPTIONS[:5] + [[]]):
        with pytest.raises(DataError, match="write the captions again"):
            PairDataset(store, wrong)
    cache = Text({"a left hand": 0})
    assert PairDataset(store, [["a left hand"]] * 6, cache)
    with pytest.raises(DataError, match=r"1 captions are missing .* 'a right hand'"):
        PairDataset(store, [["a left hand"]] * 6, cache, Augmentation())


def test_loader_with_workers_equals_the_plain_loop(store):
    dataset = PairDataset(store, CAPTIONS, None, Augmentation(), seed=1)
    batches = EpochBatches(len(dataset), 4, seed=1, num_steps=3)
    plain = [collate([dataset[entry] for entry in batch]) for batch in batches]
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=collate, num_workers=1)
    for expected, batch in zip(plain, loader, strict=True):
        assert torch.equal(expected["x"], batch["x"]) and torch.equal(expected["y"], batch["y"])
        assert expected["captions"] == batch["captions"] and torch.equal(expected["index"], batch["index"])
    assert len(pickle.dumps(dataset)) < 5000
    with_text = collate([dataset[(0, 0)], dataset[(1, 0)]], Text())
    assert with_text["tokens"].shape == (2, 3, 2) and with_text["mask"].dtype == torch.bool


@pytest.mark.parametrize("name", ["camvid", "faces"])
def test_real_store(real_data, tmp_path, name):
    store = build_store(open_source("folder", real_data / name), "val", (32, 64), tmp_path / "val")
    image, layout = Augmentation()(store.images[0], store.layouts[0], np.random.default_rng(0), store.classes)
    assert image.shape == (32, 64, 3) and layout.max() < store.classes.num_classes
