"""The drawn street world: same bytes, allowed labels, a long tail, and color does not tell the class."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from gcdp.errors import ConfigError, DataError
from gcdp.toy.drawing import Dice
from gcdp.toy.streets import world as toy_streets
from gcdp.toy.streets.picture import draw_scene
from gcdp.toy.streets.scene import PRESENCE

NAMED = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
VOID = {0, 1, 4, 5, 6, 9, 14, 15}
RECORDED = {0: "8b4cc34487e585a2", 7: "7568a952ce762772", 2024: "da77996a4a31aac3"}


def _digest(*arrays) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


@pytest.fixture(scope="module")
def world():
    """300 scenes: images (N, H, W, 3) and label ids (N, H, W)."""
    images, labels = zip(*(draw_scene(seed) for seed in range(300)), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.mark.parametrize("seed", sorted(RECORDED))
def test_bytes_of_a_seed_are_the_recorded_ones(seed):
    assert _digest(*draw_scene(seed)) == RECORDED[seed]


def test_same_seed_same_bytes_and_other_seed_other_scene(world):
    images, labels = world
    image, label = draw_scene(11)
    assert np.array_equal(image, images[11]) and np.array_equal(label, labels[11])
    assert len({_digest(image) for image in images}) == len(images)


def test_only_allowed_labels_in_the_right_type(world):
    images, labels = world
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (*labels.shape, 3)
    assert set(np.unique(labels).tolist()) <= set(NAMED.values()) | VOID


def test_presence_follows_the_table(world):
    labels = world[1]
    for name, number in NAMED.items():
        wanted = PRESENCE[name] / 1000
        found = np.mean([(layout == number).any() for layout in labels])
        # Occlusion may hide what was called for; the rest is four standard errors of 300 scenes.
        error = 4 * np.sqrt(wanted * (1 - wanted) / len(labels))
        assert wanted * 0.75 - error <= found <= wanted * 1.05 + error, name


def test_a_named_class_is_large_enough_to_see(world):
    labels = world[1]
    areas = [np.bincount(layout.ravel(), minlength=34)[list(NAMED.values())] for layout in labels]
    areas = np.concatenate(areas)
    areas = areas[areas > 0]
    assert areas.min() >= 48
    assert np.mean(areas >= 128) > 0.93


def test_no_class_determines_another(world):
    labels = world[1]
    present = np.array([[(layout == number).any() for number in NAMED.values()] for layout in labels])
    names = list(NAMED)
    always = present.all(axis=0)
    assert not always[[names.index(n) for n in ("sky", "building", "vegetation", "pole", "car")]].any()
    for rare in ("truck", "bus", "motorcycle", "train"):
        # Scenes with a rare class are as varied in the others as the rest are.
        some = present[present[:, names.index(rare)]][:, [names.index(n) for n in ("person", "fence", "bicycle")]]
        assert (some.mean(axis=0) > 0).all() and (some.mean(axis=0) < 1).all()


def _color_accuracy(images, labels, ids) -> float:
    """Balanced accuracy of naming pixels of the classes `ids` by the nearest mean color."""
    half = len(images) // 2
    pick = [[images[part][labels[part] == k].astype(float) for k in ids] for part in (slice(half), slice(half, None))]
    means = np.stack([pixels.mean(axis=0) for pixels in pick[0]])
    hits = []
    for index, pixels in enumerate(pick[1]):
        pixels = pixels[:: max(1, len(pixels) // 5000)]
        hits.append(np.mean(((pixels[:, None] - means) ** 2).sum(-1).argmin(1) == index))
    return float(np.mean(hits))


@pytest.mark.parametrize(
    ("names", "most"),
    [(("car", "truck", "bus"), 0.55), (("building", "wall", "fence"), 0.55), (("person", "rider"), 0.65),
     (("motorcycle", "bicycle"), 0.75), (("vegetation", "terrain"), 0.85), (tuple(NAMED), 0.3)],
)  # fmt: skip
def test_color_does_not_tell_the_class(world, names, most):
    assert _color_accuracy(*world, [NAMED[name] for name in names]) < most


def _files(root):
    return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*.png")) if p.is_file()}


def test_generate_writes_a_cityscapes_tree_with_disjoint_splits(tmp_path):
    toy_streets.generate(tmp_path, {"train": 3, "val": 2, "test": 2}, seed=4)
    files = _files(tmp_path)
    assert len(files) == 14
    name = "toyville/toyville_000001_000019"
    image = Image.open(files[f"leftImg8bit/val/{name}_leftImg8bit.png"])
    label = Image.open(files[f"gtFine/val/{name}_gtFine_labelIds.png"])
    assert (image.mode, label.mode) == ("RGB", "L") and image.size == label.size == (256, 128)
    contents = [path.read_bytes() for key, path in files.items() if key.startswith("leftImg8bit")]
    assert len(set(contents)) == 7


def test_a_stopped_generation_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy_streets.generate(whole, {"train": 4}, seed=1)

    def stop(*entropy):
        if entropy == (1, 0, 2):
            raise KeyboardInterrupt
        return Dice(*entropy)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(toy_streets, "Dice", stop)
        toy_streets.generate(parts, {"train": 4}, seed=1)
    files = _files(parts)
    assert len(files) == 4
    first, times = next(iter(files.values())), {key: path.stat().st_mtime_ns for key, path in files.items()}
    first.unlink()
    toy_streets.generate(parts, {"train": 4}, seed=1)
    again = _files(parts)
    assert {k: p.read_bytes() for k, p in again.items()} == {k: p.read_bytes() for k, p in _files(whole).items()}
    kept = [key for key in times if "000001" in key]
    assert kept and all(again[key].stat().st_mtime_ns == times[key] for key in kept)


def test_more_classes_appear_on_request_only():
    found: set[int] = set()
    for seed in range(40):
        found |= {k for k in np.unique(draw_scene(seed, extra_classes=152)[1]).tolist() if k >= 34}
    assert len(found) > 80 and max(found) < 34 + 152
    assert all(draw_scene(seed)[1].max() < 34 for seed in range(5))


@pytest.mark.parametrize("size", [(32, 64), (64, 128), (256, 512)])
def test_other_sizes_show_the_same_scene(size):
    image, label = draw_scene(3, size=size)
    assert image.shape == (*size, 3) and label.shape == size
    reference = np.asarray(Image.fromarray(draw_scene(3)[1]).resize(size[::-1], Image.Resampling.NEAREST))
    assert np.mean(label == reference) > 0.93


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda root: draw_scene(0, size=(128, 128)), "size"),
        (lambda root: draw_scene(0, extra_classes=153), "extra_classes"),
        (lambda root: toy_streets.generate(root, {"trian": 1}), "trian"),
        (lambda root: toy_streets.generate(root, {"train": -1}), "train"),
    ],
)
def test_wrong_requests_are_named(tmp_path, call, word):
    with pytest.raises(ConfigError, match=word):
        call(tmp_path)


def test_another_world_in_the_same_folder_starts_anew(tmp_path):
    toy_streets.generate(tmp_path, {"train": 3}, seed=1)
    stale = tmp_path / "leftImg8bit" / "train" / "toyville" / "toyville_000002_000019_leftImg8bit.png"
    first = stale.with_name("toyville_000000_000019_leftImg8bit.png")
    before = first.read_bytes()
    toy_streets.generate(tmp_path, {"train": 2}, seed=1)
    assert not stale.exists() and first.read_bytes() == before
    toy_streets.generate(tmp_path, {"train": 2}, seed=2)
    assert first.read_bytes() != before


def test_a_foreign_dataset_is_never_overwritten(tmp_path):
    (tmp_path / "gtFine").mkdir()
    with pytest.raises(DataError, match="not drawn here"):
        toy_streets.generate(tmp_path, {"train": 1})
    assert (tmp_path / "gtFine").is_dir()
