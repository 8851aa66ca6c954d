"""What is released is what the profile asks for, loads without code, and draws pairs. Seed 0."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

import gcdp
from gcdp.data.captions import caption_with
from gcdp.data.classes import CELEBA, CITYSCAPES
from gcdp.evaluation.referees.alignment import load_two_tower
from gcdp.evaluation.referees.attributes import load_attributes
from gcdp.evaluation.referees.segmenter import load_segmenter
from gcdp.experiments import strokes_record
from gcdp.experiments.directions_record import DirectionsRecord, settings_of
from gcdp.experiments.features_record import FeatureRecords, Row
from gcdp.experiments.models import network_hash, options
from gcdp.experiments.profile import load_profile, repository_root
from gcdp.experiments.stroke_trials import stroke_trials
from gcdp.experiments.strokes_record import StrokesRecord
from gcdp.experiments.study import trials
from gcdp.experiments.study_record import RELEASE, Study, Trial
from gcdp.generators.latent import latent_card
from gcdp.text.encoder import load_encoder
from gcdp.training.checkpoint import load_card, load_model
from gcdp.training.curve import read_curve
from gcdp.training.recipe import OPERATIONAL
from gcdp.validation import to_dict

WEIGHTS = repository_root() / "weights"
REFEREES = {
    "referee": load_segmenter,
    "attributes": load_attributes,
    "alignment": lambda folder: load_two_tower(folder, load_encoder()),
}
FOLDERS = sorted(
    path.parent for path in WEIGHTS.glob("*/config.json") if path.parent.name.rpartition("-")[2] not in REFEREES
)
CAPTION = caption_with([0, 2, 8, 10, 13], CITYSCAPES)  # road, building, vegetation, sky, car

each_domain = pytest.mark.parametrize("domain", load_profile("toy").domains)
each_own_size = pytest.mark.parametrize(
    "domain", [name for name, data in load_profile("toy").domains.items() if not data.enlarges]
)
each_release = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def settings_of_referee(profile, part):
    return profile.referee if part == "referee" else getattr(profile.referee, part)


def test_toy_and_toy_scratch_differ_only_in_what_is_released():
    toy, scratch = (asdict(load_profile(name)) for name in ("toy", "toy-scratch"))
    assert {key for key in toy if toy[key] != scratch[key]} == {"name", "released", "short_run"}


@each_domain
def test_every_model_of_the_default_run_is_released(domain):
    toy = load_profile("toy", domain)
    used = {*toy.evaluate.models, *toy.sample.models}
    names = {f"{domain}-{part}" for part in REFEREES if settings_of_referee(toy, part).name}
    names |= {f"{domain}-{model}" for model in used if toy.model(model).trained}
    names |= {
        f"{toy.domain_of(domain, role)}-{part}" for model in used for role, part in toy.model(model).parts.items()
    }
    names |= set() if toy.domain(domain).enlarges else {f"{domain}-study"}
    assert all((WEIGHTS / f"toy-{name}").is_dir() for name in names)


@each_domain
@pytest.mark.parametrize("part", REFEREES)
def test_a_released_referee_is_what_its_profile_asks_for(domain, part):
    profile = load_profile("toy", domain)
    settings = settings_of_referee(profile, part)
    if not settings.name:
        pytest.skip(f"captions of {domain} need no such referee")
    referee = REFEREES[part](WEIGHTS / f"toy-{domain}-{part}")
    assert referee.config == settings.network and referee.facts["scenes"] == profile.referee.scenes
    recipe = {name: value for name, value in to_dict(settings.train).items() if name not in OPERATIONAL}
    found = referee.facts["recipe"]
    assert {name: recipe[name] for name in recipe if name in found} == {
        name: found[name] for name in recipe if name in found
    }


@each_own_size
def test_the_released_study_is_a_part_of_what_its_profile_asks_for(domain):
    """Its trainings take days on a laptop: what is not there yet is said in README."""
    study, profile = Study.load(WEIGHTS / f"toy-{domain}-study"), load_profile("toy", domain)
    planned = set(trials(profile, profile.domain(domain).counts["train"]))
    assert set(study.tests) <= set(study.validations) <= planned
    assert all(
        {Trial(model, trial.pairs, seed) for seed in profile.study.seeds[:3]} <= set(study.tests)
        for trial in study.tests
        for model in profile.study.models
    )
    assert all(list(found.points) == list(profile.sampling.guidances) for found in study.validations.values())
    assert all(found.guidance in found.points for found in study.tests.values())
    assert (WEIGHTS / f"toy-{domain}-study" / RELEASE).stat().st_size < 1e6


@each_own_size
def test_released_features_are_those_of_the_released_networks_on_the_grid_of_the_profile(domain):
    records, profile = FeatureRecords.load(WEIGHTS / f"toy-{domain}-features"), load_profile("toy", domain)
    grid, pairs = profile.features, profile.domain(domain).counts["train"]
    for model in grid.models:
        own = records.networks[Trial(model, pairs, profile.train_for(model).seed)]
        assert own.network == network_hash(WEIGHTS / f"toy-{domain}-{model}")
        for record in (each for trial, each in records.networks.items() if trial.model == model):
            rows = {row for row in record.values if row.condition == "paired"}
            assert {(row.time, row.clusters) for row in rows} == {(t, k) for t in grid.times for k in grid.clusters}
            assert Row("paired", grid.shown_tap, grid.shown_time, grid.shown_clusters) in rows
            assert {values.shape[1] for values in record.values.values()} == {grid.num_images}
    assert len({record.identity for record in records.by_name().values()}) == 1 and records.baselines is not None


@each_own_size
def test_released_directions_are_those_of_the_released_networks_and_the_settings_of_the_profile(domain):
    record, profile = DirectionsRecord.load(WEIGHTS / f"toy-{domain}-directions"), load_profile("toy", domain)
    assert record.settings == settings_of(profile) and set(record.networks) == set(profile.directions.networks)
    for role in {"diagonal", "any"} & set(record.networks):
        folder = WEIGHTS / f"toy-{domain}-{profile.directions.networks[role]}"
        assert record.networks[role] == network_hash(folder)
    assert {row["measures"]["miou"]["n"] for row in record.image.values()} == {profile.directions.num_samples}
    leads = {f"{lead:g}" for lead in profile.directions.leads} if profile.directions.any else set()
    assert leads <= set(record.paths)


@each_own_size
def test_released_strokes_are_those_of_the_released_networks_and_the_settings_of_the_profile(domain):
    record, profile = StrokesRecord.load(WEIGHTS / f"toy-{domain}-strokes"), load_profile("toy", domain)
    assert record.settings == strokes_record.settings_of(profile)
    for role, model in profile.strokes.models.items():
        assert record.networks[role] == network_hash(WEIGHTS / f"toy-{domain}-{model}")
    assert {f"{trial.key}" for trial in stroke_trials(profile)} <= set(record.rows)
    assert {row["measures"]["faithfulness"]["n"] for row in record.rows.values()} == {profile.strokes.num_samples}


@each_release
def test_a_release_is_what_its_profile_asks_for(folder):
    name, domain, model = folder.name.split("-")
    profile, card = load_profile(name, domain), load_card(folder)
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


def test_released_faces_have_the_parts_and_the_hat_that_their_captions_name():
    named = "The woman is wearing a hat. She has long black hair and is smiling."
    pairs = gcdp.load_pipeline(WEIGHTS / "toy-faces-joint").sample([named] * 4, num_steps=10, guidance=3.0, seed=0)
    assert pairs.images.shape == (4, 32, 32, 3) and pairs.layouts.shape == (4, 32, 32)
    labels = [CELEBA.names.index(name) for name in ("skin", "nose", "hair", "hat")]
    assert all((pairs.layouts == label).any((1, 2)).mean() >= 0.75 for label in labels)


@each_release
def test_a_release_loads_as_a_finite_network(folder):
    unet, process, _ = load_model(folder)
    assert all(bool(p.isfinite().all()) for p in unet.parameters()) and process.T == 1000


def test_both_released_networks_of_super_resolution_load_as_one_generator(tmp_path):
    for part, name in (("base", "toy-streets-joint"), ("enlarger", "toy-streets_large-enlarger")):
        shutil.copytree(WEIGHTS / name, tmp_path / part)
    pairs = gcdp.load_pipeline(tmp_path).sample([CAPTION], num_steps=4, guidance=2.0, seed=0)
    assert pairs.images.shape == (1, 64, 128, 3) and pairs.layouts.shape == (1, 64, 128)
