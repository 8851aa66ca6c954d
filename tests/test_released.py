"""What is released is what the profile asks for, loads without code, and draws pairs. Seed 0."""

from dataclasses import asdict, replace

import numpy as np
import pytest

import gcdp
from gcdp.baselines.latent import latent_card
from gcdp.checkpoint import load_card, load_model
from gcdp.config import load_profile, repository_root
from gcdp.data.captions import caption_with
from gcdp.data.classes import CITYSCAPES
from gcdp.evaluation.segmenter import load_segmenter
from gcdp.models import options
from gcdp.settings import to_dict
from gcdp.study import Study, trials
from gcdp.training_state import read_curve

WEIGHTS = repository_root() / "weights"
FOLDERS = sorted(path.parent for path in WEIGHTS.glob("*/config.json") if path.parent.name != "toy-streets-referee")
CAPTION = caption_with([0, 2, 8, 10, 13], CITYSCAPES)  # road, building, vegetation, sky, car

each_release = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_toy_and_toy_scratch_differ_only_in_what_is_released():
    toy, scratch = (asdict(load_profile(name)) for name in ("toy", "toy-scratch"))
    assert {key for key in toy if toy[key] != scratch[key]} == {"name", "released", "short_run"}


def test_every_model_of_the_default_run_is_released():
    toy = load_profile("toy")
    used = {*toy.evaluate.models, *toy.sample.models}
    used |= {part for model in used for part in toy.model(model).parts.values()}
    names = [*(model for model in used if toy.model(model).trained), "referee", "study"]
    assert all((WEIGHTS / f"toy-{domain}-{name}").is_dir() for domain in toy.domains for name in names)


def test_the_released_referee_is_what_its_profile_asks_for():
    referee, settings = load_segmenter(WEIGHTS / "toy-streets-referee"), load_profile("toy").referee
    assert referee.config == settings.network and referee.facts["scenes"] == settings.scenes
    recipe = to_dict(settings.train)
    assert {name: recipe[name] for name in referee.facts["recipe"]} == referee.facts["recipe"]


def test_the_released_study_is_what_its_profile_asks_for():
    study, profile = Study.load(WEIGHTS / "toy-streets-study"), load_profile("toy")
    assert set(study.facts["trials"]) == {trial.key for trial in trials(profile, 2975)}


@each_release
def test_a_release_is_what_its_profile_asks_for(folder):
    name, domain, model = folder.name.split("-")
    profile, card = load_profile(name), load_card(folder)
    assert card.diffusion == profile.diffusion_for(model) and card.size == profile.domain(domain).size
    unet = profile.unet_for(model, card.classes.num_classes, card.unet.text_width)
    if profile.model(model).kind == "latent":
        unet = latent_card(replace(card, unet=unet), options(profile, model)).unet
    assert card.unet == unet
    recipe = profile.train_for(model)
    assert card.training["profile"] == f"{name}-scratch" and card.training["steps"] == recipe.steps
    assert (card.training["seed"], card.training["batch_size"]) == (recipe.seed, recipe.batch_size)
    assert all(path.stat().st_size <= 6 * 2**20 for path in folder.glob("*.safetensors"))


@each_release
def test_the_released_curve_covers_the_whole_run_and_falls(folder):
    rows = read_curve(folder / "curve.csv")
    assert rows[-1]["step"] == load_card(folder).training["steps"]
    for half in ("val_image", "val_layout"):
        found = [row[half] for row in rows if half in row]
        assert not found or found[-1] < found[0] or not any(found)  # a layout that stays clean has loss 0


def test_released_layouts_show_the_large_classes_that_the_caption_names():
    pairs = gcdp.load_pipeline(repository_root() / "weights" / "toy-streets-joint").sample(
        [CAPTION] * 4, num_steps=10, guidance=2.0, seed=0
    )
    assert pairs.images.shape == (4, 32, 64, 3) and pairs.images.dtype == np.uint8
    assert pairs.layouts.shape == (4, 32, 64)
    assert all((pairs.layouts == label).any((1, 2)).mean() >= 0.75 for label in (0, 2, 8, 10, 13))


@each_release
def test_a_release_loads_as_a_finite_network(folder):
    unet, process, _ = load_model(folder)
    assert all(bool(p.isfinite().all()) for p in unet.parameters()) and process.T == 1000
