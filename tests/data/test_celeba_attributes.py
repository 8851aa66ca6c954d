"""Aligned CelebA as a source of attributes: what is left out, what is cut, and what is refused."""

import pickle

import numpy as np
import pytest
from PIL import Image

from gcdp.data.classes import CELEBA
from gcdp.data.pairs import PairDataset, build_store
from gcdp.data.sources.celeba_attributes import CelebAImages
from gcdp.errors import DataError

FILES = [f"{number:06d}.jpg" for number in range(1, 6)]
ROWS = ["-1  1 -1", " 1 -1  1", "-1 -1 -1", " 1  1  1", "-1  1  1"]


@pytest.fixture
def root(tmp_path):
    """Five faces, 18 wide and 22 high as CelebA's 178 and 218; the second and the fourth went into CelebA-HQ."""
    (tmp_path / "img_align_celeba").mkdir()
    for number, file in enumerate(FILES):
        pixels = np.full((22, 18, 3), 40 * number, np.uint8)
        pixels[:2] = pixels[20:] = 255  # what the centered square leaves out
        Image.fromarray(pixels).save(tmp_path / "img_align_celeba" / file, quality=100, subsampling=0)
    lines = ["5", "Smiling Male No_Beard ", *(f"{file} {row}" for file, row in zip(FILES, ROWS))]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "mapping.txt").write_text("idx orig_idx orig_file\n0   1   000002.jpg\n1      3    000004.jpg\n")
    return tmp_path


def source(root) -> CelebAImages:
    return CelebAImages(root, root / "mapping.txt")


def test_faces_of_celeba_hq_are_left_out(root):
    faces = source(root)
    assert faces.splits() == ["train"] and faces.keys("train") == ["000001", "000003", "000005"]
    for key in ("000002", "000009", "1"):
        with pytest.raises(DataError, match=f"has no face '{key}' to learn from: use one of keys"):
            faces.load("train", key)
    with pytest.raises(DataError, match="CelebA's faces have no split 'test' here: use 'train'"):
        faces.keys("test")


def test_a_face_is_its_centered_square_over_background(root):
    image, layout = source(root).load("train", "000005")
    assert image.size == (18, 18) and image.mode == "RGB"
    np.testing.assert_allclose(np.asarray(image), 160, atol=3)
    assert layout.shape == (18, 18) and layout.dtype == np.uint8 and not layout.any()
    assert source(root).captions("train", "000005") is None


def test_attributes_are_those_of_the_list_with_the_beard_turned(root):
    faces = source(root)
    assert faces.attribute_table.names == ("Smiling", "Male", "Beard")
    assert [faces.attributes("train", key) for key in faces.keys("train")] == [(0, 1, 1), (0, 0, 1), (0, 1, 0)]


def test_a_store_of_it_is_what_a_referee_learns_from(root, tmp_path):
    store = build_store(source(root), "train", (8, 8), tmp_path / "store")
    assert store.attributes.tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 0]] and store.classes == CELEBA
    assert store.attribute_table.names == ("Smiling", "Male", "Beard") and store.captions is None
    item = PairDataset(store, [["-"]] * 3)[1, 0]
    assert item["attributes"].tolist() == [0, 0, 1] and item["x"].shape == (3, 8, 8)


def test_workers_open_it_anew(root):
    assert pickle.loads(pickle.dumps(source(root))).keys("train") == source(root).keys("train")


def test_defects_are_named(root):
    with pytest.raises(DataError, match=r"none\.txt does not exist: give the CelebA-HQ-to-CelebA-mapping\.txt"):
        CelebAImages(root, root / "none.txt")
    with pytest.raises(DataError, match=r"nowhere/img_align_celeba does not exist: unpack CelebA's img_align_celeba"):
        CelebAImages(root / "nowhere", root / "mapping.txt")
    (root / "img_align_celeba" / FILES[0]).unlink()
    with pytest.raises(DataError, match=r"000001\.jpg does not exist"):
        source(root).load("train", "000001")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0 9 000099.jpg"], r"names 000099\.jpg, which .*list_attr_celeba\.txt lacks: give the list and the mapping"),
        ([], "names no face: give the list and the mapping of the same CelebA"),
        (["0 9"], "row 2 has 2 fields, not 3"),
        ([f"0 9 {file}" for file in FILES], "names every face of .*: copy all of CelebA there"),
    ],
)
def test_mappings_that_do_not_fit_are_refused(root, rows, message):
    """A mapping of other names would leave nothing out, and the classifier would be tested on what it learned."""
    (root / "mapping.txt").write_text("\n".join(["idx orig_idx orig_file", *rows]) + "\n")
    with pytest.raises(DataError, match=message):
        source(root).keys("train")


def test_a_malformed_list_is_refused(root):
    (root / "list_attr_celeba.txt").write_text("2\nSmiling Male\n000001.jpg 1 1\n000002.jpg 1\n")
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt row 2 \(000002\.jpg\) is malformed"):
        source(root).keys("train")
