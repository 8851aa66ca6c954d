"""Models by name: each kind trains, opens, is installed and listed, and what a profile says of it is checked."""

import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds.places import EVERY_KIND, make_repository

import gcdp.experiments.models as models
from gcdp.errors import CheckpointError, ConfigError
from gcdp.experiments.datasets import held_out
from gcdp.experiments.runs import prepare_run
from gcdp.training.checkpoint import load_card

pytest.importorskip("diffusers")

RELEASE = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
TRAINED = [name for name, model in EVERY_KIND.items() if "parts" not in model]


@pytest.fixture(scope="module")
def results(prepared, tmp_path_factory):
    """A repository in which every network is trained; its curves by model."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        profile = make_repository(root, models=EVERY_KIND)
        curves = {name: models.fit(profile, name, prepare_run(profile, "streets", name)).curve.rows for name in TRAINED}
    return root, curves


@pytest.fixture
def place(results, stub_encoder, tmp_path, monkeypatch):
    """A copy of it, as working folder."""
    shutil.copytree(results[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def profile(place):
    return make_repository(place, models=EVERY_KIND)


def changed(place, name, **settings):
    return make_repository(place, models=EVERY_KIND | {name: EVERY_KIND[name] | settings})


@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_model_of_each_kind_draws_what_it_has(place, profile, name):
    model = models.open_model(profile, "streets", name)
    world = held_out(profile, "streets", "test")
    given = {"layouts": world.layouts} if name == "image_given_layout" else {}
    common = {"num_steps": 2, "guidance": 1.5, "seed": 3, **given}
    pairs = model.sample(world.captions, **common)
    assert len(pairs) == 2 and model.classes == world.classes and model.card.size == (8, 16)
    assert (pairs.images is None) == (name == "layout_first")
    assert pairs.images is None or pairs.images.shape == (2, 8, 16, 3)
    assert (pairs.layouts is None) == (name in ("gaussian", "latent"))
    again = models.open_model(profile, "streets", name).sample(world.captions, **common)
    assert np.array_equal(again.images, pairs.images) and np.array_equal(again.layouts, pairs.layouts)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_kind_says_which_known_halves_it_takes_and_is_watched(place, profile, name):
    model, seen = models.open_model(profile, "streets", name), []
    known = ("layouts",) if name == "image_given_layout" else ()  # the others were trained on the diagonal only
    assert model.known_halves == known
    if not known:
        model.sample("a road", 2, on_step=lambda rows, s, images, layouts: seen.append(s))
        assert seen[-1] == 0 and len(seen) == (4 if name == "two_stage" else 2)


def test_a_model_in_another_folder_is_opened_there(place, profile):
    folder = shutil.move(models.model_folder(profile, "streets", "joint"), place / "elsewhere")
    assert models.open_model(profile, "streets", "joint", folder).card.training["model"] == "joint"
    with pytest.raises(CheckpointError, match="streets-joint"):
        models.open_model(profile, "streets", "joint")
    with pytest.raises(ConfigError, match="profile 'tiny' has no model 'other': choose one of joint, gaussian"):
        models.open_model(profile, "streets", "other")


def test_a_local_text_encoder_reaches_every_model_and_notebooks_open_models_by_name(place, profile, monkeypatch):
    folders, load = [], models.load_pipeline
    monkeypatch.setattr(models, "load_pipeline", lambda *a, **kw: folders.append(kw["text_folder"]) or load(*a, **kw))
    local = replace(profile, text=replace(profile.text, folder="here"))
    for name in ("joint", "latent", "two_stage"):
        models.open_model(local, "streets", name)
    assert folders == ["here"] * 4
    sources = {path.name: path.read_text() for path in (RELEASE.parents[1] / "notebooks").glob("*.ipynb")}
    assert "open_model(" in sources["06_sample.ipynb"]
    assert not [name for name, source in sources.items() if "load_pipeline(" in source]


def test_composed_models_are_not_trained_themselves(place, profile):
    run = prepare_run(profile, "streets", "joint")
    for name, parts in (("two_stage", "layout_first, image_given_layout"), ("pixel_classifier", "gaussian")):
        with pytest.raises(ConfigError, match=f"'{name}' is made of {parts}: train these"):
            models.fit(profile, name, run)


def test_the_layout_stays_clean_for_the_second_stage(results):
    """A clean layout leaves nothing to predict: its loss is exactly 0, in training and validation."""
    second, joint = results[1]["image_given_layout"], results[1]["joint"]
    assert all(row["layout"] == 0 and row["val_layout"] == 0 and row["image"] > 0 for row in second)
    assert all(row["layout"] > 0 and row["val_layout"] > 0 for row in joint)


def test_options_only_where_the_kind_has_some(place):
    assert models.options(changed(place, "joint"), "joint") is None
    for name in ("joint", "two_stage"):
        kind = EVERY_KIND[name].get("kind", "diffusion")
        profile = changed(place, name, options={"pairs": 3})
        with pytest.raises(ConfigError, match=rf"params/tiny\.yaml: models\.{name}\.options: kind '{kind}' has none"):
            models.options(profile, name)
    profile = changed(place, "pixel_classifier", options={"epoch": 3})
    wanted = r"params/tiny\.yaml: models\.pixel_classifier\.options: 'epoch' is unknown; did you mean 'epochs'"
    with pytest.raises(ConfigError, match=wanted):
        models.open_model(profile, "streets", "pixel_classifier")
    profile = changed(place, "latent", options={"autoencoder": {"width": [8]}})
    with pytest.raises(ConfigError, match=r"models\.latent\.options: autoencoder: 'width' is unknown; did you mean"):
        models.expected_card(profile, "streets", "latent")


def release(place, name):
    return shutil.copytree(place / f"results/tiny/models/streets-{name}", place / f"weights/tiny-streets-{name}")


@pytest.mark.parametrize("name", ["gaussian", "image_given_layout", "latent"])
def test_released_weights_are_installed_with_all_that_belongs_to_them(place, name):
    released, profile = release(place, name), make_repository(place, models=EVERY_KIND, released="tiny")
    target = models.model_folder(profile, "streets", name)
    (target / "of an older release").touch()
    card = models.install_released(profile, "streets", name)
    assert card == load_card(released) and card.training["model"] == name
    files = {path.name: path.read_bytes() for path in released.iterdir()}
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    assert ("autoencoder.safetensors" in files) == (name == "latent")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("joint", {"diffusion": {"prediction": "v"}}, r"diffusion\.prediction"),
        ("joint", {"unet": {"time_width": 32}}, r"unet\.time_width"),
        ("latent", {"options": {"autoencoder": {"channels": 3, "widths": [8, 16]}}}, r"unet\.image_channels"),
    ],
)
def test_released_weights_of_another_model_are_refused(place, name, change, message):
    release(place, name)
    known = EVERY_KIND | {name: EVERY_KIND[name] | change}
    profile = make_repository(place, models=known, released="tiny")
    before = models.model_folder(profile, "streets", name) / "model.safetensors"
    kept = before.read_bytes()
    with pytest.raises(CheckpointError, match=rf"{message}.*'tiny-scratch' trains them anew"):
        models.install_released(profile, "streets", name)
    assert before.read_bytes() == kept


@pytest.mark.parametrize("name", ["joint", "latent"])
def test_the_release_tool_makes_what_installs(place, name):
    shutil.copy(place / "params/tiny.yaml", place / "params/tiny-scratch.yaml")
    for folder in ("data", "results"):
        shutil.copytree(place / folder / "tiny", place / folder / "tiny-scratch")
    runpy.run_path(str(RELEASE))["release"]("tiny", "streets", name)
    profile = make_repository(place, models=EVERY_KIND, released="tiny")
    assert models.install_released(profile, "streets", name).training["command"] == "make PROFILE=tiny-scratch"
    captions = held_out(profile, "streets", "test").captions
    made, scratch = (
        models.open_model(profile, "streets", name, place / f"results/{run}/models/streets-{name}").sample(captions, 2)
        for run in ("tiny", "tiny-scratch")
    )
    assert np.array_equal(made.images, scratch.images)  # weights are rounded to half precision where they are trained


def test_a_released_latent_model_needs_its_own_autoencoder(place):
    folder, profile = release(place, "latent"), make_repository(place, models=EVERY_KIND, released="tiny")
    (folder / "autoencoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"autoencoder.*'tiny-scratch' trains them anew"):
        models.install_released(profile, "streets", "latent")


def names(profile, model):
    return [
        path.relative_to(profile.results_folder()).as_posix() for path in models.weight_files(profile, "streets", model)
    ]


def test_all_weights_behind_a_model_are_listed(place, profile):
    assert names(profile, "joint") == ["models/streets-joint/model.safetensors"]
    assert names(profile, "latent") == [
        f"models/streets-latent/{part}.safetensors" for part in ("autoencoder", "model")
    ]
    assert names(profile, "two_stage") == [
        f"models/streets-{part}/model.safetensors" for part in ("image_given_layout", "layout_first")
    ]
    models.open_model(profile, "streets", "pixel_classifier")
    assert names(profile, "pixel_classifier") == [
        "models/streets-gaussian/model.safetensors", "sweeps/streets-pixel_classifier/classifier/model.safetensors"
    ]  # fmt: skip


def test_a_pixel_classifier_is_fitted_once_for_its_image_model_and_options(place, profile, monkeypatch):
    fitted, fit = [], models.fit_pixel_classifier
    monkeypatch.setattr(models, "fit_pixel_classifier", lambda *args, **kw: fitted.append(args[4]) or fit(*args, **kw))

    def label(profile):
        return models.open_model(profile, "streets", "pixel_classifier").classifier.label(images)

    images = held_out(profile, "streets", "test").images
    assert np.array_equal(label(profile), label(profile)) and len(fitted) == 1
    other = changed(place, "pixel_classifier", options={**EVERY_KIND["pixel_classifier"]["options"], "hidden": [3]})
    label(other)
    assert len(fitted) == 2 and fitted[1].hidden == (3,)
    run = prepare_run(replace(other, train=replace(other.train, seed=6)), "streets", "gaussian")
    models.fit(other, "gaussian", replace(run, state_folder=place / "state"))
    label(other)
    assert len(fitted) == 3


def test_a_model_differs_only_in_what_it_names(empty):
    models_ = {"plain": {}, "other": {"diffusion": {"T": 50}, "unet": {"heads": 4}, "train": {"steps": 9}}}
    profile = make_repository(empty, models=models_)
    assert profile.diffusion_for("other") == replace(profile.diffusion, T=50)
    assert profile.train_for("other") == replace(profile.train, steps=9)
    assert profile.unet_for("other", 20, 12) == replace(profile.unet_for("plain", 20, 12), heads=4)
    assert profile.diffusion_for("plain") == profile.diffusion and profile.train_for("plain") == profile.train


PARTS = {"kind": "two_stage", "parts": {"layout": "joint", "image": "joint"}}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"train": {"step": 9}}, r"params/tiny\.yaml.*models\.bad\.train: 'step' is unknown; did you mean 'steps'"),
        ({"unet": {"head": 2}}, r"models\.bad\.unet: 'head' is unknown; did you mean 'heads'"),
        ({"diffusion": {"prediction": "noise"}}, "image prediction 'noise' is unknown"),
        ({"train": {"times": "layout"}}, r"models\.bad\.train: times 'layout' is unknown: choose one of joint"),
        ({"train": {"times": "image_given_layout"}, "image": False}, r"models\.bad\.train: times .* needs both halves"),
        ({"kind": "gan"}, "kind 'gan' is unknown: choose one of diffusion, latent, two_stage, pixel_classifier"),
        ({"kind": "two_stage"}, "parts of a model of kind 'two_stage' must name: layout, image; got"),
        ({"parts": {"image": "joint"}}, r"parts of a model of kind 'diffusion' must name: none; got \['image'\]"),
        (PARTS | {"parts": {"layout": "joint", "image": "lost"}}, "profile 'tiny' has no model 'lost'"),
        (PARTS | {"parts": {"layout": "joint", "image": "pair"}}, r"models\.bad\.parts: 'pair' is no trained model"),
    ],
)  # fmt: skip
def test_slips_in_a_model_are_named(empty, model, message):
    with pytest.raises(ConfigError, match=message):
        make_repository(empty, models={"joint": {}, "pair": PARTS, "bad": model})
