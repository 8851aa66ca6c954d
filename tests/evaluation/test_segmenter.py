"""The segmenter as a referee: what it returns, how it is stored, and what it refuses."""

import json
import warnings

import numpy as np
import pytest
import torch
from worlds import tiny

from gcdp.data.images import to_tensor
from gcdp.data.pairs import build_store
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.referees.alignment import TwoTower, TwoTowerConfig
from gcdp.evaluation.referees.attributes import AttributeNet, AttributeNetConfig
from gcdp.evaluation.referees.files import GUARD
from gcdp.evaluation.referees.segmenter import (
    BATCH,
    SegmentationNet,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)

CONFIG = SegmenterConfig((4, 6, 8), blocks=2)


def network(config: SegmenterConfig = CONFIG) -> SegmentationNet:
    torch.manual_seed(0)
    return SegmentationNet(config, 5)


@pytest.fixture
def folder(tmp_path):
    save_segmenter(tmp_path, network().state_dict(), CONFIG, tiny.TABLE, {"scenes": 7})
    return tmp_path


def random_images(count: int, size=(8, 16)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (network(), {"down", "up"}),
        (AttributeNet(AttributeNetConfig((4, 6)), 3), {"trunk"}),
        (TwoTower(TwoTowerConfig((4, 6), 5, 7), 8), {"trunk"}),
    ],
)
def test_muon_may_train_the_kernels_between_the_first_and_the_last_layer(other, parts):
    names = {id(p): name for name, p in other.named_parameters()}
    hidden = [names[id(p)] for p in other.hidden_matrices()]
    assert {name.split(".")[0] for name in hidden} == parts and len(set(hidden)) == len(hidden) > 2
    left = [name for name in names.values() if name not in hidden and dict(other.named_parameters())[name].ndim == 4]
    assert all(dict(other.named_parameters())[name].shape[1] == 3 or name.startswith("head") for name in left)


@pytest.mark.parametrize("size", [(8, 16), (7, 13), (4, 4)])
def test_logits_have_the_size_of_the_images(size):
    logits, features = network().eval()(to_tensor(random_images(2, size)))
    assert logits.shape == (2, 5, *size) and features.shape == (2, 8)


def test_maps_of_a_store_are_read_without_warning(folder, tmp_path):
    store = build_store(tiny.Scenes(4), "train", tiny.SIZE, tmp_path / "pairs")
    assert not store.images.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = load_segmenter(folder, "cpu").read(store.images)
    assert reading.layouts.shape == store.layouts.shape


def test_labels_are_the_best_class_and_features_the_deepest_mean(folder):
    images = random_images(3)
    referee = load_segmenter(folder, "cpu")
    reading = referee.read(images)
    logits, features = referee.network(to_tensor(images))
    assert reading.layouts.dtype == np.uint8 and reading.features.dtype == np.float32
    np.testing.assert_array_equal(reading.layouts, logits.argmax(1).numpy())
    np.testing.assert_allclose(reading.features, features.numpy(), rtol=1e-6)
    assert (referee.name, referee.classes, referee.facts) == ("segmenter", tiny.TABLE, {"scenes": 7})
    assert not referee.network.training and referee.device.type == "cpu"


def test_an_image_is_read_alike_in_any_company(folder):
    """More images than a batch holds; normalization uses the statistics of training, not of the batch."""
    images, referee = random_images(BATCH + 3), load_segmenter(folder, "cpu")
    together, alone = referee.read(images), referee.read(images[-1:])
    assert together.layouts.shape == (BATCH + 3, 8, 16) and together.features.shape == (BATCH + 3, 8)
    np.testing.assert_array_equal(together.layouts[-1:], alone.layouts)
    np.testing.assert_allclose(together.features[-1:], alone.features, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)]
)
def test_other_arrays_are_refused(images):
    referee = Segmenter(network(), tiny.TABLE)
    with pytest.raises(DataError, match=r"a referee reads uint8 images \(N, H, W, 3\), got "):
        referee.read(images)
    with pytest.raises(DataError, match=r"got uint8 \(0, 4, 4, 3\)"):
        referee.read(np.zeros((0, 4, 4, 3), np.uint8))


@pytest.mark.parametrize("settings", [{"widths": (8,)}, {"widths": (8, 0)}, {"blocks": 0}])
def test_impossible_sizes_are_refused(settings):
    with pytest.raises(ConfigError, match=f"^{next(iter(settings))} "):
        SegmenterConfig(**settings)


def test_what_is_saved_is_what_is_loaded(folder):
    loaded, original = load_segmenter(folder).network.state_dict(), network().state_dict()
    assert all(torch.equal(loaded[name], original[name]) for name in original)


def test_half_precision_weights_load(tmp_path):
    halves = {k: v.half() if v.is_floating_point() else v for k, v in network().state_dict().items()}
    save_segmenter(tmp_path, halves, CONFIG, tiny.TABLE, {})
    assert load_segmenter(tmp_path, "cpu").read(random_images(1)).features.dtype == np.float32


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_truncated_files_are_refused(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-40])
    problem = "is missing or damaged" if name == "config.json" else "is missing or does not match its checksum"
    for _ in range(2):
        with pytest.raises(CheckpointError, match=f"{name} {problem}.*: .*(fetch it again|train the referee again)"):
            load_segmenter(folder)
        path.unlink(missing_ok=True)


def edited(folder, rehash=False, **changes) -> None:
    """Change entries of the card by hand, or as another version of the code might have saved them."""
    card = json.loads((folder / "config.json").read_text()) | changes
    card |= {"hash": GUARD.hash(card)} if rehash else {}
    (folder / "config.json").write_text(json.dumps(card))


def test_an_edited_class_table_is_refused(folder):
    """Names in another order would mislabel every pixel without a sound."""
    table = json.loads((folder / "config.json").read_text())["classes"]
    for entry, name in zip(table["classes"], ["road", "sky"]):
        entry["name"] = entry["phrase"] = name
    edited(folder, classes=table)
    with pytest.raises(CheckpointError, match=r"config\.json was changed after it was saved: fetch it again"):
        load_segmenter(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "was changed after it was saved"),
        ({"format": 2, "rehash": True}, "is of another format than 1"),
        ({"hash": "0"}, "was changed after it was saved"),
        ({"segmenter": {"width": [4, 8]}, "rehash": True}, "'width' is unknown; did you mean 'widths'"),
        ({"classes": 3, "rehash": True}, "is not the card of such a referee"),
        ({"sha256": "0"}, "does not match its checksum"),
    ],
)
def test_other_edits_are_refused(folder, changes, message):
    edited(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_segmenter(folder)


def test_weights_of_another_network_are_refused(folder):
    save_segmenter(folder, network(SegmenterConfig((4, 6))).state_dict(), CONFIG, tiny.TABLE, {})
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit the network of this version"):
        load_segmenter(folder)
