"""The two chains side by side: independent times, absent halves, losses by name, seeds."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError

# Property tests are derandomized: hypothesis draws the same examples in every run.
PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
T, K = 200, 6
IMAGE = GaussianDiffusion(NoiseSchedule.cosine(T))
LAYOUT = CategoricalDiffusion(K, NoiseSchedule.shifted(T, -1.0))
JOINT = GaussianCategoricalDiffusion(IMAGE, LAYOUT)


def pair(B=4, H=8, W=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(B, 3, H, W, generator=g) - 1, torch.randint(K, (B, H, W), generator=g)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def times(value, B=4):
    return torch.full((B,), value)


def test_layout_time_zero_keeps_the_labels_clean_whatever_the_image_time():
    x0, y0 = pair()
    noised = JOINT.q_sample(x0, y0, times(T), times(0), seeded(1))
    assert torch.equal(noised.y, y0) and not torch.equal(noised.x, x0)


def test_layout_time_T_leaves_nearly_uniform_labels_whatever_the_image_time():
    x0, y0 = torch.zeros(1, 3, 100, 100), torch.full((1, 100, 100), 2)
    noised = JOINT.q_sample(x0, y0, times(0, 1), times(T, 1), seeded(2))
    assert torch.equal(noised.x, x0)
    assert chisquare(torch.bincount(noised.y.flatten(), minlength=K)).pvalue > 1e-3


def test_the_layout_time_defaults_to_the_image_time():
    x0, y0 = pair()
    t = torch.tensor([1, 50, 120, T])
    diagonal, explicit = JOINT.q_sample(x0, y0, t, None, seeded(3)), JOINT.q_sample(x0, y0, t, t, seeded(3))
    assert torch.equal(diagonal.x, explicit.x) and torch.equal(diagonal.y, explicit.y)


def test_neither_chain_feels_the_time_of_the_other():
    x0, y0 = pair()
    here = JOINT.q_sample(x0, y0, times(60), times(90), seeded(4))
    other_image_time = JOINT.q_sample(x0, y0, times(150), times(90), seeded(4))
    other_layout_time = JOINT.q_sample(x0, y0, times(60), times(10), seeded(4))
    assert torch.equal(here.y, other_image_time.y) and not torch.equal(here.x, other_image_time.x)
    assert torch.equal(here.x, other_layout_time.x) and not torch.equal(here.y, other_layout_time.y)


def test_noise_of_the_image_and_changes_of_the_labels_are_independent():
    x0, y0 = torch.zeros(1, 3, 150, 150), torch.zeros(1, 150, 150, dtype=torch.int64)
    noised = JOINT.q_sample(x0, y0, times(80, 1), times(80, 1), seeded(5))
    quarter = (noised.noise[:, 0] > 0).long() + 2 * (noised.noise[:, 1] > 0).long()
    table = torch.bincount((quarter * K + noised.y).flatten(), minlength=4 * K).view(4, K)
    assert chi2_contingency(table.numpy()).pvalue > 1e-3


def test_each_half_is_noised_as_it_would_be_alone():
    x0, y0 = pair()
    t_x, t_y = torch.tensor([0, 50, 120, T]), torch.tensor([T, 3, 0, 77])
    noised = JOINT.q_sample(x0, y0, t_x, t_y, seeded(6))
    assert torch.equal(noised.x, IMAGE.q_sample(x0, t_x, noised.noise))
    kept = (noised.y == y0).float().mean((1, 2))
    assert kept[2] == 1 and kept[1] > kept[3] >= 0


def test_a_seed_reproduces_the_pair_and_another_seed_changes_both_halves():
    x0, y0 = pair()
    one, again, other = (JOINT.q_sample(x0, y0, times(100), None, seeded(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(one, again))
    assert not any(torch.equal(a, b) for a, b in zip(one, other))


def test_image_only_diffusion_has_no_layout_and_the_noise_of_the_joint_one():
    x0, y0 = pair()
    alone = GaussianCategoricalDiffusion(IMAGE, None)
    noised = alone.q_sample(x0, None, times(100), generator=seeded(9))
    assert noised.y is None and alone.T == T
    assert torch.equal(noised.x, JOINT.q_sample(x0, y0, times(100), generator=seeded(9)).x)
    output = SimpleNamespace(image=noised.noise, layout=None)
    losses = alone.loss(output, x0, None, noised, times(100), times(100))
    assert list(losses) == ["image"] and alone.total(losses) == 0


def test_layout_only_diffusion_has_no_image():
    _, y0 = pair()
    alone = GaussianCategoricalDiffusion(None, LAYOUT)
    noised = alone.q_sample(None, y0, times(100), generator=seeded(10))
    assert noised.x is None and noised.noise is None and alone.T == T
    assert torch.equal(noised.y, LAYOUT.q_sample(y0, times(100), seeded(10)))
    output = SimpleNamespace(image=None, layout=torch.zeros(4, K, 8, 8))
    losses = alone.loss(output, None, y0, noised, times(100), times(100))
    assert list(losses) == ["layout"] and alone.total(losses) > 0


def test_the_network_is_told_each_log_snr_and_zero_for_an_absent_half():
    t_x, t_y = torch.tensor([0, 20, T]), torch.tensor([T, 100, 0])
    x, y = JOINT.log_snr(t_x, t_y)
    assert torch.equal(x, IMAGE.schedule.log_snr(t_x)) and torch.equal(y, LAYOUT.schedule.log_snr(t_y))
    zero = torch.zeros(3)
    assert torch.equal(GaussianCategoricalDiffusion(IMAGE, None).log_snr(t_x, t_y)[1], zero)
    assert torch.equal(GaussianCategoricalDiffusion(None, LAYOUT).log_snr(t_x, t_y)[0], zero)


def test_losses_are_those_of_the_halves_at_their_own_times_and_zero_for_a_clean_half():
    x0, y0 = pair()
    t_x, t_y = torch.tensor([0, 50, 120, T]), torch.tensor([100, 3, 0, 77])
    noised, g = JOINT.q_sample(x0, y0, t_x, t_y, seeded(11)), seeded(12)
    output = SimpleNamespace(image=torch.randn(x0.shape, generator=g), layout=torch.randn(4, K, 8, 8, generator=g))
    losses = JOINT.loss(output, x0, y0, noised, t_x, t_y)
    assert torch.equal(losses["image"], IMAGE.loss(output.image, x0, noised.noise, t_x))
    assert torch.equal(losses["layout"], LAYOUT.loss(output.layout, y0, noised.y, t_y))
    assert losses["image"][0] == 0 and losses["layout"][2] == 0
    assert (losses["image"][1:] > 0).all() and (losses["layout"][[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.25])
def test_the_total_is_the_batch_mean_with_the_layout_weighted(weight):
    diffusion = GaussianCategoricalDiffusion(IMAGE, LAYOUT, layout_weight=weight)
    losses = {"image": torch.tensor([1.0, 3.0]), "layout": torch.tensor([4.0, 12.0])}
    assert diffusion.total(losses) == pytest.approx(2 + weight * 8)


def test_a_diffusion_without_halves_is_refused():
    with pytest.raises(ConfigError, match="image half, a layout half or both"):
        GaussianCategoricalDiffusion(None, None)


def test_halves_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="same number of steps"):
        GaussianCategoricalDiffusion(IMAGE, CategoricalDiffusion(K, NoiseSchedule.cosine(T + 1)))


@pytest.mark.parametrize("t_x, t_y", [(T + 1, 5), (5, T + 1), (-1, 5), (5, -1)])
def test_a_time_outside_the_table_is_refused_in_either_half(t_x, t_y):
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.200"):
        JOINT.q_sample(*pair(), times(t_x), times(t_y), seeded(0))
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.200"):
        JOINT.log_snr(times(t_x), times(t_y))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_labels_of_another_dtype_are_refused(dtype):
    x0, y0 = pair()
    with pytest.raises(ValueError, match="labels must be int64"):
        JOINT.q_sample(x0, y0.to(dtype), times(5), times(5), seeded(0))


@PROPERTY
@given(
    B=st.integers(1, 4),
    H=st.integers(1, 6),
    W=st.integers(1, 6),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_noised_pairs_keep_shape_dtype_and_label_range_at_any_pair_of_times(B, H, W, seed, dtype):
    g = seeded(seed)
    x0, y0 = pair(B, H, W, seed)
    t_x, t_y = torch.randint(T + 1, (2, B), generator=g)
    noised = JOINT.q_sample(x0.to(dtype), y0, t_x, t_y, g)
    x, y, noise = noised
    assert x.shape == noise.shape == x0.shape and x.dtype == noise.dtype == dtype and x.isfinite().all()
    assert y.shape == y0.shape and y.dtype == torch.int64 and 0 <= y.min() and y.max() < K
    output = SimpleNamespace(image=torch.zeros_like(x), layout=torch.zeros(B, K, H, W))
    losses = JOINT.loss(output, x0.to(dtype), y0, noised, t_x, t_y)
    for loss in losses.values():  # rounding may leave a KL near zero slightly below it
        assert loss.shape == (B,) and loss.isfinite().all() and (loss > -1e-3).all()
    assert JOINT.total(losses).shape == ()
