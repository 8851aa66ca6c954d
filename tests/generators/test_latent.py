"""Latent diffusion: the autoencoder and its scale, both trainings to the bit, samples, and folders that do not fit."""

import json
import shutil
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from worlds import tiny
from worlds.tiny import SIZE, awake, cpu

import gcdp
import gcdp.generators.latent as latent
from gcdp.errors import CheckpointError, ConfigError, DataError, TrainingError
from gcdp.generators.autoencoder import (
    GUARD,
    Autoencoder,
    AutoencoderConfig,
    load_autoencoder,
    pretrained_autoencoder,
    reconstruction,
    save_autoencoder,
    standardized,
)
from gcdp.generators.autoencoder_training import train_autoencoder
from gcdp.generators.latent import LatentConfig, LatentPairs, latent_card, load_latent, train_latent
from gcdp.storage import load_tensors
from gcdp.training.curve import read_curve

pytest.importorskip("diffusers")

RECIPE = replace(tiny.RECIPE, steps=5, checkpoint_every=2)
SMALL = AutoencoderConfig(channels=5, widths=(8, 16), groups=4, steps=4, learning_rate=3e-3)
CONFIG = LatentConfig(SMALL, stem_width=16)
CAPTIONS = [f"a {name} thing" for name in tiny.TABLE.names]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def fit(place, folder, pairs=None, config=CONFIG, **recipe):
    pairs = place.dataset() if pairs is None else pairs
    validation, recipe = place.dataset(augment=False), replace(RECIPE, **recipe)
    return train_latent(place.card, pairs, config, recipe, folder / "state", folder / "model", validation, cpu())


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    fit(place, folder)
    return folder


@pytest.fixture
def model(trained, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(trained / "model", tmp_path / "model")


@pytest.fixture(autouse=True)
def stub_text(monkeypatch):
    monkeypatch.setattr(latent, "load_encoder", lambda *args, **settings: tiny.StubEncoder())


@pytest.fixture
def pipeline(trained):
    pipeline = load_latent(trained / "model", "cpu")
    awake(pipeline.unet)  # a few steps leave the text path near zero
    torch.nn.init.normal_(pipeline.unet.text.null_pooled, std=0.5)
    return pipeline


def images(count=6):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_shift_and_scale_put_latents_where_images_are_and_cancel_on_the_way_back(trained, place):
    autoencoder = load_autoencoder(trained / "model")
    x = torch.stack([place.dataset()[(i, 0)]["x"] for i in range(12)])
    latents = autoencoder.encode(x)
    assert latents.shape == (12, 5, 4, 8) and (autoencoder.factor, autoencoder.channels) == (2, 5)
    # measured before the weights were rounded to half precision
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(5), atol=2e-3, rtol=0)
    largest = latents.abs().transpose(0, 1).flatten(1).max(1).values  # 384 values: 99.9 % is all of them
    torch.testing.assert_close(largest, torch.ones(5), atol=5e-3, rtol=0)
    with torch.no_grad():
        plain = autoencoder.network.decode(autoencoder.network.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
    torch.testing.assert_close(autoencoder.decode(latents), plain, atol=1e-4, rtol=0)


def test_a_channel_that_never_changes_keeps_a_finite_scale(place):
    network = small_network()
    network.quant_conv.weight.data.zero_()
    latents = standardized(network, SMALL.architecture(), place.dataset()).encode(images())
    assert latents.abs().max() < 1e-3  # rounding, not blown up to the size of images


def small_network(config=SMALL, seed=0):
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(**config.architecture())


class Offset(nn.Module):
    """Latents are the image, and decoding adds `amount`."""

    def __init__(self, amount):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def encode(self, x):
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: x))

    def decode(self, latents):
        return SimpleNamespace(sample=latents + self.amount)


def test_error_of_reconstruction_is_in_gray_levels_and_decibel(place):
    # the tiny images hold 0, 60, 120 and 180 of 255: five levels more fit everywhere
    shifted = Autoencoder(Offset(5 / 127.5), {"latent_channels": 3, "block_out_channels": [8]}, [0.0] * 3, [1.0] * 3)
    error = reconstruction(shifted, place.dataset(augment=False), count=7)
    assert error == {"l1": pytest.approx(5, rel=1e-4), "psnr": pytest.approx(20 * np.log10(51), rel=1e-4), "n": 7}


def test_the_autoencoder_learns(place, tmp_path):
    pairs = place.dataset()
    errors = []
    for steps in (1, 30):
        config, folder = replace(SMALL, steps=steps), tmp_path / str(steps)
        recipe = replace(RECIPE, log_every=1)
        trained = train_autoencoder(config, pairs, recipe, folder, place.dataset(augment=False), cpu())
        errors.append(trained.facts["reconstruction"]["l1"])
    assert errors[1] < 0.7 * errors[0]
    curve = read_curve(folder / "curve.csv")
    assert len(curve) == 30 and curve[-1]["image"] < 0.7 * curve[0]["image"]


def test_latents_of_a_batch_are_those_of_its_pairs_and_the_rest_passes_through(trained, place):
    plain = place.dataset()
    pairs = LatentPairs(plain, load_autoencoder(trained / "model"))
    assert len(pairs) == len(plain) and pairs.text is plain.text
    items = [(0, 0), (3, 1), (0, 2)]
    for item, got in zip(items, pairs.__getitems__(items), strict=True):
        one, source = pairs[item], plain[item]
        assert got["x"].shape == (5, 4, 8) and torch.allclose(got["x"], one["x"], atol=1e-5)
        assert got["caption"] == source["caption"] and torch.equal(got["y"], source["y"])


@pytest.mark.parametrize("half, read", [("autoencoder", 10), ("diffusion", 4 * 4 + 12 + 14)])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(place, trained, tmp_path, half, read):
    pairs = place.dataset(cls=tiny.Deadly)
    pairs.at, pairs.signum = read, signal.SIGINT
    with pytest.raises(TrainingError, match=r"interrupted at step .* run again"):
        fit(place, tmp_path, pairs)
    assert (tmp_path / "model" / "autoencoder.json").exists() == (half == "diffusion")
    fit(place, tmp_path)
    for name in ("model.safetensors", "autoencoder.safetensors", "autoencoder.json"):
        assert (tmp_path / "model" / name).read_bytes() == (trained / "model" / name).read_bytes()


def test_another_autoencoder_does_not_go_on_with_the_diffusion_of_the_first(place, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    assert fit(place, folder).steps_run == 0  # it is done
    other = replace(CONFIG, autoencoder=replace(SMALL, learning_rate=1e-3))
    with pytest.raises(CheckpointError, match="autoencoder holds a run with other settings"):
        fit(place, folder, config=other)
    shutil.rmtree(folder / "state" / "autoencoder")
    assert fit(place, folder, config=other).steps_run == RECIPE.steps


def test_the_folder_says_what_it_holds(trained, place):
    pipeline = load_latent(trained / "model", "cpu", expected=latent_card(place.card, CONFIG))
    card = pipeline.card
    assert card.size == SIZE and card.unet.image_channels == 5 and card.unet.num_classes == 0
    assert card.unet.stem_width == 16 and card.unet.widths == tiny.NETWORK.widths
    assert pipeline.autoencoder.facts["steps"] == 4 and pipeline.autoencoder.facts["reconstruction"]["n"] == 12
    weights, _ = load_tensors(trained / "model" / "autoencoder.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert "val_image" in read_curve(trained / "model" / "curve.csv")[-1]


def test_images_come_as_documented_and_depend_on_caption_and_seed_only(pipeline):
    seen = []
    drawn = pipeline.sample(
        CAPTIONS, 3, guidance=1.5, seed=4, progress=True, on_step=lambda rows, s, x, y: seen.append((x, y))
    )
    assert drawn.images.dtype == np.uint8 and drawn.images.shape == (5, *SIZE, 3) and drawn.layouts is None
    assert drawn.settings["autoencoder"] == pipeline.autoencoder.identity and drawn.settings["threshold"] == 0
    assert len(seen) == 6 and all(layouts is None for _, layouts in seen)  # two network batches of three steps
    assert np.array_equal(np.concatenate([seen[2][0], seen[5][0]]), drawn.images)
    alone = pipeline.sample(CAPTIONS[3], 3, guidance=1.5, seed=drawn.seeds[3:4])
    assert np.array_equal(alone.images[0], drawn.images[3])
    assert not np.array_equal(drawn.images[0], drawn.images[1])


def test_dynamic_thresholding_is_not_for_latents(pipeline):
    plain, asked = (pipeline.sample(CAPTIONS[:2], 2, seed=4, threshold=threshold) for threshold in (0.0, 0.5))
    assert np.array_equal(plain.images, asked.images) and asked.settings["threshold"] == 0


def test_the_caption_matters_unless_guidance_is_zero(pipeline):
    def draw(caption, guidance):
        return pipeline.sample(caption, 3, guidance=guidance, seed=[5]).images

    assert not np.array_equal(draw(CAPTIONS[0], 3), draw(CAPTIONS[3], 3))
    assert np.array_equal(draw(CAPTIONS[0], 0), draw(CAPTIONS[3], 0))


def test_a_published_autoencoder_is_taken_as_it_is(place, tmp_path):
    published = replace(SMALL, channels=6)
    network = small_network(published, seed=3)
    network.save_pretrained(tmp_path / "published")
    config = LatentConfig(AutoencoderConfig(pretrained=str(tmp_path / "published")))
    fit(place, tmp_path, config=config, steps=2)
    pipeline = load_latent(tmp_path / "model", "cpu")
    assert pipeline.card.unet.image_channels == 6 and pipeline.sample("a sky thing", 1).images.shape == (1, *SIZE, 3)
    for name, weight in pipeline.autoencoder.network.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name].half().float())
    assert not (tmp_path / "state" / "autoencoder").exists()


def test_known_halves_are_refused(pipeline):
    with pytest.raises(DataError, match="no layout half: leave `layouts` out"):
        pipeline.sample("a sky thing", 1, layouts=np.zeros((1, *SIZE), np.uint8))
    with pytest.raises(ConfigError, match="images are given, but"):
        pipeline.sample("a sky thing", 1, images=np.zeros((1, *SIZE, 3), np.uint8))


def test_load_pipeline_opens_latent_models_too_and_load_latent_no_others(trained, place, tmp_path):
    opened, known = (
        load(trained / "model", device="cpu", dtype="float32") for load in (gcdp.load_pipeline, load_latent)
    )
    assert type(opened) is type(known) and opened.autoencoder.identity == known.autoencoder.identity
    images = [pipeline.sample("a sky thing", 2).images for pipeline in (opened, known)]
    assert np.array_equal(*images)
    tiny.fit(place, tmp_path, steps=1)
    with pytest.raises(CheckpointError, match=r"holds no latent model: open it with gcdp\.load_pipeline"):
        load_latent(tmp_path / "model")


def test_diffusion_and_autoencoder_of_two_trainings_are_refused(model, place):
    facts = load_autoencoder(model)
    save_autoencoder(model, replace(facts, scale=[2.0] * 5))
    with pytest.raises(CheckpointError, match="of two trainings: train the model again"):
        load_latent(model)


def test_damaged_folders_are_refused_by_name(model):
    path, weights = model / "autoencoder.json", model / "autoencoder.safetensors"
    good = path.read_text()
    described = json.loads(good)
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"autoencoder\.json is missing or damaged"):
            load_latent(model)
    for change in ({"scale": [2.0] * 5}, {"format": 99}, {"sha256": "0"}):
        path.write_text(json.dumps({**described, **change}))
        with pytest.raises(CheckpointError, match="was changed after it was saved"):
            load_latent(model)
    for change, message in (
        ({"format": 99}, "is of another format than 1"),
        ({"architecture": {"depth": 1}}, r"does not describe a network of this version \(.*depth"),
    ):
        changed = {**described, **change}
        path.write_text(json.dumps({**changed, "hash": GUARD.hash(changed)}))
        with pytest.raises(CheckpointError, match=message):
            load_latent(model)
    path.write_text(good)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match=r"autoencoder\.safetensors is missing or does not match its checksum"):
        load_latent(model)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"autoencoder\.safetensors is missing"):
        load_latent(model)


def test_weights_of_another_architecture_are_refused(tmp_path):
    wrong = replace(SMALL, channels=4).architecture()
    save_autoencoder(tmp_path, Autoencoder(small_network(), wrong, [0.0] * 4, [1.0] * 4))
    with pytest.raises(CheckpointError, match="does not fit the network of this version"):
        load_autoencoder(tmp_path)


def test_sizes_that_do_not_fit_are_refused_before_anything_is_trained(place, tmp_path):
    deep = LatentConfig(replace(SMALL, widths=(8, 8, 16)))
    with pytest.raises(ConfigError, match=r"image size \[8, 16\] must be a multiple of 16, 4 for the autoencoder"):
        fit(place, tmp_path, config=deep)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"widths": (10, 16)}, "multiples of groups = 8"),
        ({"widths": ()}, "multiples of groups"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"kl_weight": -1.0}, "kl_weight must be within"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        AutoencoderConfig(**settings)


def test_an_autoencoder_that_cannot_be_had_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be loaded .*: name a folder with config\.json"):
        pretrained_autoencoder(str(tmp_path))


def test_without_diffusers_the_error_names_the_package(monkeypatch, trained):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match="pip install diffusers"):
        load_latent(trained / "model")
