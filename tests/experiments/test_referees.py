"""The referees of a domain: trained once, found again, released, and refused where they are not what is asked for.

Networks are trained for two steps. All numbers from seed 0.
"""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from worlds.places import FACES, REFEREE, make_repository, with_domain
from worlds.tiny_attributes import PoolingStub

import gcdp.experiments.referees as referees
from gcdp.data.pairs import build_store
from gcdp.errors import CheckpointError, DataError
from gcdp.experiments.referee_training import train_attributes, train_segmenter, train_two_tower
from gcdp.experiments.referees import (
    Referees,
    make_referees,
    open_referee,
    open_referees,
    referee_folder,
    referee_pairs,
)
from gcdp.toy.on_the_fly import DrawnStreets

RELEASE = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
PARTS = ("", "attributes", "alignment")  # folders of the referees below the first one's
MORE = {"attributes": {}, "alignment": {"embedding": 6, "hidden": 8}}
TRAININGS = {
    "train_segmenter": train_segmenter,
    "train_attributes": train_attributes,
    "train_two_tower": train_two_tower,
}


@pytest.fixture
def counted(monkeypatch):
    """Names of the trainings of referees, as they happen."""
    calls = []

    def noted(name):
        def train(*args):
            calls.append(name)
            return TRAININGS[name](*args)

        return train

    for name in TRAININGS:
        monkeypatch.setattr(referees, name, noted(name))
    return calls


def with_referee(**changes):
    """The sections of the faces' profile, its referee otherwise by `changes`."""
    return FACES | {"referee": FACES["referee"] | changes}


def test_the_referee_is_trained_once_and_found_again(repository, counted):
    profile = make_repository(repository, referee=REFEREE)
    with pytest.raises(CheckpointError, match=r"referee/streets is missing: run the notebook 04_evaluators first"):
        open_referee(profile, "streets")
    made, again = make_referees(profile, "streets"), make_referees(profile, "streets")
    referee = made.segmenter
    assert len(counted) == 1 and made == Referees(referee) and referee.facts["scenes"] == 3
    assert referee.facts["split"] == "referee"  # of no split that a generator sees
    images = np.random.default_rng(0).integers(256, size=(3, 8, 16, 3), dtype=np.uint8)
    for found in (again.segmenter, open_referee(profile, "streets")):
        assert np.array_equal(found.read(images).features, referee.read(images).features)


def test_a_referee_of_another_network_is_refused_by_name(repository, counted):
    make_referees(make_repository(repository, referee=REFEREE), "streets")
    other = make_repository(repository, referee=REFEREE | {"network": {"widths": [4, 4]}})
    with pytest.raises(CheckpointError, match=r"referee/streets has another network than params/tiny\.yaml asks for"):
        open_referees(other, "streets")


@pytest.mark.parametrize(
    "change", [{"network": {"widths": [4, 4]}}, {"scenes": 2}, {"train": REFEREE["train"] | {"steps": 3}}, "code"]
)
def test_a_referee_of_other_settings_scenes_or_code_is_trained_anew(repository, counted, monkeypatch, change):
    make_referees(make_repository(repository, referee=REFEREE), "streets")
    assert len(counted) == 1
    if change == "code":
        monkeypatch.setattr("gcdp.experiments.referee_training.source_fingerprint", lambda *modules: "of an edit")
        change = {}
    other = make_repository(repository, referee=REFEREE | change)
    for _ in range(2):
        made = make_referees(other, "streets").segmenter
    assert len(counted) == 2 and made.facts["scenes"] == other.referee.scenes
    assert made.facts["recipe"]["steps"] == other.referee.train.steps


def test_scenes_of_a_referee_are_drawn_once_for_each_count(repository):
    profile = make_repository(repository, referee=REFEREE)
    pairs = referee_pairs(profile, "streets")
    index = repository / "data/tiny/streets/referee/index.json"
    before = index.stat().st_mtime_ns
    assert len(pairs) == 3 and len(referee_pairs(profile, "streets")) == 3 and index.stat().st_mtime_ns == before
    assert len(referee_pairs(make_repository(repository, referee=REFEREE | {"scenes": 2}), "streets")) == 2


def test_scenes_that_a_referee_can_no_longer_learn_from_are_drawn_anew(repository, monkeypatch):
    """Of another size, kept without larger pairs, damaged, or of other drawing code."""
    profile = make_repository(repository, referee=REFEREE)
    store, images = referee_pairs(profile, "streets").store, repository / "data/tiny/streets/referee/images.npy"
    assert store.oversample == 2
    build_store(DrawnStreets(3), "referee", store.size, store.folder)
    assert referee_pairs(profile, "streets").store.oversample == 2
    images.write_bytes(b"damaged")
    referee_pairs(profile, "streets").store.verify()
    before = images.stat().st_mtime_ns
    assert len(referee_pairs(profile, "streets")) == 3 and images.stat().st_mtime_ns == before
    monkeypatch.setattr("gcdp.toy.on_the_fly.drawing_version", lambda code: "another")
    assert referee_pairs(profile, "streets").store.source_version == "another"
    assert images.stat().st_mtime_ns != before


def test_without_scenes_of_its_own_the_referee_learns_from_the_train_split(repository):
    profile = make_repository(repository, referee=REFEREE | {"scenes": 0})
    pairs = referee_pairs(profile, "streets")
    assert len(pairs) == 4 and pairs.store.split == "train"


def test_scenes_can_only_be_drawn_of_a_drawn_world(repository):
    profile = make_repository(repository, referee=REFEREE, **with_domain(source="folder", counts={}))
    with pytest.raises(DataError, match=r"params/tiny\.yaml: referee\.scenes .* 'streets' is not drawn: set it to 0"):
        make_referees(profile, "streets")


def test_a_released_referee_is_installed(repository, counted):
    make_referees(make_repository(repository, referee=REFEREE), "streets")
    profile = make_repository(repository, referee=REFEREE, released="tiny")
    made = referee_folder(profile, "streets")
    with pytest.raises(CheckpointError, match=r"weights/tiny-streets-referee is missing: .* 'tiny-scratch'"):
        make_referees(profile, "streets")
    released = shutil.copytree(made, repository / "weights/tiny-streets-referee")
    (made / "of an older release").touch()
    (made / "model.safetensors").write_bytes(b"damaged")
    referee = make_referees(profile, "streets").segmenter
    assert len(counted) == 1 and referee.facts["scenes"] == 3
    assert sorted(p.name for p in made.iterdir()) == sorted(p.name for p in released.iterdir())
    (released / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        make_referees(profile, "streets")


def test_a_published_referee_is_named_where_the_trained_one_would_lie(repository, monkeypatch):
    asked = []
    monkeypatch.setattr(referees, "load_referee", lambda *args: asked.append(args) or "the referee")
    profile = make_repository(repository, referee={"name": "segformer-b5", "folder": "somewhere"})
    assert make_referees(profile, "streets").segmenter == open_referee(profile, "streets") == "the referee"
    assert asked[0][:2] == ("segformer-b5", "somewhere") and asked[0][2].num_classes == 20
    source = json.loads((referee_folder(profile, "streets") / "source.json").read_text())
    assert source == {"name": "segformer-b5", "folder": "somewhere"}


def test_three_referees_are_trained_once_and_found_again(faces, counted):
    profile = make_repository(faces, **FACES)
    made = make_referees(profile, "faces")
    assert counted == list(TRAININGS)
    found = make_referees(profile, "faces")
    assert counted == list(TRAININGS)
    assert made.attributes.facts["scenes"] == made.alignment.facts["scenes"] == 3
    assert made.attributes.facts["split"] == "referee" and made.alignment.name == "toy alignment score"
    images = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    captions = ["black hair", "a hat", "smiling"]
    first, again = (each.read(images, captions) for each in (made, open_referees(profile, "faces")))
    assert np.array_equal(first.reading.layouts, again.reading.layouts)
    assert first.present.shape == (3, 20) and np.array_equal(first.present, again.present)
    assert first.alignment.shape == (3,) and np.array_equal(first.alignment, again.alignment)
    shifted = [made.read(images, np.roll(captions, k).tolist()).alignment for k in (1, 2)]
    np.testing.assert_allclose(first.alignment_others, np.mean(shifted, 0), rtol=1e-5)
    assert found.attributes.table == made.attributes.table


def test_streets_have_one_referee(repository):
    made = make_referees(make_repository(repository, referee=REFEREE), "streets")
    assert made.attributes is None and made.alignment is None
    readings = made.read(np.zeros((2, 8, 16, 3), np.uint8), ["a", "b"])
    assert readings[1:] == (None, None, None) and readings.reading.layouts.shape == (2, 8, 16)


@pytest.mark.parametrize("part", PARTS)
def test_a_referee_that_was_not_made_yet_is_named(faces, part):
    profile = make_repository(faces, **FACES)
    make_referees(profile, "faces")
    shutil.rmtree(referee_folder(profile, "faces", part))
    first = part or "attributes"  # without the first one's folder nothing is there
    with pytest.raises(
        CheckpointError, match=rf"referee/faces/{first} is missing: run the notebook 04_evaluators first"
    ):
        open_referees(profile, "faces")


@pytest.mark.parametrize("part", PARTS[1:])
def test_a_referee_of_another_network_is_refused_by_its_folder_and_setting(faces, part):
    make_referees(make_repository(faces, **FACES), "faces")
    other = make_repository(
        faces, **with_referee(**{part: FACES["referee"][part] | {"network": {"widths": [4, 4], **MORE[part]}}})
    )
    message = (
        rf"referee/faces/{part} has another network than params/tiny\.yaml asks for .referee\.{part}\.network.: del"
    )
    with pytest.raises(CheckpointError, match=message):
        open_referees(other, "faces")
    shutil.rmtree(referee_folder(other, "faces", part))  # the remedy that it names
    state = other.results_folder("checkpoints", f"faces-{part}")
    with pytest.raises(CheckpointError, match=f"faces-{part} holds a run with other settings: .* or delete the folder"):
        make_referees(other, "faces")
    shutil.rmtree(state)
    assert vars(make_referees(other, "faces"))[part].config.widths == (4, 4)


def test_referees_of_another_text_encoder_are_refused(faces, monkeypatch):
    profile = make_repository(faces, **FACES)
    make_referees(profile, "faces")
    monkeypatch.setattr(PoolingStub, "fingerprint", "another")
    with pytest.raises(CheckpointError, match="was trained on text states of 'stub' with other weights"):
        open_referees(profile, "faces")


def release(*parts):
    for part in parts:
        runpy.run_path(str(RELEASE))["release"]("tiny", "faces", part or "referee")


@pytest.fixture
def released(faces, counted):
    """A profile of released referees, once they were trained by its like from scratch."""
    profile = make_repository(faces, **FACES)
    shutil.copy(faces / "params/tiny.yaml", faces / "params/tiny-scratch.yaml")
    make_referees(profile, "faces")
    shutil.move(faces / "results/tiny", faces / "results/tiny-scratch")
    counted.clear()
    return make_repository(faces, **FACES, released="tiny")


def test_released_referees_are_copied_and_read_as_those_that_were_trained(released, counted, faces):
    release("", "attributes")
    with pytest.raises(CheckpointError, match=r"weights/tiny-faces-alignment is missing: .* 'tiny-scratch'"):
        make_referees(released, "faces")
    release("alignment")
    stale = referee_folder(released, "faces", "attributes") / "of an older release"
    stale.touch()
    found = make_referees(released, "faces")
    assert counted == [] and not stale.exists()
    for part in PARTS:
        folder, source = referee_folder(released, "faces", part), faces / f"weights/tiny-faces-{part or 'referee'}"
        files = sorted(path.name for path in source.iterdir())
        assert files == ["config.json", "curve.csv", "model.safetensors"]
        assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in files)
    assert found.attributes.facts["scenes"] == found.alignment.facts["scenes"] == 3


def test_a_damaged_release_is_refused(released, faces):
    release(*PARTS)
    (faces / "weights/tiny-faces-attributes/model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"attributes/model\.safetensors .* does not match its checksum"):
        make_referees(released, "faces")


def test_a_referee_that_changed_on_disk_is_not_released(released, faces):
    path = faces / "results/tiny-scratch/referee/faces/alignment/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        CheckpointError, match=r"alignment/model\.safetensors is missing or does not match its checksum"
    ):
        release("alignment")


def test_captions_of_the_scenes_are_those_that_a_domain_takes(faces):
    profile = make_repository(faces, **FACES)
    pairs = referee_pairs(profile, "faces")
    assert [len(group) for group in pairs.captions] == [2, 2, 2] and pairs.store.split == "referee"
    every = make_repository(
        faces, **FACES | {"domains": {"faces": FACES["domains"]["faces"] | {"captions_per_pair": 0}}}
    )
    whole = referee_pairs(every, "faces").captions
    assert [len(group) for group in whole] == [10, 10, 10] and [group[:2] for group in whole] == pairs.captions
