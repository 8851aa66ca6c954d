"""The image half: posteriors against a conditioned joint Gaussian, parameterizations, loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcdp.diffusion.gaussian import PREDICTIONS, GaussianDiffusion
from gcdp.diffusion.schedules import FLOOR, NoiseSchedule
from gcdp.errors import ConfigError

# Property tests are derandomized: hypothesis draws the same examples in every run.
PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
SCHEDULE = NoiseSchedule.cosine(1000)


def draw(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def times(*values):
    return torch.tensor(values)


def conditioned(ab_t, ab_s, x0, x_t):
    """Mean and variance of x_s given (x_t, x_0) from the covariance of (x_s, x_t), built from unit noises."""
    a = ab_t / ab_s
    noises = torch.stack(
        [  # rows x_s, x_t; columns the noise of 0 -> s and of s -> t
            torch.stack([(1 - ab_s).sqrt(), torch.zeros_like(a)]),
            torch.stack([a.sqrt() * (1 - ab_s).sqrt(), (1 - a).sqrt()]),
        ]
    )
    cov = noises @ noises.T
    mean = ab_s.sqrt() * x0 + cov[0, 1] / cov[1, 1] * (x_t - ab_t.sqrt() * x0)
    return mean, cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1]


@pytest.mark.parametrize("t", [1, 2, 10, 500, 999, 1000])
def test_posterior_of_one_step_is_the_closed_form_of_equation_12(t):
    x0, x_t, ab = draw((2, 3, 4, 4), 0), draw((2, 3, 4, 4), 1), SCHEDULE.alpha_bar
    beta = 1 - ab[t] / ab[t - 1]
    mean, variance = GaussianDiffusion(SCHEDULE).q_posterior(x0, x_t, times(t, t), times(t - 1, t - 1))
    expected = (ab[t - 1].sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - ab[t - 1]) * x_t) / (1 - ab[t])
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(variance.flatten()[0], (1 - ab[t - 1]) / (1 - ab[t]) * beta, rtol=1e-9, atol=0)


@PROPERTY
@given(t=st.integers(1, 1000), data=st.data())
def test_posterior_of_any_jump_is_the_conditioned_joint_gaussian(t, data):
    s = data.draw(st.integers(0, t - 1))
    x0, x_t = draw((1, 3, 2, 2), t), draw((1, 3, 2, 2), t + 1)
    mean, variance = GaussianDiffusion(SCHEDULE).q_posterior(x0, x_t, times(t), times(s))
    expected = conditioned(SCHEDULE.alpha_bar[t], SCHEDULE.alpha_bar[s], x0, x_t)
    torch.testing.assert_close(mean, expected[0], rtol=0, atol=1e-11)
    torch.testing.assert_close(variance.flatten()[0], expected[1], rtol=1e-7, atol=1e-14)


@PROPERTY
@given(order=st.sets(st.integers(0, 1000), min_size=3, max_size=3))
def test_two_jumps_through_an_intermediate_time_equal_one_jump(order):
    s, r, t = (times(v) for v in sorted(order))
    gaussian, x0, x_t = GaussianDiffusion(SCHEDULE), draw((1, 3, 2, 2), 5), draw((1, 3, 2, 2), 6)
    mean_r, variance_r = gaussian.q_posterior(x0, x_t, t, r)
    mean, variance = gaussian.q_posterior(x0, mean_r, r, s)
    factor = gaussian.q_posterior(torch.zeros_like(x0), torch.ones_like(x0), r, s)[0].flatten()[0]
    direct_mean, direct_variance = gaussian.q_posterior(x0, x_t, t, s)
    torch.testing.assert_close(mean, direct_mean, rtol=0, atol=1e-11)
    torch.testing.assert_close(variance + factor**2 * variance_r, direct_variance, rtol=1e-9, atol=1e-14)


@PROPERTY
@given(t=st.integers(1, 1000), data=st.data())
def test_reverse_jump_of_a_noised_image_has_the_marginal_of_the_earlier_time(t, data):
    s = data.draw(st.integers(0, t - 1))
    gaussian, one, zero = GaussianDiffusion(SCHEDULE), *torch.tensor([[[[[1.0]]]], [[[[0.0]]]]]).double()
    from_x0, variance = gaussian.q_posterior(one, zero, times(t), times(s))
    from_xt = gaussian.q_posterior(zero, one, times(t), times(s))[0]
    ab_t, ab_s = SCHEDULE.alpha_bar[t], SCHEDULE.alpha_bar[s]
    assert (from_x0 + from_xt * ab_t.sqrt()).item() == pytest.approx(ab_s.sqrt().item(), abs=1e-12)
    assert (variance + from_xt**2 * (1 - ab_t)).item() == pytest.approx((1 - ab_s).item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [1, 10, 1000])
def test_jump_to_time_zero_returns_the_clean_image_without_noise(t, dtype):
    x0, x_t = draw((2, 3, 4, 4), 2, dtype), draw((2, 3, 4, 4), 3, dtype)
    mean, variance = GaussianDiffusion(SCHEDULE).q_posterior(x0, x_t, times(t, t), times(0, 0))
    assert torch.equal(mean, x0) and (variance == 0).all()


@pytest.mark.parametrize("t, s", [(1, 0), (2, 1), (10, 9), (1000, 999), (1000, 0)])
def test_single_precision_posterior_keeps_its_digits_where_alpha_bar_is_near_one(t, s):
    gaussian, x0, x_t = GaussianDiffusion(SCHEDULE), draw((1, 3, 8, 8), 0), draw((1, 3, 8, 8), 1)
    single = gaussian.q_posterior(x0.float(), x_t.float(), times(t), times(s))
    double = gaussian.q_posterior(x0, x_t, times(t), times(s))
    torch.testing.assert_close(single[0].double(), double[0], rtol=0, atol=2e-6)
    torch.testing.assert_close(single[1].double(), double[1], rtol=1e-6, atol=0)


def test_noised_images_have_the_moments_of_the_forward_process():
    torch.manual_seed(0)  # q_sample draws its noise from torch's global generator
    x0 = torch.full((4, 3, 100, 100), 0.6)
    t = times(0, 100, 500, 1000)
    x_t = GaussianDiffusion(SCHEDULE).q_sample(x0, t).double()
    ab, n = SCHEDULE.alpha_bar[t], 30000
    mean, variance = x_t.mean((1, 2, 3)), x_t.var((1, 2, 3))
    assert ((mean - 0.6 * ab.sqrt()).abs() <= 4 * ((1 - ab) / n).sqrt() + 1e-6).all()
    assert ((variance - (1 - ab)).abs() <= 4 * (1 - ab) * (2 / n) ** 0.5 + 1e-6).all()
    assert torch.equal(x_t[0], x0[0].double())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [1, 17, 500, 1000])
def test_the_network_target_leads_back_to_the_clean_image_and_the_noise(prediction, t):
    gaussian = GaussianDiffusion(SCHEDULE, prediction)
    x0, noise, t = draw((2, 3, 4, 4), 0), draw((2, 3, 4, 4), 1), times(t, t)
    x_t = gaussian.q_sample(x0, t, noise)
    estimate = gaussian.predict_x0(gaussian.target(x0, noise, t), x_t, t)
    torch.testing.assert_close(estimate, x0, rtol=0, atol=1e-10)
    torch.testing.assert_close(gaussian.predict_eps(estimate, x_t, t), noise, rtol=0, atol=1e-10)


def test_v_turns_signal_and_noise_by_the_same_angle():
    gaussian, t = GaussianDiffusion(SCHEDULE, "v"), times(300)
    x0, noise = draw((1, 3, 4, 4), 0), draw((1, 3, 4, 4), 1)
    v, x_t = gaussian.target(x0, noise, t), gaussian.q_sample(x0, t, noise)
    torch.testing.assert_close(v**2 + x_t**2, x0**2 + noise**2)  # (x_t, v) is (x_0, eps) rotated


def test_an_output_error_at_T_is_not_amplified_by_v_and_at_most_by_the_floor_for_eps():
    x0, noise, t = draw((1, 3, 4, 4), 0), draw((1, 3, 4, 4), 1), times(1000)
    amplification = {}
    for prediction in ("eps", "v"):
        gaussian = GaussianDiffusion(SCHEDULE, prediction)
        x_t, target = gaussian.q_sample(x0, t, noise), gaussian.target(x0, noise, t)
        amplification[prediction] = (gaussian.predict_x0(target + 1, x_t, t) - x0).abs().max().item()
    assert amplification["v"] <= 1
    assert 300 < amplification["eps"] <= FLOOR**-0.5


def test_clean_estimate_of_an_eps_network_stays_finite_at_T_in_half_precision():
    gaussian, x_t = GaussianDiffusion(SCHEDULE), draw((1, 3, 4, 4), 0, torch.float16)
    assert gaussian.predict_x0(torch.zeros_like(x_t), x_t, times(1000)).isfinite().all()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_is_zero_at_the_target_and_the_squared_error_elsewhere(prediction):
    gaussian = GaussianDiffusion(SCHEDULE, prediction)
    x0, noise, t = draw((3, 3, 4, 4), 0), draw((3, 3, 4, 4), 1), times(1, 400, 1000)
    target = gaussian.target(x0, noise, t)
    assert gaussian.loss(target, x0, noise, t).abs().max() < 1e-12
    off = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(gaussian.loss(target + off, x0, noise, t).float(), times(1, 4, 9).float())


def test_loss_weights_a_clean_image_with_zero_and_passes_it_no_gradient():
    output, zero = torch.ones(2, 3, 4, 4, requires_grad=True), torch.zeros(2, 3, 4, 4)
    loss = GaussianDiffusion(SCHEDULE).loss(output, zero, zero, times(0, 5))
    loss.sum().backward()
    assert loss.tolist() == [0, 1] and (output.grad[0] == 0).all() and (output.grad[1] > 0).all()


def test_p2_weight_is_one_over_the_root_of_one_plus_snr():
    t, zero, one = times(1, 300, 1000), torch.zeros(3, 3, 2, 2), torch.ones(3, 3, 2, 2)
    ab = SCHEDULE.alpha_bar[t]
    weight = GaussianDiffusion(SCHEDULE, p2=True).loss(one, zero, zero, t)
    torch.testing.assert_close(weight, ((1 + ab / (1 - ab)) ** -0.5).float())


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_p2_loss_of_a_clean_estimate_does_not_depend_on_what_is_predicted(prediction):
    t = times(1, 2, 300, 700, 1000)
    x0, noise, estimate = (draw((5, 3, 4, 4), seed) for seed in (0, 1, 2))
    x_t = GaussianDiffusion(SCHEDULE).q_sample(x0, t, noise)
    gaussian, eps = GaussianDiffusion(SCHEDULE, prediction, p2=True), GaussianDiffusion(SCHEDULE, "eps", p2=True)
    noise_estimate = gaussian.predict_eps(estimate, x_t, t)
    output = gaussian.target(estimate, noise_estimate, t)  # what a network with this clean estimate returns
    torch.testing.assert_close(gaussian.predict_x0(output, x_t, t), estimate)
    loss, expected = gaussian.loss(output, x0, noise, t), eps.loss(noise_estimate, x0, noise, t)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    assert (loss > 0).all() and loss.dtype == torch.float64


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_p2_loss_is_zero_and_not_undefined_where_the_image_is_clean(prediction):
    output = torch.ones(2, 3, 2, 2, requires_grad=True)
    x0 = torch.zeros(2, 3, 2, 2)
    loss = GaussianDiffusion(SCHEDULE, prediction, p2=True).loss(output, x0, x0, times(0, 5))
    loss.sum().backward()
    assert loss[0] == 0 and loss[1] > 0 and (output.grad[0] == 0).all()


@pytest.mark.parametrize("t, s", [(900, 500), (10, 9), (7, 0), (1000, 0)])
def test_a_reverse_jump_keeps_the_noise_level_of_its_end_at_any_eta(t, s):
    gaussian, ab_s = GaussianDiffusion(SCHEDULE), SCHEDULE.alpha_bar[s]
    x0, noise = draw((1, 3, 2, 2), 0), draw((1, 3, 2, 2), 1)
    x_t, jump = gaussian.q_sample(x0, times(t), noise), (times(t), times(s))
    for eta in (0.0, 0.4, 1.0):
        mean, std = gaussian.reverse(x0, x_t, *jump, eta)
        expected = ab_s.sqrt() * x0 + (1 - ab_s - std**2).clamp(min=0).sqrt() * noise
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-9)
        variance = gaussian.q_posterior(x0, x_t, *jump)[1]
        torch.testing.assert_close(std, eta * variance.sqrt(), rtol=1e-9, atol=1e-12)


def test_an_unknown_prediction_is_refused_with_the_names_that_exist():
    with pytest.raises(ConfigError, match="eps, x0, v"):
        GaussianDiffusion(SCHEDULE, "epsilon")


@PROPERTY
@given(
    B=st.integers(1, 4),
    C=st.integers(1, 4),
    H=st.integers(1, 5),
    W=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    prediction=st.sampled_from(PREDICTIONS),
    seed=st.integers(0, 99),
)
def test_every_verb_keeps_shape_and_dtype(B, C, H, W, dtype, prediction, seed):
    gaussian = GaussianDiffusion(SCHEDULE, prediction)
    x0, noise = draw((B, C, H, W), seed).to(dtype), draw((B, C, H, W), seed + 1).to(dtype)
    t = torch.randint(1, 1001, (B,), generator=torch.Generator().manual_seed(seed))
    x_t = gaussian.q_sample(x0, t, noise)
    mean, variance = gaussian.q_posterior(x0, x_t, t, t - 1)
    target = gaussian.target(x0, noise, t)
    for value in (x_t, mean, target, gaussian.predict_x0(target, x_t, t), gaussian.predict_eps(x0, x_t, t)):
        assert value.shape == (B, C, H, W) and value.dtype == dtype and value.isfinite().all()
    assert variance.shape == (B, 1, 1, 1) and variance.dtype == dtype and (variance >= 0).all()
    assert gaussian.loss(target, x0, noise, t).shape == (B,)


@pytest.mark.parametrize("t", [-1, 1001])
def test_times_outside_the_table_are_refused_by_every_verb(t):
    gaussian, x = GaussianDiffusion(SCHEDULE), torch.zeros(1, 3, 2, 2)
    calls = (
        lambda: gaussian.q_sample(x, times(t)),
        lambda: gaussian.predict_x0(x, x, times(t)),
        lambda: gaussian.predict_eps(x, x, times(t)),
        lambda: gaussian.q_posterior(x, x, times(max(t, 500)), times(min(t, 400))),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"t must lie in 0\.\.1000"):
            call()


@pytest.mark.parametrize("s", [5, 6])
def test_a_posterior_that_does_not_go_back_is_refused(s):
    x = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match="s < t"):
        GaussianDiffusion(SCHEDULE).q_posterior(x, x, times(5), times(s))
