"""What is released is what the profile asks for, loads without code, and draws pairs. Seed 0."""

from dataclasses import asdict

import numpy as np
import pytest

import gcdp
from gcdp.checkpoint import load_card, load_model
from gcdp.config import load_profile, repository_root
from gcdp.data.captions import caption_with
from gcdp.data.classes import CITYSCAPES
from gcdp.training_state import read_curve

FOLDERS = sorted(path.parent for path in (repository_root() / "weights").glob("*/config.json"))
CAPTION = caption_with([0, 2, 8, 10, 13], CITYSCAPES)  # road, building, vegetation, sky, car

each_release = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_toy_and_toy_scratch_differ_only_in_what_is_released():
    toy, scratch = (asdict(load_profile(name)) for name in ("toy", "toy-scratch"))
    assert {key for key in toy if toy[key] != scratch[key]} == {"name", "released", "short_run"}


def test_every_model_of_the_default_profile_is_released():
    toy = load_profile("toy")
    assert {f"toy-{domain}-{model}" for domain in toy.domains for model in toy.models} <= {f.name for f in FOLDERS}


@each_release
def test_a_release_is_what_its_profile_asks_for(folder):
    name, domain, model = folder.name.split("-")
    profile, card = load_profile(name), load_card(folder)
    assert card.diffusion == profile.diffusion and card.size == profile.domain(domain).size
    assert card.unet == profile.unet_for(model, card.classes.num_classes, card.unet.text_width)
    assert card.training["profile"] == f"{name}-scratch" and card.training["steps"] == profile.train.steps
    assert (folder / "model.safetensors").stat().st_size <= 6 * 2**20


@each_release
def test_the_released_curve_covers_the_whole_run_and_falls(folder):
    rows = read_curve(folder / "curve.csv")
    held_out = [row for row in rows if "val_layout" in row]
    assert rows[-1]["step"] == load_card(folder).training["steps"]
    assert held_out[-1]["val_layout"] < held_out[0]["val_layout"]
    assert held_out[-1]["val_image"] < held_out[0]["val_image"]


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
