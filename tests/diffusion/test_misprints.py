"""Every misprint of the process is shown to fail as printed and to hold in the form that the library uses.

The equation and section numbers are the paper's; "authors" marks a defect of the public code instead.
"""

import pytest
import torch
from worlds import brute_force as brute

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

K, T = 5, 100
SCHEDULE = NoiseSchedule.cosine(T)
CATEGORICAL = CategoricalDiffusion(K, SCHEDULE)
EYE = torch.eye(K, dtype=torch.float64)


def times(*values):
    return torch.tensor(values)


def every_pair():
    """All (y_0, y_t) as flat labels (K * K,)."""
    return torch.arange(K).repeat_interleave(K), torch.arange(K).repeat(K)


def library_posterior(y0, y_t, t, s, categorical=CATEGORICAL):
    onehot = EYE[y0].T[None, :, None]
    return categorical.q_posterior(onehot, y_t[None, None], times(t), times(s))[0, :, 0].T


def worst(p, q):
    return brute.total_variation(p, q).max().item()


@pytest.mark.parametrize("t", [1, 20, 80, T])
def test_equation_11_as_printed_swaps_signal_and_uniform_noise(t):
    ab, truth = SCHEDULE.alpha_bar[t], brute.transition(SCHEDULE, K, t)
    printed = (1 - ab) * EYE + ab / K
    ours = CATEGORICAL.q_probs(torch.arange(K)[None, None], times(t))[0, :, 0].T
    assert worst(printed, truth) > 0.3
    assert worst(ours, truth) < 1e-13


def test_equation_11_as_printed_destroys_the_clean_label_and_reveals_it_at_the_end():
    clean, last = ((1 - ab) * EYE + ab / K for ab in SCHEDULE.alpha_bar[[0, T]])
    assert worst(clean, EYE) == pytest.approx(1 - 1 / K) and worst(last, EYE) < 1e-4
    y0 = torch.arange(K)[None, None]
    assert torch.equal(CATEGORICAL.q_probs(y0, times(0))[0, :, 0], EYE)
    assert worst(CATEGORICAL.q_probs(y0, times(T))[0, :, 0].T, torch.full_like(EYE, 1 / K)) < 1e-4


@pytest.mark.parametrize("t, at_least", [(1, 0.4), (2, 0.3), (5, 0.05), (50, 1e-3), (90, 1e-3)])
def test_equation_12_as_printed_takes_the_second_bracket_at_the_wrong_time(t, at_least):
    y0, y_t = every_pair()
    ab = SCHEDULE.alpha_bar
    a = ab[t] / ab[t - 1]
    printed = (a * EYE[y_t] + (1 - a) / K) * (ab[t] * EYE[y0] + (1 - ab[t]) / K)
    printed = printed / printed.sum(1, keepdim=True)
    truth = brute.posterior(SCHEDULE, K, y0, y_t, t, t - 1)
    assert worst(printed, truth) > at_least
    assert worst(library_posterior(y0, y_t, t, t - 1), truth) < 1e-12


def test_equation_12_as_printed_does_not_end_in_the_clean_label():
    y0, y_t = every_pair()
    ab = SCHEDULE.alpha_bar[1]
    printed = (ab * EYE[y_t] + (1 - ab) / K) * (ab * EYE[y0] + (1 - ab) / K)
    assert worst(printed / printed.sum(1, keepdim=True), EYE[y0]) > 0.4
    assert torch.equal(library_posterior(y0, y_t, 1, 0), EYE[y0])


def test_accelerated_sampling_needs_the_jump_posterior_and_not_the_one_step_posterior():
    y0, y_t = every_pair()
    stepped, jumped = brute.transition(SCHEDULE, K, 60), brute.transition(SCHEDULE, K, 60)
    for t in range(60, 0, -10):  # the state is noised to 60 and taken down in strides of 10
        one_step, jump = (library_posterior(y0, y_t, t, s).view(K, K, K) for s in (t - 1, t - 10))
        stepped, jumped = (torch.einsum("cy,cys->cs", p, q) for p, q in ((stepped, one_step), (jumped, jump)))
        assert worst(jumped, brute.transition(SCHEDULE, K, t - 10)) < 1e-12
    assert worst(stepped, EYE) > 0.2 and worst(jumped, EYE) < 1e-12


@pytest.mark.parametrize("num_steps", [7, 20, 50])
def test_jumps_are_the_one_step_posteriors_of_a_chain_rebuilt_at_those_steps(num_steps):
    y0, y_t = every_pair()
    steps = SCHEDULE.steps(num_steps)[::-1]
    rebuilt = CategoricalDiffusion(K, NoiseSchedule(SCHEDULE.alpha_bar[steps]))
    for i in (1, num_steps // 2, num_steps):
        one_step = library_posterior(y0, y_t, i, i - 1, rebuilt)
        assert worst(library_posterior(y0, y_t, steps[i], steps[i - 1]), one_step) < 1e-13


def test_label_index_of_the_authors_repeats_12_and_skips_11_of_100_indices():
    continuous = torch.linspace(1, 0, 101)  # 100 jumps on a continuous clock in single precision
    index = (100 * continuous).floor().long().clamp(max=99).tolist()
    assert len(index) - len(set(index)) == 12
    assert len(set(range(100)) - set(index)) == 11


def test_our_100_steps_visit_every_index_of_100_exactly_once():
    assert NoiseSchedule.cosine(100).steps(100) == list(range(100, -1, -1))
    assert NoiseSchedule.cosine(1000).steps(100) == list(range(1000, -1, -10))


SCHEDULE_1000 = NoiseSchedule.cosine(1000)


def renoised_total(std, t, s):
    """Noise level after re-noising a state at s up to t with noise `std`, as a share of sqrt(1 - ab_t)."""
    ab_t, ab_s, a = (v.item() for v in SCHEDULE_1000.jump(times(t), times(s), torch.zeros(1)))
    return ((a * (1 - ab_s) + std(ab_t, ab_s) ** 2) / (1 - ab_t)) ** 0.5


def printed_std(ab_t, ab_s):
    return (1 - ab_t) ** 0.5 - (1 - ab_s) ** 0.5 * (ab_t / ab_s) ** 0.5


def right_std(ab_t, ab_s):
    return (1 - ab_t - (1 - ab_s) * ab_t / ab_s) ** 0.5


def test_repaint_renoising_std_of_the_authors_leaves_too_little_noise():
    jumps = list(zip(SCHEDULE_1000.steps(100), SCHEDULE_1000.steps(100)[1:]))
    inner = [renoised_total(printed_std, t, s) for t, s in jumps if 60 <= t <= 950]  # the ends are worse
    assert 0.83 < min(inner) < 0.86 and 0.965 < max(inner) < 0.975
    assert all(renoised_total(right_std, t, s) == pytest.approx(1, abs=1e-12) for t, s in jumps)


@pytest.mark.parametrize("t, s", [(10, 0), (60, 50), (500, 490), (1000, 990)])
def test_right_renoising_std_is_the_noise_of_the_forward_jump_of_the_schedule(t, s):
    ab_t, ab_s, a = (v.item() for v in SCHEDULE_1000.jump(times(t), times(s), torch.zeros(1)))
    assert right_std(ab_t, ab_s) == pytest.approx((1 - a) ** 0.5, rel=1e-9)


def reverse_moments(t, s):
    """Signal factor and noise variance of x_s when an x_t of the forward process takes a reverse jump."""
    gaussian = GaussianDiffusion(SCHEDULE)
    one, zero = torch.tensor([1.0, 0.0]).double().view(2, 1, 1, 1, 1)
    ab_t = SCHEDULE.alpha_bar[t]
    from_x0, variance = (v.item() for v in gaussian.q_posterior(one, zero, times(t), times(s)))
    from_xt = gaussian.q_posterior(zero, one, times(t), times(s))[0].item()
    return from_x0 + from_xt * ab_t.sqrt().item(), variance + from_xt**2 * (1 - ab_t).item()


@pytest.mark.parametrize("t", [2, 30, 90, T])
def test_section_4_6_as_printed_noises_the_known_image_to_another_level_than_the_state_it_joins(t):
    signal, variance = reverse_moments(t, t - 1)
    known = GaussianDiffusion(SCHEDULE)
    zero, one = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
    ours, printed = (known.q_sample(zero, times(s), one).item() ** 2 for s in (t - 1, t))
    assert ours == pytest.approx(variance, abs=1e-12)
    assert known.q_sample(one, times(t - 1), zero).item() == pytest.approx(signal, abs=1e-12)
    assert printed - variance > 1e-4


@pytest.mark.parametrize("t", [2, 30, 90])
def test_section_4_6_as_printed_noises_the_known_layout_to_another_level_than_the_state_it_joins(t):
    y0, y_t = every_pair()
    reverse = library_posterior(y0, y_t, t, t - 1).view(K, K, K)
    state = torch.einsum("cy,cys->cs", brute.transition(SCHEDULE, K, t), reverse)
    labels = torch.arange(K)[None, None]
    ours, printed = (CATEGORICAL.q_probs(labels, times(s))[0, :, 0].T for s in (t - 1, t))
    assert worst(ours, state) < 1e-13
    assert worst(printed, state) > 1e-4


def test_reversing_with_another_schedule_than_the_noising_one_misses_every_marginal():
    y0, y_t = every_pair()
    linear, t, s = NoiseSchedule.linear(T), 60, 40
    state = brute.transition(linear, K, t)
    for schedule, wrong in ((SCHEDULE, True), (linear, False)):
        reverse = library_posterior(y0, y_t, t, s, CategoricalDiffusion(K, schedule)).view(K, K, K)
        error = worst(torch.einsum("cy,cys->cs", state, reverse), brute.transition(linear, K, s))
        assert error > 0.05 if wrong else error < 1e-13
