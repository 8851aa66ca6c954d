"""The condition of super-resolution: levels, enlarging, and noise that an example has of its own. Seeds are stated."""

import torch

from gcdp.diffusion.enlarging import condition, level_times
from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion

PROCESS = GaussianCategoricalDiffusion.from_config(DiffusionConfig(T=100), num_classes=4)
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.rand(3, 3, 4, 6, generator=GENERATOR), torch.randint(4, (3, 4, 6), generator=GENERATOR)


def test_levels_are_shares_of_the_way_to_noise():
    assert level_times(torch.tensor([0.0, 0.2, 0.999, 1.0]), 100).tolist() == [0, 20, 100, 100]


def test_without_noise_the_pair_is_only_enlarged():
    found = condition(PROCESS, X, Y, torch.zeros(3), (8, 12), torch.Generator().manual_seed(1))
    assert found.x.shape == (3, 3, 8, 12) and found.y.shape == (3, 8, 12) and found.y.dtype == torch.int64
    assert torch.equal(found.y, Y.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert torch.allclose(found.x.mean((2, 3)), X.mean((2, 3)), atol=0.05)
    assert torch.equal(found.log_snr, PROCESS.log_snr(torch.zeros(3).long(), torch.zeros(3).long())[0])


def test_noise_grows_with_the_level():
    low, high = (
        condition(PROCESS, X, Y, torch.full((3,), level), (8, 12), torch.Generator().manual_seed(1))
        for level in (0.2, 0.9)
    )
    clean = condition(PROCESS, X, Y, torch.zeros(3), (8, 12))
    gaps = [(found.x - clean.x).square().mean() for found in (low, high)]
    kept = [(found.y == clean.y).double().mean() for found in (low, high)]
    assert gaps[0] < gaps[1] and kept[0] > kept[1] and (low.log_snr > high.log_snr).all()


def test_examples_with_generators_of_their_own_do_not_depend_on_each_other():
    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    level = torch.tensor([0.5, 0.1, 0.5])
    together = condition(PROCESS, X, Y, level, (8, 12), generators(5, 6, 7))
    alone = condition(PROCESS, X[2:], Y[2:], level[2:], (8, 12), generators(7))
    assert torch.equal(together.x[2:], alone.x) and torch.equal(together.y[2:], alone.y)


def test_either_half_may_be_absent():
    for image, layout in ((True, False), (False, True)):
        process = GaussianCategoricalDiffusion.from_config(DiffusionConfig(T=100), 4, image, layout)
        for generator in (GENERATOR, [torch.Generator().manual_seed(i) for i in range(3)]):
            found = condition(
                process, X if image else None, Y if layout else None, torch.full((3,), 0.3), (8, 12), generator
            )
            assert (found.x is not None) == image and (found.y is not None) == layout and found.log_snr.shape == (3,)
