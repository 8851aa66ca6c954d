"""Enlarging and both networks as one generator: sizes, seeds, batches, folders, and what is refused. Seed 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

import gcdp.generators.loading as loading
from gcdp.data.classes import ClassTable
from gcdp.errors import ConfigError, DataError
from gcdp.generators.cascade import Cascade, CascadeConfig, Enlarger, enlarging_seed
from gcdp.generators.loading import load_pipeline
from gcdp.generators.pipeline import Pipeline
from gcdp.training.checkpoint import ModelCard, save_model

CAPTIONS = [f"a {name} thing {i}" for i, name in enumerate(TABLE.names * 2)]
LARGE = tuple(2 * side for side in SIZE)


def card(size, classes=TABLE, **network):
    return ModelCard(replace(NETWORK, **network), PROCESS, classes, size, "stub", 64, {"steps": 3})


def make(kind, card):
    torch.manual_seed(0)
    unet, process = card.build()
    return kind(awake(unet).eval(), process, card, StubEncoder().encode, "float32")


@pytest.fixture(scope="module")
def cascade():
    return Cascade(make(Pipeline, card(SIZE)), make(Enlarger, card(LARGE, low_resolution=True)))


def pairs(count=3):
    g = np.random.default_rng(0)
    return g.integers(256, size=(count, *SIZE, 3), dtype=np.uint8), g.integers(5, size=(count, *SIZE), dtype=np.uint8)


def test_a_cascade_enlarges_what_its_first_network_draws(cascade):
    drawn = cascade.sample(CAPTIONS[:3], 3, guidance=2.0, seed=7)
    first = cascade.base.sample(CAPTIONS[:3], 3, guidance=2.0, seed=7)
    assert drawn.images.shape == (3, *LARGE, 3) and drawn.layouts.shape == (3, *LARGE) and drawn.seeds == first.seeds
    seeds = [enlarging_seed(seed) for seed in first.seeds]
    again = cascade.enlarger.enlarge(CAPTIONS[:3], first.images, first.layouts, 3, seed=seeds)
    assert np.array_equal(drawn.images, again.images) and np.array_equal(drawn.layouts, again.layouts)
    assert drawn.settings["card"] == first.settings["card"] != drawn.settings["enlarging_card"]
    assert (
        drawn.settings["enlarging_level"] == 0.2 and cascade.card.size == LARGE and cascade.card.training["steps"] == 6
    )
    assert (cascade.dtype, cascade.known_halves, cascade.classes) == ("float32", (), TABLE)


def test_a_pair_does_not_depend_on_what_is_enlarged_beside_it(cascade):
    images, layouts = pairs(10)
    seeds = list(range(10))
    for guidance in (1.0, 2.0):
        together = cascade.enlarger.enlarge(CAPTIONS, images, layouts, 2, guidance, seeds)
        alone = cascade.enlarger.enlarge(CAPTIONS[9], images[9:], layouts[9:], 2, guidance, [9])
        assert np.array_equal(together.images[9:], alone.images) and np.array_equal(together.layouts[9:], alone.layouts)


@pytest.mark.parametrize("change", ["images", "layouts", "level", "caption", "seed"])
def test_everything_given_decides_the_result(cascade, change):
    images, layouts = pairs()
    given = {"captions": CAPTIONS[:3], "images": images, "layouts": layouts, "seed": 1, "level": 0.2}
    changed = {
        "images": {"images": 255 - images}, "layouts": {"layouts": 4 - layouts}, "level": {"level": 0.6},
        "caption": {"captions": CAPTIONS[3:6]}, "seed": {"seed": 2},
    }[change]  # fmt: skip
    one, other = (cascade.enlarger.enlarge(num_steps=2, **each) for each in (given, given | changed))
    assert not np.array_equal(one.images, other.images)


def test_a_cascade_enlarges_as_its_settings_say(cascade):
    quiet = Cascade(cascade.base, cascade.enlarger, CascadeConfig(level=0.0, guidance=2.0))
    drawn, told = quiet.sample(CAPTIONS[:2], 2), cascade.sample(CAPTIONS[:2], 2, level=0.0, enlarging_guidance=2.0)
    assert np.array_equal(drawn.images, told.images) and drawn.settings["enlarging_level"] == 0.0
    assert not np.array_equal(drawn.images, cascade.sample(CAPTIONS[:2], 2).images)
    for wrong in ({"level": 1.5}, {"guidance": -1.0}, {"final": "best"}):
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} "):
            CascadeConfig(**wrong)


def test_a_folder_with_two_models_is_a_cascade(cascade, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "load_encoder", lambda *args, **kwargs: StubEncoder())
    for name, part in (("base", cascade.base), ("enlarger", cascade.enlarger)):
        save_model(tmp_path / name, part.unet.state_dict(), part.card)
    loaded = load_pipeline(tmp_path, "cpu", dtype="float32")
    assert isinstance(loaded, Cascade) and isinstance(load_pipeline(tmp_path / "enlarger", "cpu"), Enlarger)
    one, other = (each.sample(CAPTIONS[:2], 2, seed=3) for each in (loaded, cascade))
    assert np.array_equal(one.images, other.images)


def test_halves_may_be_absent_in_both_networks():
    base = make(Pipeline, card(SIZE, num_classes=0))
    drawn = Cascade(base, make(Enlarger, card(LARGE, num_classes=0, low_resolution=True))).sample(CAPTIONS[:2], 2)
    assert drawn.layouts is None and drawn.images.shape == (2, *LARGE, 3)


def test_networks_that_do_not_fit_are_refused(cascade):
    large = card(LARGE, low_resolution=True)
    other = ClassTable("other", TABLE.names, TABLE.colors)
    with pytest.raises(ConfigError, match=r"must share classes and differ 2 times in size, got \(8, 16\) of 'tiny'"):
        Cascade(cascade.base, make(Enlarger, card(SIZE, low_resolution=True)))
    with pytest.raises(ConfigError, match="of 'other': train both on one domain"):
        Cascade(cascade.base, make(Enlarger, replace(large, classes=other)))
    with pytest.raises(ConfigError, match="one network has a half that the other lacks"):
        Cascade(make(Pipeline, card(SIZE, num_classes=0)), cascade.enlarger)
    with pytest.raises(ConfigError, match=r"takes no smaller pair \(unet.low_resolution\)"):
        make(Enlarger, card(LARGE))


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"images": None}, DataError, "has a half of images: give them"),
        ({"images": pairs()[0][:, :4]}, DataError, r"images must be uint8 \(3, 8, 16, 3\), got uint8 \(3, 4, 16, 3\)"),
        ({"layouts": pairs()[1].astype(np.int64)}, DataError, r"layouts must be uint8 .*, got int64"),
        ({"layouts": np.full((3, *SIZE), 9, np.uint8)}, DataError, r"class id outside 0\.\.4"),
        ({"level": 1.5}, ConfigError, r"level must lie in 0\.\.1, got 1.5"),
        ({"seed": [1, 2]}, ConfigError, "seed holds 2 numbers for 3 captions"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(cascade, given, error, message):
    images, layouts = pairs()
    with pytest.raises(error, match=message):
        cascade.enlarger.enlarge(**{"captions": CAPTIONS[:3], "images": images, "layouts": layouts, **given})


def test_known_halves_are_refused(cascade):
    with pytest.raises(ConfigError, match="a cascade draws both halves: leave layouts out"):
        cascade.sample(CAPTIONS[:3], 2, layouts=pairs()[1])


def test_the_second_network_alone_says_what_it_needs(cascade):
    with pytest.raises(ConfigError, match="this network enlarges pairs: call `enlarge` with them, or load a folder"):
        cascade.enlarger.sample(CAPTIONS[:1], guidance=2.0)
