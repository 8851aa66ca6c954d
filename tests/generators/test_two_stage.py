"""The two-stage rival: which stage draws what, its seeds, its guidance, and stages that do not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

from gcdp.diffusion.sampling import sample_seeds
from gcdp.errors import ConfigError, DataError
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.two_stage import TwoStagePipeline, image_seed
from gcdp.training.checkpoint import ModelCard

CAPTIONS = [f"a {name} thing {i}" for i, name in enumerate(TABLE.names * 4)][:18]  # one network batch and a part


def model(size=SIZE, classes=TABLE, **network) -> Pipeline:
    """Untrained, but with every path awake (seed 0)."""
    card = ModelCard(replace(NETWORK, **network), PROCESS, classes, size, "stub", 64, {})
    torch.manual_seed(0)
    unet, process = card.build()
    return Pipeline(awake(unet).eval(), process, card, StubEncoder().encode)


@pytest.fixture(scope="module")
def stages():
    return TwoStagePipeline(model(image_channels=0), model())


def equal(a, b):
    return np.array_equal(a.images, b.images) and np.array_equal(a.layouts, b.layouts)


def test_the_second_stage_draws_the_image_of_the_first_stages_layout(stages):
    pairs = stages.sample(CAPTIONS[:3], num_steps=2, guidance=(1.5, 3.0), seed=7)
    assert pairs.images.shape == (3, *SIZE, 3) and pairs.images.dtype == np.uint8
    assert pairs.layouts.shape == (3, *SIZE) and pairs.layouts.dtype == np.uint8
    assert pairs.captions == CAPTIONS[:3] and pairs.seeds == sample_seeds(7, 3)
    first = stages.layouts.sample(CAPTIONS[:3], 2, (1, 3.0), seed=7)
    assert np.array_equal(pairs.layouts, first.layouts)
    seeds = [image_seed(seed) for seed in first.seeds]
    second = stages.images.sample(CAPTIONS[:3], 2, (1.5, 1), seed=seeds, layouts=first.layouts)
    assert np.array_equal(pairs.images, second.images)
    other = stages.images.sample(CAPTIONS[:3], 2, (1.5, 1), seed=seeds, layouts=np.zeros_like(first.layouts))
    assert not np.array_equal(pairs.images, other.images)


def test_settings_name_both_models(stages):
    pairs = stages.sample(CAPTIONS[0], num_steps=2, guidance=(1.5, 3.0), eta=0.0, order=2)
    assert pairs.settings["guidance_image"] == 1.5 and pairs.settings["guidance_layout"] == 3.0
    assert pairs.settings["num_steps"] == 2 and pairs.settings["eta"] == 0.0 and pairs.settings["order"] == 2
    assert pairs.settings["card"] == stages.images.card.hash() == stages.card.hash()
    assert pairs.settings["card_layouts"] == stages.layouts.card.hash() != pairs.settings["card"]
    assert stages.classes == TABLE


def test_a_pair_depends_on_its_caption_and_seed_only(stages):
    whole = stages.sample(CAPTIONS, num_steps=2, seed=1)
    for rows in (slice(0, 1), slice(15, 18)):
        part = stages.sample(CAPTIONS[rows], num_steps=2, seed=whole.seeds[rows])
        assert np.array_equal(part.images, whole.images[rows]) and np.array_equal(part.layouts, whole.layouts[rows])
    assert not np.array_equal(part.images, stages.sample(CAPTIONS[15:], num_steps=2, seed=2).images)


def test_images_never_reuse_the_random_numbers_of_layouts():
    seeds = [*range(2000), *sample_seeds(0, 2000)]
    images = [image_seed(seed) for seed in seeds]
    assert not set(seeds) & set(images) and len(set(images)) == len(set(seeds))


def test_guidance_of_one_half_leaves_the_other_stage_alone(stages):
    plain = stages.sample(CAPTIONS[:2], num_steps=2, guidance=(1, 1))
    image = stages.sample(CAPTIONS[:2], num_steps=2, guidance=(4, 1))
    assert np.array_equal(image.layouts, plain.layouts) and not np.array_equal(image.images, plain.images)
    layout = stages.sample(CAPTIONS[:2], num_steps=2, guidance=(1, 6))
    assert not np.array_equal(layout.layouts, plain.layouts)


def test_without_guidance_the_text_is_ignored_by_both_stages(stages):
    one, two = (stages.sample(text, num_steps=2, guidance=0, seed=5) for text in ("a road", "sky over a left thing"))
    assert equal(one, two)


@pytest.mark.parametrize(
    "layouts, images, message",
    [
        ({}, {}, "layout-only"),
        ({"num_classes": 0}, {}, "layout-only"),
        ({"image_channels": 0}, {"num_classes": 0}, "both halves"),
        ({"image_channels": 0}, {"image_channels": 0}, "both halves"),
        ({"image_channels": 0, "size": (16, 16)}, {}, "share size and classes"),
        ({"image_channels": 0, "classes": replace(TABLE, name="other")}, {}, "share size and classes"),
    ],
)
def test_stages_that_do_not_fit_are_refused(layouts, images, message):
    with pytest.raises(ConfigError, match=message):
        TwoStagePipeline(model(**layouts), model(**images))


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"num_steps": 0}, ConfigError, "num_steps"),
        ({"guidance": (1, 2, 3)}, ConfigError, "guidance"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"order": 2}, ConfigError, "order"),
        ({"captions": []}, DataError, "at least one string"),
        ({"layouts": np.zeros((2, *SIZE), np.uint8)}, ConfigError, "draws both halves: leave"),
    ],
)
def test_mistakes_are_named_as_by_one_model(stages, changed, error, message):
    with pytest.raises(error, match=message):
        stages.sample(**{"captions": CAPTIONS[:2], "num_steps": 1, **changed})


def test_the_card_counts_the_training_steps_of_both_stages(stages):
    for stage, steps in ((stages.layouts, 30), (stages.images, 12)):
        stage.card.training["steps"] = steps
    assert stages.card.training["steps"] == 42 and stages.images.card.training["steps"] == 12
