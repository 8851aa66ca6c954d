"""Pixels to [-1, 1] and back: the one conversion, equal to the bit to the ones written out before."""

import numpy as np
import pytest
import torch

from gcdp.data.images import to_tensor, to_uint8

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
IMAGES[0] = np.arange(72, dtype=np.uint8).reshape(6, 4, 3)


def test_every_level_comes_back():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    x = to_tensor(levels)
    assert x.min() == -1 and x.max() == 1
    assert (to_uint8(x) == levels).all()


@pytest.mark.parametrize("images", [IMAGES, IMAGES[0], IMAGES[None]], ids=["batch", "one", "grid"])
def test_any_leading_axes(images):
    x = to_tensor(images)
    assert x.dtype == torch.float32 and x.shape == (*images.shape[:-3], 3, 6, 4)
    assert (to_uint8(x) == images).all()


def test_equal_to_the_bit_to_the_formula():
    x = to_tensor(IMAGES)
    assert torch.equal(x, torch.from_numpy(IMAGES.copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1))
    noisy = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    expected = noisy.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert (to_uint8(noisy) == expected).all()


def test_read_only_maps_are_copied(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    to_tensor(stored).zero_()
    assert (stored == IMAGES).all()
