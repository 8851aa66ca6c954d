"""Readers of the Cityscapes tree and of plain folders: right values, and one clear error for each defect."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from gcdp.data.sources import open_source
from gcdp.errors import ConfigError, DataError

H, W = 6, 8


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def image_array(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)


@pytest.fixture
def cityscapes(tmp_path):
    """Tree with one pair in val and two, in two cities, in train."""
    for split, city, number in (("train", "bonn", 1), ("train", "aachen", 0), ("val", "ulm", 0)):
        key = f"{city}_{number:06d}_000019"
        labels = (np.arange(H * W) % 34).reshape(H, W).astype(np.uint8)
        save(tmp_path / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png", image_array(number))
        save(tmp_path / "gtFine" / split / city / f"{key}_gtFine_labelIds.png", labels)
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    """Folder with three classes; train holds a PNG and a JPEG, test one PNG."""
    rows = [{"id": index, "name": f"class {index}", "color": [index] * 3} for index in range(3)]
    (tmp_path / "classes.json").write_text(json.dumps({"name": "mine", "classes": rows, "unlabeled": None}))
    for split, name in (("train", "b.png"), ("train", "a.jpg"), ("test", "a.png")):
        save(tmp_path / "images" / split / name, image_array())
        layout = (np.arange(H * W) % 3).reshape(H, W).astype(np.uint8)
        save(tmp_path / "layouts" / split / f"{name[0]}.png", layout)
    return tmp_path


def test_cityscapes_pairs(cityscapes):
    source = open_source("cityscapes", cityscapes)
    assert source.splits() == ["train", "val"]
    assert source.keys("train") == ["aachen_000000_000019", "bonn_000001_000019"]
    image, layout = source.load("train", "bonn_000001_000019")
    assert image.mode == "RGB" and (np.asarray(image) == image_array(1)).all()
    assert layout.dtype == np.uint8 and layout.shape == (H, W)
    assert layout.ravel()[[0, 7, 24, 29, 33]].tolist() == [19, 0, 11, 19, 18]
    assert source.captions("train", "bonn_000001_000019") is None
    assert pickle.loads(pickle.dumps(source)).keys("val") == source.keys("val")


@pytest.mark.parametrize("label", [34, 255])
def test_cityscapes_refuses_foreign_label_ids(cityscapes, label):
    path = cityscapes / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"
    save(path, np.full((H, W), label, np.uint8))
    with pytest.raises(DataError, match=rf"ulm_000000_000019_gtFine_labelIds\.png holds label id {label}"):
        open_source("cityscapes", cityscapes).load("val", "ulm_000000_000019")


def test_cityscapes_missing_parts(cityscapes, tmp_path):
    with pytest.raises(DataError, match=r"leftImg8bit does not exist: unpack"):
        open_source("cityscapes", tmp_path / "nowhere")
    source = open_source("cityscapes", cityscapes)
    with pytest.raises(DataError, match="use one of train, val"):
        source.keys("test")
    with pytest.raises(DataError, match=r"has no tokyo_leftImg8bit\.png"):
        source.load("val", "tokyo")
    (cityscapes / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"gtFine_labelIds\.png does not exist"):
        source.load("val", "ulm_000000_000019")
    (cityscapes / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match="is empty"):
        open_source("cityscapes", cityscapes).keys("val")


def test_folder_pairs(folder):
    source = open_source("folder", folder)
    assert source.splits() == ["train", "test"] and source.keys("train") == ["a", "b"]
    image, layout = source.load("train", "a")
    assert image.mode == "RGB" and image.size == (W, H)
    assert layout.dtype == np.uint8 and layout.ravel()[:4].tolist() == [0, 1, 2, 0]
    assert source.captions("train", "a") is None
    assert pickle.loads(pickle.dumps(source)).keys("train") == ["a", "b"]


def test_folder_reads_palettes_gray_images_and_skips_other_files(folder):
    indexed = Image.fromarray(np.full((H, W), 2, np.uint8)).convert("P")
    indexed.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    indexed.putdata([2] * (H * W))
    indexed.save(folder / "layouts/train/b.png")
    save(folder / "images/train/b.png", image_array()[..., 0])
    (folder / "images/train/notes.txt").write_text("x")
    (folder / "images/train/._b.png").write_text("x")
    source = open_source("folder", folder)
    image, layout = source.load("train", "b")
    assert source.keys("train") == ["a", "b"] and image.mode == "RGB" and (layout == 2).all()


def test_folder_captions(folder):
    path = folder / "captions.jsonl"
    rows = [{"key": "a", "captions": ["any a"]}, {"key": "b", "captions": ["b", "bb"]}]
    rows.append({"key": "a", "split": "test", "captions": ["test a"]})
    path.write_text("\n".join(map(json.dumps, rows)))
    source = open_source("folder", folder)
    assert source.captions("train", "a") == ["any a"] and source.captions("test", "a") == ["test a"]
    assert source.captions("train", "b") == ["b", "bb"]
    path.write_text(json.dumps(rows[0]))
    with pytest.raises(DataError, match="lacks captions for train/b"):
        open_source("folder", folder).captions("train", "b")
    path.write_text("\n".join([json.dumps(rows[0])] * 2))
    with pytest.raises(DataError, match="lists 'a' twice"):
        open_source("folder", folder)
    path.write_text("not json")
    with pytest.raises(DataError, match="line 1 is malformed"):
        open_source("folder", folder)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "layouts/train/a.png").unlink(), r"a\.png does not exist"),
        (lambda root: truncate(root / "images/train/a.jpg"), r"a\.jpg cannot be decoded"),
        (lambda root: truncate(root / "layouts/train/a.png"), r"a\.png cannot be decoded"),
        (lambda root: (root / "layouts/train/a.png").write_text("x"), r"a\.png cannot be decoded"),
        (lambda root: save(root / "layouts/train/a.png", image_array()), "has mode RGB"),
        (lambda root: save(root / "layouts/train/a.png", np.zeros((H, W - 1), np.uint8)), "is 7x6 but"),
        (lambda root: save(root / "layouts/train/a.png", np.full((H, W), 3, np.uint8)), "class id 3"),
        (lambda root: save(root / "layouts/train/a.png", np.full((H, W), 300, np.uint16)), "class id 300"),
        (lambda root: save(root / "images/train/a.png", image_array()), "share one key"),
    ],
)
def test_folder_defects_name_the_file(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as error:
        open_source("folder", folder).load("train", "a")
    assert str(folder) in str(error.value) and ": " in str(error.value)


def test_folder_missing_parts(folder, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_source("folder", tmp_path / "nowhere")
    source = open_source("folder", folder)
    (folder / "images/val").mkdir()
    with pytest.raises(DataError, match="is empty"):
        source.keys("val")
    with pytest.raises(DataError, match="use one of train, val, test"):
        source.keys("extra")
    with pytest.raises(DataError, match="has no image zzz"):
        source.load("train", "zzz")
    (folder / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.json does not exist"):
        open_source("folder", folder)


def test_unknown_kind(tmp_path):
    with pytest.raises(ConfigError, match="cityscapes, celeba, folder"):
        open_source("imagenet", tmp_path)


@pytest.mark.parametrize("name", ["camvid", "faces"])
def test_real_folders(real_data, name):
    source = open_source("folder", real_data / name)
    assert source.splits() == ["train", "val", "test"]
    for split in source.splits():
        keys = source.keys(split)
        image, layout = source.load(split, keys[0])
        assert len(keys) >= 100 and image.size == layout.shape[::-1]
