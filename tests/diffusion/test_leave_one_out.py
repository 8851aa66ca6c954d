"""The plug-in step is exact for the leave-one-out distribution, at any stride, and the loss finds it.

A layout of a few pixels with an arbitrary coupling is enumerated: for every noised layout y_t the true
reverse distribution of each pixel, the posterior p(y_0^i | y_t) and the leave-one-out distribution
p(y_0^i | y_t without pixel i) are known. The coupling is drawn with the seed that each test names.
"""

import pytest
import torch
from worlds import brute_force as brute

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

K = 3
SCHEDULE = NoiseSchedule.cosine(1000)
STRIDES = [(500, 499), (500, 490), (500, 400), (500, 0), (1000, 500), (1000, 0), (10, 9), (1, 0)]


def layout_of(pixels, seed, schedule=SCHEDULE):
    return brute.EnumeratedLayout(schedule, K, pixels, brute.coupled_prior(K, pixels, seed))


def plug_in(p0, layout, t, s):
    """The library's step for every y_t at once, (C, K, 1, pixels)."""
    categorical, every = CategoricalDiffusion(K, layout.schedule), (len(p0),)
    return categorical.q_posterior(p0, layout.labels(), torch.full(every, t), torch.full(every, s))


def error(p0, layout, t, s):
    """Largest total variation to the true per-pixel reverse over every y_t and pixel."""
    truth = layout.per_pixel(layout.reverse(t, s))
    return brute.total_variation(plug_in(p0, layout, t, s).movedim(1, -1), truth.movedim(1, -1)).max().item()


def posterior_of_clean(layout, t):
    """p(y_0^i | y_t): what plain cross-entropy learns."""
    return layout.per_pixel(layout.reverse(t, 0))


@pytest.mark.parametrize("pixels, seed", [(1, 0), (2, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("t, s", STRIDES)
def test_plug_in_of_leave_one_out_is_the_true_per_pixel_reverse_at_any_stride(pixels, seed, t, s):
    layout = layout_of(pixels, seed)
    assert error(layout.leave_one_out(t), layout, t, s) < 1e-12


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("s, at_least", [(490, 0.005), (400, 0.05)], ids=["stride 10", "stride 100"])
def test_plug_in_of_the_plain_posterior_is_wrong_at_coarse_strides(seed, s, at_least):
    layout = layout_of(3, seed)
    assert error(posterior_of_clean(layout, 500), layout, 500, s) > at_least


def test_the_error_of_the_plain_posterior_grows_with_the_stride():
    layout = layout_of(3, seed=2)
    p0 = posterior_of_clean(layout, 500)
    errors = [error(p0, layout, 500, s) for s in (499, 490, 400, 0)]
    assert errors == sorted(errors) and errors[0] > 1e-4 and errors[-1] > 0.1


@pytest.mark.parametrize("pixels, seed", [(1, 0), (2, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("t, s", STRIDES)
def test_dividing_out_the_own_likelihood_repairs_the_plain_posterior(pixels, seed, t, s):
    layout = layout_of(pixels, seed)
    categorical, every = CategoricalDiffusion(K, SCHEDULE), torch.full((len(layout.configs),), t)
    repaired = categorical.leave_one_out(posterior_of_clean(layout, t), layout.labels(), every)
    torch.testing.assert_close(repaired, layout.leave_one_out(t), rtol=0, atol=1e-12)
    assert error(repaired, layout, t, s) < 1e-12


def test_leave_one_out_of_a_pixel_does_not_depend_on_its_own_noisy_label():
    layout = layout_of(3, seed=2)
    table = layout.leave_one_out(400)[:, :, 0].view(K, K, K, K, 3)  # y_t of three pixels, class, pixel
    for i in range(3):
        of_pixel = table[..., i].movedim(i, 0)
        torch.testing.assert_close(of_pixel, of_pixel[:1].expand_as(of_pixel), rtol=0, atol=1e-12)


def test_leave_one_out_of_a_lone_pixel_is_the_prior():
    layout = layout_of(1, seed=0)
    loo = layout.leave_one_out(300)[:, :, 0, 0]
    torch.testing.assert_close(loo, layout.prior.expand(K, K), rtol=0, atol=1e-14)


def every_pair(layout, t):
    """All (y0, y_t) as batches of layouts, the row of y_t in a table of logits, and p(y0, y_t)."""
    C = len(layout.configs)
    y0 = layout.labels().repeat_interleave(C, 0)
    row = torch.arange(C).repeat(C)
    weight = (layout.prior[:, None] * layout.jump(t)).flatten()
    return y0, layout.labels()[row], row, weight


def flat_table(layout):
    """A free table of logits, one (K, 1, pixels) for every y_t, to start from."""
    return torch.zeros(len(layout.configs), K, 1, layout.pixels, dtype=torch.float64)


def minimize(expected, logits):
    """L-BFGS on a free table of logits (C, K, 1, pixels); returns its probabilities in float64."""
    logits.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=300, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = expected(logits)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.detach().double().softmax(1)


@pytest.mark.parametrize("bound", ["step", "jump"])
@pytest.mark.parametrize("t", [1, 2, 4])
def test_the_minimizer_of_the_expected_loss_is_the_leave_one_out_distribution(bound, t):
    schedule = NoiseSchedule.cosine(5)
    layout = layout_of(2, seed=1, schedule=schedule)
    categorical = CategoricalDiffusion(K, schedule, bound)
    y0, y_t, row, weight = every_pair(layout, t)
    every = torch.full(row.shape, t)

    def expected(logits):
        return (weight * categorical.loss(logits[row], y0, y_t, every).double()).sum()

    learned = minimize(expected, flat_table(layout))  # the loss itself works in single precision
    truth, plain = layout.leave_one_out(t), posterior_of_clean(layout, t)
    assert brute.total_variation(learned.movedim(1, -1), truth.movedim(1, -1)).max() < 2e-3
    assert brute.total_variation(learned.movedim(1, -1), plain.movedim(1, -1)).max() > 0.05


@pytest.mark.parametrize("s", [0, 1, 2], ids=["jump to 0", "jump to 1", "one step"])
def test_the_minimizer_of_the_expected_kl_is_leave_one_out_for_any_jump(s):
    schedule, t = NoiseSchedule.cosine(5), 3
    layout = layout_of(2, seed=4, schedule=schedule)
    categorical = CategoricalDiffusion(K, schedule)
    y0, y_t, row, weight = every_pair(layout, t)

    def expected(logits):
        kl = categorical.kl(logits.log_softmax(1)[row], y0, y_t, torch.tensor([t]), torch.tensor([s]))
        return (weight * kl.sum((1, 2))).sum()

    learned = minimize(expected, flat_table(layout))
    truth = layout.leave_one_out(t)
    assert brute.total_variation(learned.movedim(1, -1), truth.movedim(1, -1)).max() < 1e-6


def test_the_minimizer_of_plain_cross_entropy_is_the_posterior_and_not_leave_one_out():
    schedule, t = NoiseSchedule.cosine(5), 3
    layout = layout_of(2, seed=4, schedule=schedule)
    y0, _, row, weight = every_pair(layout, t)

    def expected(logits):
        log_p0 = logits.log_softmax(1)[row]
        return -(weight * log_p0.gather(1, y0[:, None]).sum((1, 2, 3))).sum()

    learned = minimize(expected, flat_table(layout)).movedim(1, -1)
    plain, loo = (p.movedim(1, -1) for p in (posterior_of_clean(layout, t), layout.leave_one_out(t)))
    assert brute.total_variation(learned, plain).max() < 1e-6
    assert brute.total_variation(learned, loo).max() > 0.05
