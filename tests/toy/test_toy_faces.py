"""The drawn face world: same bytes, masks that merge to what is seen, true attributes and true captions."""

import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from gcdp.data.attributes import AttributeTable, attribute_values, attributes_in_caption
from gcdp.data.sources.celeba import PARTS, CelebASource, merge_parts
from gcdp.errors import ConfigError, DataError
from gcdp.toy import tree
from gcdp.toy.faces import world as toy_faces
from gcdp.toy.faces.face import MASK_SIZE, Drawing, _labels, draw_face
from gcdp.toy.faces.person import COLUMNS

TABLE = AttributeTable.of(COLUMNS)
RECORDED = {0: "fcd1949fc95f8438", 7: "521fc8f2a7721f5d", 2024: "e46eeb00dad32ce6"}
FREQUENCY = {  # expected shares, within four standard errors of 600 faces
    "Bangs": 0.22, "Black_Hair": 0.29, "Blond_Hair": 0.24, "Brown_Hair": 0.29, "Bushy_Eyebrows": 0.14,
    "Double_Chin": 0.09, "Eyeglasses": 0.10, "Gray_Hair": 0.07, "Male": 0.43, "Mouth_Slightly_Open": 0.42,
    "Beard": 0.18, "Pale_Skin": 0.17, "Smiling": 0.46, "Wavy_Hair": 0.32, "Wearing_Earrings": 0.23,
    "Wearing_Hat": 0.078, "Wearing_Lipstick": 0.35, "Wearing_Necklace": 0.08, "Long_Hair": 0.41, "Dark_Skin": 0.10,
}  # fmt: skip


def _digest(face) -> str:
    texts = "\n".join((*face.captions, *face.parts, str(sorted(face.attributes.items())))).encode()
    arrays = b"".join(array.tobytes() for array in (face.image, *face.parts.values()))
    return hashlib.sha256(arrays + texts).hexdigest()[:16]


def _values(face) -> tuple[int, ...]:
    return attribute_values(COLUMNS, list(face.attributes.values()))


@pytest.fixture(scope="module")
def faces():
    return [draw_face(seed) for seed in range(600)]


@pytest.fixture(scope="module")
def layouts(faces):
    return np.stack([merge_parts(face.parts, (64, 64)) for face in faces])


@pytest.fixture(scope="module")
def values(faces):
    """0/1 (N, A) in the order of the table."""
    return np.array([_values(face) for face in faces])


@pytest.mark.parametrize("seed", sorted(RECORDED))
def test_bytes_of_a_seed_are_the_recorded_ones(seed):
    assert _digest(draw_face(seed)) == RECORDED[seed]


def test_same_seed_same_bytes_and_other_seed_other_face(faces):
    assert _digest(draw_face(11)) == _digest(faces[11])
    assert len({_digest(face) for face in faces}) == len(faces)


def test_form_of_a_face(faces):
    for face in faces:
        assert face.image.shape == (128, 128, 3) and face.image.dtype == np.uint8
        assert list(face.parts) == [part for part in PARTS if part in face.parts]
        assert all(mask.shape == (64, 64) and mask.dtype == bool for mask in face.parts.values())
        assert tuple(face.attributes) == COLUMNS and len(face.captions) == 10
        assert {"skin", "nose", "l_lip"} <= set(face.parts)


def test_merged_masks_are_what_is_seen():
    """Against the drawing itself: the frontmost sprite at each pixel."""
    for seed in range(60):
        drawing = Drawing(seed)
        seen = _labels(drawing._sprites, MASK_SIZE)
        np.testing.assert_array_equal(merge_parts(drawing.parts, (64, 64)), seen)


def test_masks_are_silhouettes_beyond_what_is_seen(faces):
    """Skin goes on under eyes and mouth, as annotators draw it."""
    for face in faces[:100]:
        skin, others = face.parts["skin"], [face.parts[part] for part in ("nose", "l_lip") if part in face.parts]
        assert all((skin & other).sum() > 0.9 * other.sum() for other in others)


def test_a_part_that_is_there_is_large_enough_to_see(layouts):
    areas = np.stack([np.bincount(layout.ravel(), minlength=19)[1:] for layout in layouts])
    assert areas[areas > 0].min() >= 6
    for part, least in (("hair", 60), ("hat", 80), ("eye_g", 60), ("ear_r", 18), ("neck_l", 20)):
        column = areas[:, PARTS.index(part)]
        assert column[column > 0].min() >= least, part


def test_left_is_the_persons_left_at_the_right_of_the_picture(layouts):
    for left, right in ((4, 5), (6, 7), (8, 9)):
        count = 0
        for layout in layouts:
            a, b = np.nonzero(layout == left)[1], np.nonzero(layout == right)[1]
            if len(a) and len(b):
                assert a.min() > b.max()
                count += 1
        assert count > 100


def test_framing_follows_aligned_photographs(layouts):
    rows = np.indices((64, 64))[0]
    eyes, lips = np.isin(layouts, (4, 5)), np.isin(layouts, (11, 12))
    assert 0.42 < (rows * eyes).sum() / eyes.sum() / 64 < 0.50
    assert 0.64 < (rows * lips).sum() / lips.sum() / 64 < 0.76
    head = np.isin(layouts, (1, 13, 14))
    width = np.mean([np.ptp(np.nonzero(mask.any(axis=0))[0]) + 1 for mask in head])
    assert 0.58 < width / 64 < 0.75


@pytest.mark.parametrize("name", TABLE.names)
def test_frequency_of_an_attribute(values, name):
    wanted, found = FREQUENCY[name], values[:, TABLE.names.index(name)].mean()
    assert abs(found - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / len(values)) + 0.01


def test_no_attribute_but_hair_color_and_beard_excludes_another_common_one(values):
    """Joint occurrences exist: nothing is told by another attribute alone."""
    common = [TABLE.names.index(name) for name in ("Smiling", "Mouth_Slightly_Open", "Pale_Skin", "Wavy_Hair", "Male")]
    for a in common:
        for b in common:
            both = (values[:, a] & values[:, b]).mean()
            assert 0 < both and (a == b or both < values[:, a].mean())


def test_sex_is_the_hidden_cause(values):
    male = values[:, TABLE.names.index("Male")] == 1
    share = {name: values[:, k] for k, name in enumerate(TABLE.names)}
    assert share["Beard"][~male].sum() == 0 and share["Beard"][male].mean() > 0.3
    for name in ("Wearing_Lipstick", "Wearing_Earrings", "Wearing_Necklace", "Long_Hair"):
        assert share[name][~male].mean() > 2 * share[name][male].mean(), name


def test_attributes_with_a_class_are_exactly_the_classes_seen(layouts, values):
    for name, label in (("Eyeglasses", 3), ("Wearing_Hat", 14), ("Wearing_Earrings", 15), ("Wearing_Necklace", 16),
                        ("Mouth_Slightly_Open", 10)):  # fmt: skip
        seen = (layouts == label).any(axis=(1, 2))
        np.testing.assert_array_equal(seen, values[:, TABLE.names.index(name)] == 1, err_msg=name)


def test_what_needs_hair_is_false_where_none_is_seen(layouts, values):
    bare = ~(layouts == 13).any(axis=(1, 2))
    assert bare.sum() > 5
    hairy = [k for k, name in enumerate(TABLE.names) if name.endswith("_Hair") or name == "Bangs"]
    assert len(hairy) == 7 and not values[bare][:, hairy].any()


def test_traces_that_are_shapes(layouts, values):
    """Bangs cover the forehead, long hair reaches the lower edge, bushy brows are large, smiles are wide."""
    rows = np.indices((64, 64))[0]

    def gap(measure, name, wanted=True):
        flag = values[:, TABLE.names.index(name)] == 1
        return measure[flag], measure[~flag]

    low = np.array([(layout[56:] == 13).sum() for layout in layouts])
    with_long, without = gap(low, "Long_Hair")
    assert with_long.min() > without.max()
    brows = np.isin(layouts, (6, 7)).sum(axis=(1, 2))
    bushy, thin = gap(brows, "Bushy_Eyebrows")
    assert np.mean(bushy > 40) > 0.95 and np.mean(thin < 40) > 0.95
    forehead = ((layouts == 13) & (rows > 20) & (rows < 25))[:, :, 28:36].sum(axis=(1, 2))
    fringe, free = gap(forehead, "Bangs")
    assert np.mean(fringe >= 6) > 0.97 and np.mean(free < 6) > 0.97
    lips = np.array([np.ptp(np.nonzero(np.isin(x, (10, 11, 12)).any(axis=0))[0]) for x in layouts])
    smiling, serious = gap(lips, "Smiling")
    assert np.quantile(smiling, 0.1) > np.quantile(serious, 0.9)


def _mean(faces, layouts, label, keep):
    """Mean color (n, 3) of the pixels of a class, of the faces in `keep` that show it."""
    small = [np.asarray(Image.fromarray(faces[k].image).resize((64, 64), Image.Resampling.LANCZOS)) for k in keep]
    return np.array([s[layouts[k] == label].mean(axis=0) for s, k in zip(small, keep) if (layouts[k] == label).any()])


def test_traces_that_are_colors(faces, layouts, values):
    """Skin tone, hair color and lipstick can be read from mean colors, whatever the light."""
    flags = {name: np.nonzero(values[:, k])[0] for k, name in enumerate(TABLE.names)}
    rest = np.nonzero(values[:, [TABLE.names.index("Pale_Skin"), TABLE.names.index("Dark_Skin")]].sum(axis=1) == 0)[0]
    pale, dark, middle = (_mean(faces, layouts, 2, keep) for keep in (flags["Pale_Skin"], flags["Dark_Skin"], rest))
    assert np.mean(dark[:, 0] < 128) > 0.97 and np.mean(middle[:, 0] > 128) > 0.97
    assert np.quantile(pale[:, 2] / pale[:, 0], 0.1) > np.quantile(middle[:, 2] / middle[:, 0], 0.9)
    light = {name: _mean(faces, layouts, 13, flags[name]).mean(axis=1) for name in flags if name.endswith("k_Hair")}
    for name in ("Brown_Hair", "Gray_Hair", "Blond_Hair"):
        light[name] = _mean(faces, layouts, 13, flags[name]).mean(axis=1)
    assert np.median(light["Black_Hair"]) + 20 < np.median(light["Brown_Hair"]) < np.median(light["Blond_Hair"]) - 40
    painted, bare = (np.nonzero(values[:, TABLE.names.index("Wearing_Lipstick")] == k)[0] for k in (1, 0))
    red = [c[:, 0] / np.maximum(1, c[:, 1]) for c in (_mean(faces, layouts, 12, keep) for keep in (painted, bare))]
    assert np.quantile(red[0], 0.05) > np.quantile(red[1], 0.95)


def test_captions_name_true_attributes_only(faces):
    named = []
    for face in faces:
        true = {k for k, value in enumerate(_values(face)) if value} & set(TABLE.nameable)
        for caption in face.captions:
            found = set(attributes_in_caption(caption, TABLE))
            assert found <= true, caption
            assert min(2, len(true)) <= len(found) <= min(6, len(true)), caption
            named.append(len(found))
    assert len(set(named)) >= 6
    assert len({caption for face in faces for caption in face.captions}) > 4000


def test_captions_speak_of_the_right_sex_in_clean_sentences(faces):
    for face in faces:
        wrong = {"woman", "She"} if face.attributes["Male"] else {"man", "He"}
        for caption in face.captions:
            assert not wrong & set(re.findall(r"\w+", caption)), caption
            assert re.fullmatch(r"((The|This|He|She) [a-z ,]+\.)( (He|She) [a-z ,]+\.){0,2}", caption), caption
            assert "  " not in caption and " ," not in caption


def _files(root):
    return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if p.is_file()}


def test_generate_writes_a_tree_that_the_reader_of_the_real_data_reads(tmp_path):
    toy_faces.generate(tmp_path, {"train": 4, "val": 2, "test": 3}, seed=4)
    source = CelebASource(tmp_path)
    assert [len(source.keys(split)) for split in source.splits()] == [4, 2, 3]
    assert source.keys("val") == ["00004", "00005"] and source.attribute_table.names == TABLE.names
    drawing = Drawing(4, 1, 1)
    image, layout = source.load("val", "00005")
    np.testing.assert_array_equal(layout, merge_parts(drawing.parts, (64, 64)))
    assert source.attributes("val", "00005") == attribute_values(COLUMNS, list(drawing.attributes.values()))
    assert source.captions("val", "00005") == drawing.captions
    picture = Image.fromarray(drawing.image()).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(image)).mean() < 3
    files = _files(tmp_path)
    raw = Image.open(files["CelebA-HQ-img/5.jpg"])
    assert raw.size == (128, 128) and raw.mode == "RGB" and not raw.getexif()
    mask = Image.open(files["CelebAMask-HQ-mask-anno/0/00005_skin.png"])
    assert mask.mode == "L" and set(np.unique(mask).tolist()) == {0, 255}
    assert len({files[f"CelebA-HQ-img/{k}.jpg"].read_bytes() for k in range(9)}) == 9


def test_a_stopped_generation_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    whole, parts, counts = tmp_path / "whole", tmp_path / "parts", {"train": 3, "val": 1}
    toy_faces.generate(whole, counts, seed=1)

    def stop(*entropy):
        if entropy == (1, 0, 2):
            raise KeyboardInterrupt
        return Drawing(*entropy)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(toy_faces, "Drawing", stop)
        toy_faces.generate(parts, counts, seed=1)
    files = _files(parts)
    assert "CelebA-HQ-img/1.jpg" in files and "CelebA-HQ-img/2.jpg" not in files
    times = {key: path.stat().st_mtime_ns for key, path in files.items() if key != "world.json"}
    for key in ("CelebA-HQ-img/0.jpg", "CelebAMask-HQ-mask-anno/0/00000_skin.png", "celeba-caption/0.txt"):
        files[key].unlink()
        del times[key]
    toy_faces.generate(parts, counts, seed=1)
    again = _files(parts)
    assert {k: p.read_bytes() for k, p in again.items()} == {k: p.read_bytes() for k, p in _files(whole).items()}
    assert all(again[key].stat().st_mtime_ns == before for key, before in times.items())


@pytest.mark.parametrize("change", ["seed", "counts", "drawing"])
def test_another_world_in_the_same_folder_starts_anew(tmp_path, change, monkeypatch):
    toy_faces.generate(tmp_path, {"train": 2}, seed=1)
    first = tmp_path / "CelebA-HQ-img" / "0.jpg"
    before, stamp = first.read_bytes(), first.stat().st_mtime_ns
    if change == "drawing":
        monkeypatch.setattr(tree, "drawing_version", lambda code: "another")
    toy_faces.generate(tmp_path, {"train": 1 if change == "counts" else 2}, seed=2 if change == "seed" else 1)
    assert first.stat().st_mtime_ns != stamp
    assert (first.read_bytes() != before) == (change == "seed")
    assert (tmp_path / "CelebA-HQ-img" / "1.jpg").exists() == (change != "counts")
    assert len((tmp_path / "list_eval_partition.txt").read_text().splitlines()) == (1 if change == "counts" else 2)


def test_world_file_notes_the_request(tmp_path):
    toy_faces.generate(tmp_path, {"val": 1}, seed=3)
    world = json.loads((tmp_path / "world.json").read_text())
    assert world["seed"] == 3 and world["counts"] == {"train": 0, "val": 1, "test": 0} and len(world["drawing"]) == 16


def test_a_foreign_dataset_is_never_overwritten(tmp_path):
    (tmp_path / "CelebA-HQ-img").mkdir()
    with pytest.raises(DataError, match="not drawn here"):
        toy_faces.generate(tmp_path, {"train": 1})
    assert not (tmp_path / "world.json").exists()


@pytest.mark.parametrize("counts", [{"trian": 1}, {"train": -1}])
def test_wrong_requests_are_named(tmp_path, counts):
    with pytest.raises(ConfigError, match=next(iter(counts))):
        toy_faces.generate(tmp_path, counts)
