"""A domain that enlarges another: what they share, what it trains, what is refused, and its generators. Seed 0."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import prepare
from worlds.places import PROFILE, REFEREE, make_repository

import gcdp.experiments.runs as runs
from gcdp.data.enlarging import EnlargerConfig, EnlargingDataset
from gcdp.data.pairs import PairStore
from gcdp.errors import ConfigError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.enlarging import INTERPOLATED, enlarged_pairs, enlarging_measures, enlarging_models
from gcdp.experiments.models import fit, open_model, weight_files
from gcdp.experiments.profile import load_profile
from gcdp.experiments.selection import selection, trained_models
from gcdp.experiments.sweep import Sweep
from gcdp.generators.cascade import Cascade, CascadeConfig

SMALL = PROFILE["domains"]["streets"]
LARGE = SMALL | {"size": [16, 32], "rescale": [1.0, 1.0], "enlarges": "streets"}
MODELS = {
    "joint": {},
    "enlarger": {"kind": "enlarger", "options": {"crop": [8, 16]}},
    "cascade": {"kind": "cascade", "parts": {"base": "joint", "enlarger": "enlarger"}, "options": {"level": 0.5}},
    "resized": {"kind": "resized", "parts": {"base": "joint"}},
}
SECTIONS = {
    "models": MODELS, "referee": REFEREE, "study": {"models": ["joint"], "num_samples": 2},
    "sampling": {"num_steps": 2, "guidances": [2.0]}, "evaluate": {"num_samples": 2},
}  # fmt: skip


def two(**changes):
    return {"domains": {"streets": SMALL, "streets_large": LARGE | changes}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("enlarging"), **two(), **SECTIONS)


@pytest.fixture
def profile(place, stub_encoder, monkeypatch):
    monkeypatch.chdir(place)
    return load_profile("tiny", "streets_large")


def test_both_domains_have_the_same_scenes_and_one_set_of_files(place, profile):
    small, large = (open_pairs(profile, domain, "train") for domain in ("streets", "streets_large"))
    assert small.keys == large.keys and large.size == (16, 32) and small.size == (8, 16)
    assert not (place / "data/tiny/streets_large/raw").exists()
    assert not list((place / "data/tiny/streets").glob(".raw.lock"))


def test_a_domain_of_super_resolution_leaves_study_and_figures_to_the_smaller_one(profile):
    assert profile.study.models == () and profile.features.models == () and profile.directions.diagonal == ""
    assert load_profile("tiny", "streets").study.models == ("joint",)
    assert [name for name in MODELS if profile.belongs(name)] == ["enlarger", "cascade", "resized"]
    assert [name for name in MODELS if load_profile("tiny", "streets").belongs(name)] == ["joint"]
    assert trained_models(profile) == ["enlarger"] and trained_models(load_profile("tiny", "streets")) == ["joint"]


def test_the_selection_names_both_networks(profile):
    chosen = selection(load_profile("tiny"))
    networks = {"first": "streets-joint", "second": "streets_large-enlarger"}
    assert chosen["enlargings"] == {"streets_large": {"domain": "streets_large", "smaller": "streets", **networks}}
    assert chosen["tables"] == list(chosen["studies"]) == chosen["class_domains"] == ["streets"]
    assert chosen["models"]["streets_large-enlarger"]["also"] == "streets/pairs"
    assert chosen["models"]["streets-joint"]["also"] == "streets/pairs/train"
    assert set(chosen["evaluations"]) == {"streets-joint", "streets_large-cascade", "streets_large-resized"}
    assert chosen["report"]["super_resolution"] == "results/tiny/metrics/super_resolution"


def test_training_takes_crops_of_both_sizes(profile):
    run = runs.prepare_run(profile, "streets_large", "enlarger", seed=3, pairs=2)
    assert run.card.unet.low_resolution and run.card.size == (16, 32)
    assert isinstance(run.pairs, EnlargingDataset) and len(run.pairs) == 2 and run.pairs.augmentation.flip
    assert not run.validation.augmentation.flip and len(run.validation) == 2
    item = run.pairs[(0, 1)]
    assert item["x"].shape == (3, 8, 16) and item["low_y"].shape == (4, 8)
    assert isinstance(run.pairs.low, PairStore) and run.pairs.low.size == (8, 16)


def test_two_networks_draw_as_one_and_interpolation_is_their_rival(profile, tmp_path):
    fit(load_profile("tiny", "streets"), "joint", runs.prepare_run("tiny", "streets", "joint"))
    fit(profile, "enlarger", runs.prepare_run(profile, "streets_large", "enlarger"))
    assert enlarging_models(profile) == {"cascade": "cascade", "resized": "resized"}
    cascade, rival = (open_model(profile, "streets_large", name) for name in ("cascade", "resized"))
    captions = ["a street", "a car"]
    drawn, plain = (each.sample(captions, 2, seed=0) for each in (cascade, rival))
    assert drawn.images.shape == plain.images.shape == (2, 16, 32, 3)
    assert np.array_equal(plain.layouts[:, ::2, ::2], cascade.base.sample(captions, 2, seed=0).layouts)
    parts = {name: [path.parent.name for path in weight_files(profile, "streets_large", name)] for name in MODELS}
    assert parts["cascade"] == ["streets-joint", "streets_large-enlarger"] and parts["resized"] == ["streets-joint"]

    world, rows = enlarged_pairs(profile, "streets_large", cascade.enlarger, (0.0, 0.5), 2)
    assert list(rows) == [INTERPOLATED, "level 0", "level 0.5"] and world.images.shape == (2, 16, 32, 3)
    again = Cascade(cascade.base, cascade.enlarger, CascadeConfig(level=0.0))
    kept = [Sweep(model, world, profile.sampling, 0, tmp_path, []).identity for model in (cascade, again)]
    assert cascade.config.level == 0.5 and kept[0] != kept[1]  # pairs of another level are drawn anew

    class Referee:
        def read(self, images):
            return Reading(np.zeros(images.shape[:3], np.uint8), images.reshape(len(images), -1)[:, :4].astype(float))

    truth = replace(rows[INTERPOLATED], images=world.images, layouts=world.layouts)
    found = enlarging_measures(world, truth, Referee(), Referee().read(world.images).features, world.classes)
    assert found["miou"]["value"] == 1 and found["error"]["value"] == 0 and abs(found["frechet"]["value"]) < 1e-6
    assert found["frechet"]["low"] is None and found["miou"]["n"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": [16, 16]}, r"streets_large.enlarges: size must be \[16, 32\], 2 times that of streets"),
        ({"enlarges": "towns"}, "profile 'tiny' has no domain 'towns': choose one of streets, streets_large"),
        ({"enlarges": "streets_large"}, "size must be"),
        ({"seed": 4}, "'seed' must be that of streets: both hold the same pairs"),
        ({"counts": {"train": 5, "val": 2, "test": 2}}, "'counts' must be that of streets"),
    ],
)
def test_other_pairs_are_refused(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        make_repository(tmp_path, **two(**changes), **SECTIONS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "cascade", "parts": {"base": "enlarger", "enlarger": "enlarger"}}, "must be of kind 'diffusion'"),
        ({"kind": "cascade", "parts": {"base": "joint", "enlarger": "joint"}}, "must be of kind 'enlarger'"),
        ({"kind": "cascade", "parts": {"base": "joint"}}, "must name: base, enlarger"),
    ],
)
def test_parts_of_another_kind_are_refused(tmp_path, monkeypatch, model, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        make_repository(tmp_path, **two(), **SECTIONS | {"models": MODELS | {"cascade": model}})


def test_a_crop_has_two_sides():
    assert EnlargerConfig().crop == () and EnlargerConfig((8, 16)).crop == (8, 16)
    with pytest.raises(ConfigError, match=r"crop must be \[height, width\], or empty for whole pairs; got \[8\]"):
        EnlargerConfig((8,))
