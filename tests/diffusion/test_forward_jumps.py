"""Jumps forward from any state: composed with the way to that state they are the way from clean data."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from worlds import brute_force as brute

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

# Property tests are derandomized: hypothesis draws the same examples in every run.
PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
T = 100
SCHEDULE = NoiseSchedule.cosine(T)
GAUSSIAN = GaussianDiffusion(SCHEDULE)
pairs_of_times = st.tuples(st.integers(0, T), st.integers(0, T)).filter(lambda p: p[0] < p[1])


def at(*values):
    return torch.tensor(values)


def coefficients(move):
    """(signal, noise) of a linear move of one value, read off by moving 1 without noise and 0 with noise 1."""
    one, zero = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    return move(one, zero).item(), move(zero, one).item()


@PROPERTY
@given(pairs_of_times)
def test_a_jump_of_the_image_after_the_way_to_s_is_the_way_to_t(times):
    s, t = times
    to_s = coefficients(lambda x, noise: GAUSSIAN.q_sample(x, at(s), noise))
    jump = coefficients(lambda x, noise: GAUSSIAN.q_jump(x, at(s), at(t), noise))
    signal, sigma = coefficients(lambda x, noise: GAUSSIAN.q_sample(x, at(t), noise))
    assert jump[0] * to_s[0] == pytest.approx(signal, abs=1e-14)
    assert (jump[0] * to_s[1]) ** 2 + jump[1] ** 2 == pytest.approx(sigma**2, abs=1e-14)


def test_an_image_jumps_with_its_own_noise_and_reaches_the_right_level():
    x0 = torch.full((64, 3, 8, 8), 0.3)
    g = torch.Generator().manual_seed(0)
    s, t = torch.full((64,), 30), torch.full((64,), 70)
    x_s = GAUSSIAN.q_sample(x0, s, torch.randn(x0.shape, generator=g))
    x_t = GAUSSIAN.q_jump(x_s, s, t, torch.randn(x0.shape, generator=g))
    ab = SCHEDULE.alpha_bar[70]
    assert kstest(((x_t - ab.sqrt() * x0) / (1 - ab).sqrt()).flatten().numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("K", [2, 4, 20])
@pytest.mark.parametrize("s, t", [(0, 1), (0, T), (30, 31), (30, 70), (99, T)])
def test_a_jump_of_the_layout_is_a_product_of_one_step_matrices(K, s, t):
    chain, labels = CategoricalDiffusion(K, SCHEDULE), torch.arange(K)[None, None]
    jump = chain.q_jump_probs(labels, at(s), at(t))[0, :, 0].T
    torch.testing.assert_close(jump, brute.transition(SCHEDULE, K, t, s), rtol=0, atol=1e-13)
    to_s, to_t = (chain.q_probs(labels, at(u))[0, :, 0].T for u in (s, t))
    torch.testing.assert_close(to_s @ jump, to_t, rtol=0, atol=1e-14)


def test_labels_jump_with_their_probabilities_and_jumps_compose():
    K, chain = 4, CategoricalDiffusion(4, SCHEDULE)
    g = torch.Generator().manual_seed(0)
    y0, s, t = torch.full((50, 20, 20), 2), torch.full((50,), 20), torch.full((50,), 60)
    y_s = chain.q_sample(y0, s, g)
    y_t = chain.q_jump(y_s, s, t, g)
    expected = brute.transition(SCHEDULE, K, 60)[2] * y0.numel()
    assert chisquare(torch.bincount(y_t.flatten(), minlength=K), expected).pvalue > 1e-3
    row = brute.transition(SCHEDULE, K, 60, 20)[1] * int((y_s == 1).sum())
    assert chisquare(torch.bincount(y_t[y_s == 1], minlength=K), row).pvalue > 1e-3


def test_a_jump_from_clean_labels_is_the_way_from_clean_labels():
    chain, y0 = (
        CategoricalDiffusion(5, SCHEDULE),
        torch.randint(5, (2, 6, 6), generator=torch.Generator().manual_seed(1)),
    )
    draws = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert torch.equal(chain.q_jump(y0, at(0), at(40), draws[0]), chain.q_sample(y0, at(40), draws[1]))


@pytest.mark.parametrize("s, t", [(40, 40), (41, 40), (-1, 3), (3, T + 1)])
def test_jumps_go_forward_only(s, t):
    x, y = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    chain = CategoricalDiffusion(3, SCHEDULE)
    for jump in (lambda: GAUSSIAN.q_jump(x, at(s), at(t)), lambda: chain.q_jump(y, at(s), at(t))):
        with pytest.raises(ValueError, match=r"s < t|must lie in"):
            jump()
