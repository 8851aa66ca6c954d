"""From a profile to the objects of a run, on generated streets in a repository of its own."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from worlds import tiny
from worlds.places import make_repository, with_domain

import gcdp.experiments.datasets as datasets
import gcdp.experiments.models as models
import gcdp.experiments.runs as runs
from gcdp.data.augmentation import Augmentation
from gcdp.data.pairs import PairStore
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.experiments.profile import load_profile, make_profile
from gcdp.network.unet import UNet
from gcdp.storage import write_json
from gcdp.training.checkpoint import load_model, save_model
from gcdp.weights import to_half


def test_pairs_captions_and_text(repository):
    profile = load_profile("tiny")
    text = datasets.open_text(profile, "streets")
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        store, captions = (
            datasets.open_pairs(profile, "streets", split),
            datasets.open_captions(profile, "streets", split),
        )
        assert len(store) == len(captions) == count and store.size == (8, 16) and store.classes.num_classes == 20
        assert all(len(group) == 2 for group in captions)
        assert all(caption in text for group in captions for caption in group)
    # each split has its own street scenes and its own order of words
    first = [np.array(datasets.open_pairs(profile, "streets", split).images[0]) for split in ("train", "val")]
    assert not (first[0] == first[1]).all()
    assert sorted(os.listdir(repository / "data/tiny/streets")) == ["captions", "pairs", "raw", "text"]


def test_a_run_has_all_that_training_takes(repository):
    run = runs.prepare_run("tiny", "streets", "joint")
    assert len(run.pairs) == 4 and len(run.validation) == 2 and run.pairs.seed == 5
    assert run.pairs.augmentation is not None and run.validation.augmentation is None
    assert run.card.unet.num_classes == 20 and run.card.unet.text_width == tiny.StubEncoder.width
    assert run.card.encoder == "stub" and run.card.size == (8, 16)
    assert run.state_folder == repository / "results/tiny/checkpoints/streets-joint"
    assert run.model_folder == repository / "results/tiny/models/streets-joint"
    lone = runs.model_card(load_profile("tiny"), "streets", "gaussian")
    assert lone.unet.num_classes == 0 and lone.classes.num_classes == 20 and lone.hash() != run.card.hash()


def test_known_layouts_are_those_of_a_training_on_so_many_pairs(repository):
    profile = load_profile("tiny")
    changed = {**profile.models, "joint": replace(profile.model("joint"), train={"labeled": 0.5})}
    half = replace(profile, models=changed)
    fewer = runs.prepare_run(profile, "streets", "joint", seed=3, pairs=2).pairs
    some = runs.prepare_run(half, "streets", "joint", seed=3).pairs
    assert len(some) == 4 and some.labeled == set(fewer.rows.tolist()) and fewer.labeled is None
    assert runs.prepare_run(half, "streets", "joint", seed=3, pairs=2).pairs.labeled < some.labeled
    with pytest.raises(ConfigError, match="5 training pairs of streets were asked for, it has 4: ask for 1 to that"):
        runs.prepare_run(profile, "streets", "joint", pairs=5)


@pytest.mark.parametrize("train", [{"labeled": 0.5}, {"labeled": 0.5, "times": "image_given_layout"}])
def test_hidden_layouts_need_a_model_of_both_halves(train):
    halves = {"image": True, "layout": "times" in train}
    content = {
        "domains": {"a": {"source": "toy_streets", "size": [16, 32]}},
        "models": {"m": {**halves, "train": train}},
    }
    with pytest.raises(ConfigError, match=r"models\.m\.train: labeled 0\.5 needs both halves and times 'joint'"):
        make_profile("tiny", content)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("pairs/train", r"pairs/train/index\.json does not exist: build"),
        ("pairs/val", r"pairs/val/index\.json does not exist: build"),
        ("captions/train.jsonl", r"captions file .*captions/train\.jsonl does not exist: write"),
        ("text", r"text/index\.json does not exist: encode"),
    ],
)
def test_what_is_missing_is_named(repository, missing, message):
    path = repository / "data/tiny/streets" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=message):
        runs.prepare_run("tiny", "streets", "joint")


def test_captions_of_another_store_are_refused(repository):
    folder = repository / "data/tiny/streets/captions"
    shutil.copy(folder / "val.jsonl", folder / "train.jsonl")
    with pytest.raises(DataError, match="lists other pairs than the store: write the captions again"):
        runs.prepare_run("tiny", "streets", "joint")


def test_text_of_older_captions_is_refused(repository):
    path = repository / "data/tiny/streets/captions/train.jsonl"
    path.write_text(path.read_text().replace("urban", "rural"))
    with pytest.raises(DataError, match=r"captions are missing in text cache .*: build the cache again"):
        runs.prepare_run("tiny", "streets", "joint")


@pytest.mark.parametrize("counts", [{}, {"train": 4, "test": 2}, {"train": 4, "val": 0, "test": 2}])
def test_a_world_without_some_split_is_refused_before_drawing(empty, counts):
    profile = make_repository(empty, **with_domain(counts=counts))
    with pytest.raises(ConfigError, match=r"params/tiny\.yaml: domains\.streets\.counts asks for no scene of"):
        datasets.prepare_pairs(profile, "streets")
    assert not (empty / "data").exists()


def test_another_seed_or_fewer_scenes_make_another_world(empty):
    def draw(**changes):
        profile = make_repository(empty, **with_domain(**changes))
        return [np.array(store.images) for store in datasets.prepare_pairs(profile, "streets").values()]

    few = {"train": 2, "val": 1, "test": 1}
    first, again, other = draw(counts=few), draw(counts=few), draw(counts=few, seed=1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not any((a == b).all() for a, b in zip(first, other, strict=True))
    assert [len(images) for images in draw(counts={"train": 1, "val": 1, "test": 1})] == [1, 1, 1]


def folder_source(root, splits):
    """Pairs in the folder format, with a class table of four classes."""
    for split in splits:
        for i in range(2):
            for kind, channels in (("images", (3,)), ("layouts", ())):
                path = root / kind / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 16, *channels), i, np.uint8)).save(path)
    (root / "classes.json").write_text(json.dumps(replace(tiny.TABLE, twins=()).to_dict()))


def test_own_data_need_three_splits_or_stand_ins(empty):
    own = with_domain(source="folder", root="mine", counts={})
    folder_source(empty / "mine", ["train", "val"])
    profile = make_repository(empty, **own)
    with pytest.raises(ConfigError, match=r"mine has no split 'test' to serve as test \(found: train, val\): add it"):
        datasets.prepare_pairs(profile, "streets")
    profile = make_repository(empty, **with_domain(source="folder", root="mine", counts={}, splits={"test": "val"}))
    stores = datasets.prepare_pairs(profile, "streets")
    assert list(stores) == ["train", "val", "test"] and (stores["test"].images == stores["val"].images).all()
    for path in (empty / "mine" / "images" / "train").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"images/train is empty"):
        datasets.prepare_pairs(profile, "streets")
    assert isinstance(datasets.open_pairs(profile, "streets", "train"), PairStore)  # the former store is untouched


def test_only_the_train_split_keeps_larger_pairs_for_views(empty):
    few = {"train": 2, "val": 1, "test": 1}
    for rescale, factor in (([1.0, 1.1], 2), ([1.0, 2.5], 3), ([1.0, 1.0], 1)):
        profile = make_repository(empty, **with_domain(counts=few, rescale=rescale, flip=False))
        stores = datasets.prepare_pairs(profile, "streets")
        assert {split: store.oversample for split, store in stores.items()} == {"train": factor, "val": 1, "test": 1}
        augmentation = datasets.training_augmentation(profile, "streets")
        assert augmentation == Augmentation(tuple(rescale), flip=False) and augmentation.oversample == factor


def test_a_missing_dataset_is_named(empty):
    profile = make_repository(empty, **with_domain(source="cityscapes"))
    with pytest.raises(DataError, match=r"data/tiny/streets/raw/leftImg8bit does not exist: unpack"):
        datasets.prepare_pairs(profile, "streets")
    profile = make_repository(empty, **with_domain(source="cityscape"))
    with pytest.raises(ConfigError, match="unknown source kind 'cityscape': use one of"):
        datasets.prepare_pairs(profile, "streets")


def release(repository, card, curve=True):
    folder = repository / "weights" / "tiny-streets-joint"
    save_model(folder, to_half(UNet(card.unet).state_dict()), card)
    if curve:
        (folder / "curve.csv").write_text("step,image\n1,0.5\n")
    return folder


def test_released_weights_are_installed(repository):
    profile = make_repository(repository, released="tiny")
    folder = release(repository, runs.model_card(profile, "streets", "joint"))
    assert runs.released_folder(profile, "streets", "joint") == folder
    card = models.install_released(profile, "streets", "joint")
    installed = repository / "results/tiny/models/streets-joint"
    assert card == load_model(installed)[2]
    for name in ("model.safetensors", "config.json", "curve.csv"):
        assert (installed / name).read_bytes() == (folder / name).read_bytes()


def test_released_weights_that_do_not_fit_name_the_profile_that_retrains(repository):
    profile = make_repository(repository, released="tiny")
    card = runs.model_card(profile, "streets", "joint")
    release(repository, replace(card, unet=replace(card.unet, heads=4)))
    with pytest.raises(CheckpointError, match=r"-joint .* unet\.heads 4, .*'tiny-scratch' trains them anew"):
        models.install_released(profile, "streets", "joint")
    folder = release(repository, card)
    os.truncate(folder / "model.safetensors", 100)
    with pytest.raises(CheckpointError, match=r"checksum: .*'tiny-scratch' trains them anew"):
        models.install_released(profile, "streets", "joint")
    assert not (repository / "results/tiny/models/streets-joint").exists()


def test_released_weights_that_are_not_there(repository):
    profile = make_repository(repository, released="tiny")
    with pytest.raises(CheckpointError, match=r"weights/tiny-streets-joint is missing: .* 'tiny-scratch'"):
        models.install_released(profile, "streets", "joint")
    release(repository, runs.model_card(profile, "streets", "joint"), curve=False)
    with pytest.raises(CheckpointError, match=r"curve\.csv is missing: fetch the whole repository"):
        models.install_released(profile, "streets", "joint")
    plain = make_repository(repository)
    assert runs.released_folder(plain, "streets", "joint") is None
    with pytest.raises(ConfigError, match="profile 'tiny' uses no released weights"):
        models.install_released(plain, "streets", "joint")


def test_json_has_one_layout(tmp_path):
    for content in ({"b": 1, "a": [2]}, {"a": [2], "b": 1}):
        write_json(tmp_path / "metrics" / "m.json", content)
        assert (tmp_path / "metrics" / "m.json").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'
