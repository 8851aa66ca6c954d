"""A CamVid download in the SegNet tutorial's form becomes the folder form, ids and colors included."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcdp.data.classes import ClassTable
from gcdp.data.sources.folder import FolderSource
from gcdp.errors import DataError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import link_camvid


@pytest.fixture
def download(tmp_path):
    for split in ("train", "val", "test"):
        for name in (split, f"{split}annot"):
            (tmp_path / "CamVid" / name).mkdir(parents=True)
        Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "CamVid" / split / "0001.png")
        Image.fromarray(np.full((6, 8), 11, np.uint8)).save(tmp_path / "CamVid" / f"{split}annot" / "0001.png")
    return tmp_path / "CamVid"


def test_the_download_reads_as_a_folder_source(download, tmp_path):
    link_camvid.link(download, tmp_path / "raw")
    source = FolderSource(tmp_path / "raw")
    assert source.splits() == ["train", "val", "test"] and source.keys("val") == ["0001"]
    image, layout = source.load("train", "0001")
    assert image.size == (8, 6) and (np.asarray(layout) == source.classes.unlabeled).all()


def test_the_class_table_is_that_of_the_prepared_copy(real_data, download, tmp_path):
    link_camvid.link(download, tmp_path / "raw")
    assert ClassTable.from_json(tmp_path / "raw" / "classes.json") == ClassTable.from_json(
        real_data / "camvid" / "classes.json"
    )


def test_an_incomplete_download_or_an_occupied_place_is_named(download, tmp_path):
    link_camvid.link(download, tmp_path / "raw")
    with pytest.raises(DataError, match="exists already"):
        link_camvid.link(download, tmp_path / "raw")
    (download / "valannot").rename(download / "other")
    with pytest.raises(DataError, match="valannot is missing"):
        link_camvid.link(download, tmp_path / "new")
