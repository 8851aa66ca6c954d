"""Faces: the merge of part masks, the reader of the CelebAMask-HQ tree and its refusals, mirror images."""

import itertools
import pickle

import numpy as np
import pytest
from PIL import Image

from gcdp.data.augmentation import mirror_pair
from gcdp.data.classes import CELEBA, ClassTable
from gcdp.data.sources import open_source
from gcdp.data.sources.celeba import PARTS, CelebASource, merge_parts
from gcdp.errors import DataError

SIZE = 8
ANNOTATIONS = "CelebAMask-HQ-mask-anno"
LIST = "CelebAMask-HQ-attribute-anno.txt"
NUMBERS = (*range(9), 2000)


def mask(rows=slice(None), columns=slice(None)):
    drawn = np.zeros((SIZE, SIZE), bool)
    drawn[rows, columns] = True
    return drawn


def save_mask(root, number, part, drawn, mode="L"):
    path = root / ANNOTATIONS / str(number // 2000) / f"{number:05d}_{part}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn.astype(np.uint8) * 255).convert(mode).save(path)
    return path


def save_image(root, number, size=(2 * SIZE, 2 * SIZE)):
    image = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    (root / "CelebA-HQ-img").mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / "CelebA-HQ-img" / f"{number}.jpg")


@pytest.fixture
def tree(tmp_path):
    """Ten faces of three parts: skin above, hair over its upper rows, the left eye at the picture's right."""
    (tmp_path / "celeba-caption").mkdir()
    rows = []
    for number in NUMBERS:
        save_image(tmp_path, number)
        save_mask(tmp_path, number, "skin", mask(slice(0, 6)))
        save_mask(tmp_path, number, "hair", mask(slice(0, 2)))
        save_mask(tmp_path, number, "l_eye", mask(3, 6))
        (tmp_path / "celeba-caption" / f"{number}.txt").write_text(f" She has bangs {number}.\n\nShe is young.\n")
        rows.append(f"{number}.jpg  {'1' if number % 2 else '-1'} -1")
    (tmp_path / LIST).write_text("\n".join([str(len(rows)), "Bangs No_Beard", *rows]) + "\n")
    return tmp_path


def test_class_table():
    assert CELEBA.num_classes == 19 and CELEBA.unlabeled is None and CELEBA.twins == ((4, 5), (6, 7), (8, 9))
    assert [CELEBA.names[index] for index in (0, 4, 5, 11, 15, 16)] == [
        "background", "left eye", "right eye", "upper lip", "earring", "necklace"
    ]  # fmt: skip
    assert CELEBA.phrases[15] == "earrings" and CELEBA.colors[13] == (0, 0, 204)
    assert ClassTable.from_dict(CELEBA.to_dict()) == CELEBA


def test_each_part_alone_gives_its_class():
    names = {
        "skin": "skin", "nose": "nose", "eye_g": "eyeglasses", "l_eye": "left eye", "r_eye": "right eye",
        "l_brow": "left brow", "r_brow": "right brow", "l_ear": "left ear", "r_ear": "right ear", "mouth": "mouth",
        "u_lip": "upper lip", "l_lip": "lower lip", "hair": "hair", "hat": "hat", "ear_r": "earring",
        "neck_l": "necklace", "neck": "neck", "cloth": "cloth",
    }  # fmt: skip
    assert tuple(names) == PARTS
    for part, name in names.items():
        layout = merge_parts({part: mask(2, slice(1, 4))}, (SIZE, SIZE))
        assert layout.dtype == np.uint8 and (layout[2, 1:4] == CELEBA.names.index(name)).all()
        assert (layout > 0).sum() == 3


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_overlapping_parts_the_later_wins(reverse):
    for earlier, later in itertools.combinations(range(18), 2):
        masks = {PARTS[earlier]: mask(slice(0, 5)), PARTS[later]: mask(slice(3, 8))}
        masks = dict(reversed(masks.items())) if reverse else masks
        layout = merge_parts(masks, (SIZE, SIZE))
        assert (layout[:3] == earlier + 1).all() and (layout[3:] == later + 1).all()


def test_all_parts_at_once():
    masks = {part: mask(columns=slice(0, SIZE - index // 3)) for index, part in enumerate(PARTS)}
    layout = merge_parts(masks, (SIZE, SIZE))
    # Column c is covered by the parts up to the last one that reaches it.
    expected = [max(index + 1 for index in range(18) if column < SIZE - index // 3) for column in range(SIZE)]
    assert (layout == expected).all()


def test_merge_refuses_foreign_parts_and_sizes():
    with pytest.raises(DataError, match="no face part 'tail'"):
        merge_parts({"tail": mask()}, (SIZE, SIZE))
    with pytest.raises(DataError, match=r"part skin is \(8, 8\), not \(8, 9\)"):
        merge_parts({"skin": mask()}, (SIZE, SIZE + 1))
    assert (merge_parts({}, (2, 3)) == np.zeros((2, 3))).all()


def test_faces_are_read(tree):
    source = open_source("celeba", tree)
    assert source.splits() == ["train", "val", "test"] and source.classes is CELEBA
    assert source.keys("train") == [f"{number:05d}" for number in range(8)]
    assert source.keys("val") == ["00008"] and source.keys("test") == ["02000"]
    for split, key in (("train", "00003"), ("test", "02000")):
        image, layout = source.load(split, key)
        assert image.mode == "RGB" and image.size == (SIZE, SIZE) and layout.dtype == np.uint8
        assert (layout[:2] == 13).all() and layout[3, 6] == 4 and (layout[6:] == 0).all()
        assert (np.delete(layout[3], 6) == 1).all()
    whole = Image.open(tree / "CelebA-HQ-img/3.jpg").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    assert (np.asarray(source.load("train", "00003")[0]) == np.asarray(whole)).all()
    assert source.captions("train", "00003") == ["She has bangs 3.", "She is young."]
    assert source.attribute_table.names == ("Bangs", "Beard")
    assert source.attributes("train", "00003") == (1, 1) and source.attributes("test", "02000") == (0, 1)
    again = pickle.loads(pickle.dumps(source))
    assert again.keys("val") == source.keys("val") and len(pickle.dumps(source)) < 1000


def test_captions_of_the_original_archive(tree):
    (tree / "text").mkdir()
    (tree / "celeba-caption").rename(tree / "text/celeba-caption")
    assert CelebASource(tree).captions("val", "00008") == ["She has bangs 8.", "She is young."]


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA"])
def test_masks_of_every_mode(tree, mode):
    save_mask(tree, 1, "hair", mask(slice(0, 2)), mode)
    assert (CelebASource(tree).load("train", "00001")[1] == CelebASource(tree).load("train", "00002")[1]).all()


def test_image_of_the_size_of_the_masks_is_kept(tree):
    save_image(tree, 1, (SIZE, SIZE))
    image, _ = CelebASource(tree).load("train", "00001")
    assert (np.asarray(image) == np.asarray(Image.open(tree / "CelebA-HQ-img/1.jpg"))).all()


def official(tree, parts):
    """Original numbers run backwards, so that the mapping matters; ``parts`` by HQ number."""
    originals = {number: f"{900 - number:06d}" for number in NUMBERS[:-1]} | {2000: "000001"}
    rows = [f"{number} {int(original) - 1} {original}.jpg" for number, original in originals.items()]
    (tree / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(["idx  orig_idx  orig_file", *rows]) + "\n")
    rows = [f"{originals[number]}.jpg {part}" for number, part in parts.items()]
    (tree / "list_eval_partition.txt").write_text("\n".join(["199999.jpg 2", *rows]) + "\n")
    return tree


def test_official_splits(tree):
    official(tree, {number: number % 2 * 2 for number in NUMBERS})
    source = CelebASource(tree)
    assert source.splits() == ["train", "test"]
    assert source.keys("train") == ["00000", "00002", "00004", "00006", "00008", "02000"]
    assert source.keys("test") == ["00001", "00003", "00005", "00007"]
    with pytest.raises(DataError, match=r"no images of split 'val': use one of train, test"):
        source.keys("val")
    # The mapping alone, which comes with CelebAMask-HQ, changes nothing.
    (tree / "list_eval_partition.txt").unlink()
    assert CelebASource(tree).keys("val") == ["00008"]


def test_defects_of_the_official_splits(tree):
    official(tree, dict.fromkeys(NUMBERS[1:], 0))
    with pytest.raises(DataError, match=r"mapping\.txt and list_eval_partition\.txt name no split .* for 0\.jpg"):
        CelebASource(tree).splits()
    official(tree, dict.fromkeys(NUMBERS, 3))
    with pytest.raises(DataError, match="name no split"):
        CelebASource(tree).splits()
    (tree / "list_eval_partition.txt").write_text("000001.jpg\n")
    with pytest.raises(DataError, match=r"partition\.txt row 1 has 1 fields, not 2"):
        CelebASource(tree).splits()
    (tree / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    with pytest.raises(DataError, match=r"mapping\.txt is missing .* remove list_eval_partition\.txt"):
        CelebASource(tree).splits()


@pytest.mark.parametrize("name", ["CelebA-HQ-img", ANNOTATIONS, "celeba-caption"])
def test_missing_folders_are_named(tree, name):
    (tree / name).rename(tree / "elsewhere")
    with pytest.raises(DataError, match=f"{name} does not exist: unpack"):
        open_source("celeba", tree)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_masks(tree):
    for part in ("skin", "hair", "l_eye"):
        (tree / ANNOTATIONS / "0" / f"00001_{part}.png").unlink()


LOAD, CAPTIONS, VALUES = "load", "captions", "attributes"


@pytest.mark.parametrize(
    ("spoil", "what", "message"),
    [
        (remove_masks, LOAD, r"anno/0 has no mask 00001_<part>\.png: restore"),
        (lambda tree: truncate(tree / ANNOTATIONS / "0/00001_hair.png"), LOAD, r"00001_hair\.png cannot be decoded"),
        (lambda tree: save_mask(tree, 1, "hair", np.ones((4, 4), bool)), LOAD, r"00001_l_eye\.png differs in size"),
        (lambda tree: save_mask(tree, 1, "tail", mask()), LOAD, r"00001_tail\.png is no known face part"),
        (lambda tree: truncate(tree / "CelebA-HQ-img/1.jpg"), LOAD, r"img/1\.jpg cannot be decoded"),
        (lambda tree: save_image(tree, 1, (4, 4)), LOAD, r"1\.jpg is 4x4 but its masks are 8x8"),
        (lambda tree: save_image(tree, 1, (16, 12)), LOAD, r"1\.jpg is 12x16 but"),
        (lambda tree: (tree / "celeba-caption/1.txt").unlink(), CAPTIONS, r"caption/1\.txt is missing"),
        (lambda tree: (tree / "celeba-caption/1.txt").write_text(" \n"), CAPTIONS, r"1\.txt has no captions"),
        (lambda tree: (tree / "celeba-caption/1.txt").write_bytes(b"\xff"), CAPTIONS, r"1\.txt is missing or not"),
        (lambda tree: (tree / LIST).unlink(), VALUES, "anno.txt cannot be read"),
        (lambda tree: (tree / LIST).write_text("1\nBangs\n0.jpg 0\n"), VALUES, r"row 1 \(0\.jpg\) is malformed"),
        (lambda tree: (tree / LIST).write_text("2\nBangs\n0.jpg 1\n"), VALUES, "announces '2' rows but has 1"),
        (lambda tree: (tree / LIST).write_text("1\nBangs\n0.jpg 1\n"), VALUES, r"has no row for 1\.jpg"),
    ],
)  # fmt: skip
def test_defects_name_the_file(tree, spoil, what, message):
    spoil(tree)
    with pytest.raises(DataError, match=message) as error:
        getattr(CelebASource(tree), what)("train", "00001")
    assert str(tree) in str(error.value) and ": " in str(error.value)


def test_unknown_splits_keys_and_empty_folders(tree):
    source = CelebASource(tree)
    with pytest.raises(DataError, match="use one of train, val, test"):
        source.keys("extra")
    for split, key in (("train", "00008"), ("train", "1"), ("train", "x"), ("extra", "00001")):
        with pytest.raises(DataError, match="has no image"):
            source.load(split, key)
    for path in (tree / "CelebA-HQ-img").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"CelebA-HQ-img is empty: it needs <number>\.jpg"):
        CelebASource(tree).splits()


def test_mirror_images_exchange_left_and_right_parts():
    """Person's left at the picture's right, before and after the mirror."""
    twins = {"l_eye": 3, "l_brow": 1, "l_ear": 5, "r_eye": 3, "r_brow": 1, "r_ear": 5}
    masks = {part: mask(row, 6 if part.startswith("l_") else 1) for part, row in twins.items()}
    layout = merge_parts(masks | {"nose": mask(4, 3)}, (SIZE, SIZE))
    image = np.stack([layout * 10] * 3, axis=-1)
    pixels, flipped = mirror_pair(image, layout, CELEBA)
    assert (pixels == image[:, ::-1]).all()
    for name, row, column in (("left eye", 3, 6), ("left brow", 1, 6), ("left ear", 5, 6), ("right eye", 3, 1)):
        assert flipped[row, column] == layout[row, column] == CELEBA.names.index(name)
    assert layout[4, 3] == flipped[4, 4] == 2
    again = mirror_pair(pixels, flipped, CELEBA)
    assert (again[0] == image).all() and (again[1] == layout).all()
