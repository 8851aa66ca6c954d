"""Spoiled images: what each strength does, what stays clean, and the same numbers from the same generator."""

import numpy as np
import pytest
import torch

from gcdp.errors import ConfigError
from gcdp.evaluation.spoiling import (
    SpoilingConfig,
    Strengths,
    apply_strengths,
    draw_strengths,
    spoil_batch,
    spoil_images,
)

STRONG = SpoilingConfig(noise=16, blur=5, contrast=0.5, brightness=32, clean=0.25)


def images(count=4, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(64, 192, (count, 12, 20, 3), dtype=np.uint8)


def batch(count=400) -> torch.Tensor:
    return torch.rand(count, 3, 8, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_by_default_nothing_changes():
    x = batch(4)
    assert not SpoilingConfig().active and spoil_batch(x, SpoilingConfig(), torch.Generator()) is x
    assert not SpoilingConfig(noise=16, clean=1.0).active
    assert np.array_equal(spoil_images(images()), images())


def test_a_share_stays_clean_to_the_bit_and_every_other_image_draws_its_own_strengths():
    x = batch()
    spoiled = spoil_batch(x, STRONG, torch.Generator().manual_seed(3))
    clean = (spoiled == x).flatten(1).all(1)
    assert 0.18 < clean.float().mean() < 0.32
    assert spoiled.abs().max() <= 1 and spoiled.shape == x.shape
    drawn = draw_strengths(STRONG, 400, torch.Generator().manual_seed(3))
    assert torch.equal(clean, (drawn.contrast == 1) & (drawn.noise == 0))
    assert drawn.noise.max() <= 16 and len(drawn.noise.unique()) > 250
    assert 0.5 <= drawn.contrast.min() < 0.55 and 1.45 < drawn.contrast.max() <= 1.5
    assert drawn.brightness.abs().max() <= 32 and drawn.brightness.min() < -25
    assert torch.allclose(drawn.kernel.sum(1), torch.ones(400)) and len(drawn.kernel.unique(dim=0)) == 5


def test_the_generator_decides_everything():
    first, again, other = (spoil_batch(batch(8), STRONG, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("sigma", [4.0, 16.0])
def test_noise_has_the_stated_deviation(sigma):
    change = spoil_images(images(40), noise=sigma).astype(float) - images(40)
    assert change.std() == pytest.approx(sigma, rel=0.03) and abs(change.mean()) < sigma / 30


def test_contrast_changes_about_the_mean_of_an_image():
    before, after = images().astype(float), spoil_images(images(), contrast=0.5).astype(float)
    assert np.allclose(after, before.mean((1, 2, 3), keepdims=True) / 2 + before / 2, atol=0.51)


@pytest.mark.parametrize("width", [3, 5])
def test_the_box_blur_is_the_mean_of_a_window_with_repeated_edges(width):
    reach = width // 2
    padded = np.pad(images().astype(float), ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width), axis=(1, 2))
    assert np.abs(windows.mean((-1, -2)) - spoil_images(images(), blur=width)).max() <= 0.51


def test_strengths_act_on_their_own_image_alone():
    x = batch(2)
    alike = torch.ones(2)
    still = torch.tensor([0.0, 0, 1, 0, 0]).expand(2, -1)
    strengths = Strengths(0 * alike, still, torch.tensor([1.0, 0.5]), 0 * alike)
    spoiled = apply_strengths(x, strengths, torch.Generator().manual_seed(0))
    assert torch.equal(spoiled[0], x[0])
    assert torch.allclose(spoiled[1].std(), x[1].std() / 2, rtol=1e-4)


def test_unknown_widths_and_impossible_strengths_are_refused():
    for blur in (2, 7):
        with pytest.raises(ConfigError, match=f"blur must be one of 1, 3, 5, got {blur}"):
            SpoilingConfig(blur=blur)
        with pytest.raises(ConfigError, match="blur must be one of"):
            spoil_images(images(), blur=blur)
    for wrong in ({"noise": -1}, {"contrast": 1.5}, {"clean": 2}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SpoilingConfig(**wrong)
