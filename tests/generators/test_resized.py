"""Pairs brought to the larger size by interpolation."""

import numpy as np
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

from gcdp.generators.pipeline import Pipeline
from gcdp.generators.resized import Resized, resized
from gcdp.generators.samples import Samples
from gcdp.training.checkpoint import ModelCard


def test_labels_are_repeated_and_images_interpolated():
    images = np.full((2, 4, 6, 3), 50, np.uint8)
    images[0, :, 3:] = 200
    layouts = np.arange(48, dtype=np.uint8).reshape(2, 4, 6) % 5
    larger = resized(Samples(images, layouts, ["a", "b"], [1, 2], {"num_steps": 3}))
    assert larger.images.shape == (2, 8, 12, 3) and larger.images.dtype == np.uint8
    assert (
        (larger.images[1] == 50).all() and (larger.images[0, :, 0] < 60).all() and (larger.images[0, :, -1] > 190).all()
    )
    for i in (0, 1):
        for j in (0, 1):
            assert np.array_equal(larger.layouts[:, i::2, j::2], layouts)
    assert (larger.captions, larger.seeds, larger.settings) == (["a", "b"], [1, 2], {"num_steps": 3})


def test_a_half_that_is_absent_stays_so():
    layouts = np.zeros((1, 2, 2), np.uint8)
    assert resized(Samples(None, layouts, ["a"], [0])).images is None
    assert resized(Samples(np.zeros((0, 2, 4, 3), np.uint8), None, [], [])).images.shape == (0, 4, 8, 3)


def test_a_generator_draws_what_its_network_does():
    torch.manual_seed(0)
    card = ModelCard(NETWORK, PROCESS, TABLE, SIZE, "stub", 64, {"steps": 3})
    unet, process = card.build()
    base = Pipeline(awake(unet).eval(), process, card, StubEncoder().encode, "float32")
    model, captions = Resized(base), ["a sky", "a road"]
    drawn, first = (each.sample(captions, 3, guidance=2.0, seed=5) for each in (model, base))
    assert np.array_equal(drawn.layouts[:, ::2, ::2], first.layouts) and drawn.seeds == first.seeds
    assert model.card.size == tuple(2 * side for side in SIZE) and model.card.training == card.training
    assert model.classes == TABLE and model.dtype == "float32" and model.known_halves == ()
