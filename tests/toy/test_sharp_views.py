"""Views that training sees are as sharp as the stored pairs that generated images are compared with."""

import numpy as np
import pytest

from gcdp.data.augmentation import Augmentation
from gcdp.data.pairs import PairDataset, build_store
from gcdp.toy.on_the_fly import DrawnFaces, DrawnStreets


def gradient_energy(images) -> float:
    """Mean squared difference of horizontal neighbors, images (N, 3, H, W) in [-1, 1]."""
    return float(np.mean([(x[..., 1:] - x[..., :-1]).square().mean().item() for x in images]))


@pytest.mark.parametrize(
    ("source", "size", "rescale"),
    [
        (DrawnStreets(24), (32, 64), (1.0, 1.2)),
        (DrawnStreets(12), (16, 32), (1.0, 1.2)),
        (DrawnFaces(24), (32, 32), (1.0, 1.1)),
    ],
    ids=["streets of 32x64", "streets of 16x32", "faces of 32x32"],
)
def test_views_keep_the_gradient_energy_of_the_plain_resize(source, size, rescale, tmp_path):
    """Enlarging a stored pair, as was done before, leaves half of it."""
    store = build_store(source, "referee", size, tmp_path / "pairs", rescale)
    captions = [["-"]] * len(store)
    plain, augmented = PairDataset(store, captions), PairDataset(store, captions, None, Augmentation(rescale))
    whole = gradient_energy(plain[(row, 0)]["x"] for row in range(len(store)))
    views = gradient_energy(augmented[(row, draw)]["x"] for row in range(len(store)) for draw in range(4))
    assert 0.85 * whole < views < 1.1 * whole
