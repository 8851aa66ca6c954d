"""Samples on disk: what is saved comes back, and folders that do not hold it are named."""

import json

import numpy as np
import pytest

from gcdp.errors import DataError
from gcdp.generators.samples import Samples


def samples(count=3, **absent):
    rng = np.random.default_rng(0)
    halves = {"images": rng.integers(256, size=(count, 2, 4, 3), dtype=np.uint8)}
    halves["layouts"] = rng.integers(5, size=(count, 2, 4), dtype=np.uint8)
    captions = [f"a road, número {i}" for i in range(count)]
    return Samples(
        **(halves | absent), captions=captions, seeds=list(range(count)), settings={"eta": 0.5, "keys": ["a"]}
    )


def same(a, b):
    halves = [(getattr(a, half), getattr(b, half)) for half in ("images", "layouts")]
    equal = all(one is other is None or np.array_equal(one, other) for one, other in halves)
    return equal and (a.captions, a.seeds, a.settings) == (b.captions, b.seeds, b.settings)


@pytest.mark.parametrize("absent", [{}, {"images": None}, {"layouts": None}], ids=str)
def test_samples_come_back_as_they_were(tmp_path, absent):
    drawn = samples(**absent)
    drawn.save(tmp_path / "new" / "folder")
    assert same(Samples.load(tmp_path / "new" / "folder"), drawn)


def test_saving_again_leaves_nothing_of_the_former_samples(tmp_path):
    samples(5).save(tmp_path)
    samples(layouts=None).save(tmp_path)
    assert Samples.load(tmp_path).layouts is None and not (tmp_path / "layouts.npy").exists()


@pytest.mark.parametrize("stop", ["images.npy", "layouts.npy"])
def test_half_a_drawing_is_not_taken_for_a_whole_one(tmp_path, monkeypatch, stop):
    samples().save(tmp_path)
    save = np.save

    def full_disk(path, array):
        if path.name == stop:
            raise OSError("no space left")
        save(path, array)

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        samples(5).save(tmp_path)
    with pytest.raises(DataError, match=r"samples\.json does not exist: draw the samples again"):
        Samples.load(tmp_path)


def rewrite(folder, **changes):
    path = folder / "samples.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "no facts": (lambda f: (f / "samples.json").unlink(), r"samples\.json does not exist"),
    "cut facts": (lambda f: (f / "samples.json").write_text("{"), r"samples\.json is not readable JSON"),
    "a list": (lambda f: (f / "samples.json").write_text("[1]"), r"samples\.json is not of format 1"),
    "another format": (lambda f: rewrite(f, format=0), r"samples\.json is not of format 1"),
    "no seeds": (lambda f: rewrite(f, seeds=None), "or was altered"),
    "no images": (lambda f: (f / "images.npy").unlink(), r"images\.npy is missing or damaged"),
    "empty images": (lambda f: (f / "images.npy").write_bytes(b""), r"images\.npy is missing or damaged"),
    "cut layouts": (lambda f: (f / "layouts.npy").write_bytes((f / "layouts.npy").read_bytes()[:-5]), r"layouts\.npy"),
    "other layouts": (lambda f: np.save(f / "layouts.npy", np.zeros((3, 3, 4))), r"layouts\.npy does not fit"),
    "an object": (lambda f: np.save(f / "layouts.npy", np.array([{}])), r"layouts\.npy is missing or damaged"),
}


@pytest.mark.parametrize("damage, message", DAMAGE.values(), ids=DAMAGE)
def test_damaged_folders_are_named_with_the_remedy(tmp_path, damage, message):
    samples().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=f"{message}.*draw the samples again"):
        Samples.load(tmp_path)
