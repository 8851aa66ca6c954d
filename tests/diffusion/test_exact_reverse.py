"""Sampling with exact predictors gives back the exact joint distribution of image and layout.

The world has two pixels: the layout has a coupled prior over its 9 configurations, and the image is a
Gaussian around a mean that depends on the whole layout. So p(x_0, y_0 | x_t, y_t) is known in closed form at
any pair of times, by enumerating the configurations. Every draw comes from a generator with a stated seed.
"""

import pytest
import torch
from scipy.stats import chisquare, kstest
from worlds import brute_force as brute

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

K, PIXELS, T, N = 3, 2, 1000, 5000
SCHEDULE = NoiseSchedule.cosine(T)
ALARM = 1e-3  # p-value below which a test fails


class World:
    """p(y_0) = prior over configurations; x_0 | y_0 ~ N(means[y_0], spread^2), x_0 (B, 1, 1, 2)."""

    spread = 0.15

    def __init__(self, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.layout = brute.EnumeratedLayout(SCHEDULE, K, PIXELS, brute.coupled_prior(K, PIXELS, seed))
        self.means = 1.6 * torch.rand(K**PIXELS, 1, 1, PIXELS, generator=g, dtype=torch.float64) - 0.8
        self.diffusion = GaussianCategoricalDiffusion(GaussianDiffusion(SCHEDULE), CategoricalDiffusion(K, SCHEDULE))

    def weights(self, x_t, y_t, t_x, t_y):
        """p(configuration | x_t, y_t), (B, C)."""
        ab = SCHEDULE.alpha_bar[t_x]
        variance = ab * self.spread**2 + 1 - ab
        distance = (x_t[:, None] - ab.sqrt() * self.means).square().sum((2, 3, 4))
        return (self.log_prior(y_t, t_y) - distance / (2 * variance)).softmax(1)

    def log_prior(self, y_t, t_y):
        """log p(configuration, y_t), (B, C)."""
        column = (y_t[:, 0] * K ** torch.arange(PIXELS - 1, -1, -1)).sum(1)
        return self.layout.prior.log() + self.layout.jump(t_y).T[column].log()

    def clean_image(self, x_t, t_x):
        """Mean (B, C, 1, 1, 2) and variance of x_0 given x_t and each configuration."""
        ab = SCHEDULE.alpha_bar[t_x]
        variance = ab * self.spread**2 + 1 - ab
        gain = ab.sqrt() * self.spread**2 / variance
        mean = self.means + gain * (x_t[:, None] - ab.sqrt() * self.means)
        return mean, self.spread**2 * (1 - ab) / variance

    def draw_clean(self, x_t, y_t, t_x, t_y, g):
        """A draw from p(x_0, y_0 | x_t, y_t), the layout as one-hot probabilities."""
        config = torch.multinomial(self.weights(x_t, y_t, t_x, t_y), 1, generator=g)[:, 0]
        mean, variance = self.clean_image(x_t, t_x)
        x0 = mean[torch.arange(len(x_t)), config] + variance.sqrt() * noise_like(x_t, g)
        return x0, self.layout.per_pixel(torch.eye(K**PIXELS, dtype=torch.float64))[config]

    def predict(self, x_t, y_t, t_x, t_y, g):
        """What a perfect network outputs: E[x_0 | x_t, y_t] and p(y_0^i | x_t, y_t without pixel i)."""
        weights = self.weights(x_t, y_t, t_x, t_y)
        x0 = (weights[..., None, None, None] * self.clean_image(x_t, t_x)[0]).sum(1)
        t = torch.tensor([t_y])
        return x0, self.diffusion.categorical.leave_one_out(self.layout.per_pixel(weights), y_t, t)

    def sample(self, clean, num_steps, seed, known_x=None, known_y=None):
        """Ancestral loop over steps(num_steps); a known half stays clean at time 0."""
        g, every = torch.Generator().manual_seed(seed), (N,)
        x = torch.randn(N, 1, 1, PIXELS, generator=g).double() if known_x is None else known_x
        y = torch.randint(K, (N, 1, PIXELS), generator=g) if known_y is None else known_y
        steps = SCHEDULE.steps(num_steps)
        for t, s in zip(steps, steps[1:]):
            x0, p0 = clean(x, y, t if known_x is None else 0, t if known_y is None else 0, g)
            jump = torch.full(every, t), torch.full(every, s)
            if known_x is None:
                mean, variance = self.diffusion.gaussian.q_posterior(x0, x, *jump)
                x = mean + variance.sqrt() * noise_like(x, g)
            if known_y is None:
                y = draw_labels(self.diffusion.categorical.q_posterior(p0, y, *jump), g)
        return x, y


def noise_like(x, g):
    return torch.randn(x.shape, generator=g, dtype=x.dtype)


def draw_labels(probs, g):
    """Independent draws a pixel from (B, K, 1, P): (B, 1, P)."""
    flat = probs.movedim(1, -1).reshape(-1, K)
    return torch.multinomial(flat, 1, generator=g).view(len(probs), 1, -1)


def config_of(y):
    return y[:, 0, 0] * K + y[:, 0, 1]


def p_of_layouts(world, y, prior=None):
    """Chi-square p-values: joint configurations, then each pixel's marginal."""
    prior = world.layout.prior if prior is None else prior
    joint = chisquare(torch.bincount(config_of(y), minlength=K**PIXELS), prior * len(y)).pvalue
    marginals = world.layout.per_pixel(prior[None])[0, :, 0]
    counts = [torch.bincount(y[:, 0, i], minlength=K) for i in range(PIXELS)]
    return joint, *(chisquare(count, marginals[:, i] * len(y)).pvalue for i, count in enumerate(counts))


def p_of_images(world, x, y):
    """Kolmogorov-Smirnov p-value of x given y: standardized residuals against the standard normal."""
    return kstest(((x - world.means[config_of(y)]) / world.spread).flatten().numpy(), "norm").pvalue


@pytest.mark.parametrize("num_steps", [1, 2, 10, 50])
def test_jumps_from_exact_draws_of_the_clean_pair_are_exact_at_any_number_of_steps(num_steps):
    world = World()
    x, y = world.sample(world.draw_clean, num_steps, seed=num_steps)
    assert min(p_of_layouts(world, y)) > ALARM
    assert p_of_images(world, x, y) > ALARM


def test_perfect_network_outputs_give_the_joint_distribution_with_many_steps():
    world = World()
    x, y = world.sample(world.predict, 250, seed=0)
    assert min(p_of_layouts(world, y)) > ALARM
    residual = x - world.means[config_of(y)]
    assert residual.mean((0, 1, 2)).abs().max() < 4 * world.spread / N**0.5
    # the posterior variance around a predicted mean is a little small for every finite number of steps
    assert ((residual.std((0, 1, 2)) / world.spread - 1).abs() < 0.07).all()


def test_few_steps_with_perfect_network_outputs_are_seen_to_be_wrong():
    world = World()
    x, y = world.sample(world.predict, 5, seed=0)
    assert p_of_layouts(world, y)[0] < 1e-10  # pixels drawn apart within a step lose their coupling
    assert p_of_images(world, x, y) < 1e-10  # so does an image drawn around one mean instead of nine


@pytest.mark.parametrize("num_steps", [1, 20])
def test_with_a_clean_layout_at_time_zero_the_image_follows_its_layout(num_steps):
    world, g = World(), torch.Generator().manual_seed(10)
    config = torch.multinomial(world.layout.prior, N, replacement=True, generator=g)
    known = world.layout.labels()[config]
    x, y = world.sample(world.draw_clean, num_steps, seed=num_steps, known_y=known)
    assert torch.equal(y, known) and p_of_images(world, x, y) > ALARM


def image_and_posterior(world, config, g):
    """One drawn image of a configuration repeated N times, and p(y_0 | x_0) by Bayes' rule."""
    x0 = world.means[config] + world.spread * torch.randn(1, 1, PIXELS, generator=g, dtype=torch.float64)
    distance = (x0 - world.means).square().sum((1, 2, 3))
    return x0.expand(N, -1, -1, -1), (world.layout.prior.log() - distance / (2 * world.spread**2)).softmax(0)


@pytest.mark.parametrize("clean, num_steps", [("draw_clean", 1), ("draw_clean", 20), ("predict", 250)])
def test_with_a_clean_image_at_time_zero_the_layout_follows_the_posterior_given_the_image(clean, num_steps):
    world = World()
    known, truth = image_and_posterior(world, 3, torch.Generator().manual_seed(11))
    x, y = world.sample(getattr(world, clean), num_steps, seed=num_steps, known_x=known)
    assert torch.equal(x, known) and truth.max() < 0.9
    likely = truth * N >= 5  # the chi-square statistic wants filled cells: the others are pooled
    counts = torch.bincount(config_of(y), minlength=K**PIXELS).double()
    pooled = [torch.cat([v[likely], v[~likely].sum()[None]]) for v in (counts, truth * N)]
    assert chisquare(*pooled).pvalue > ALARM


def factorized_chain(layout, num_steps, clean=None):
    """Exact distribution (C,) of layouts sampled pixel by pixel in every step, from p(y_T) down to y_0."""
    categorical, every = CategoricalDiffusion(layout.K, SCHEDULE), (len(layout.configs),)
    steps, distribution = SCHEDULE.steps(num_steps), layout.marginal(T)
    for t, s in zip(steps, steps[1:]):
        p0 = (clean or layout.leave_one_out)(t)
        probs = categorical.q_posterior(p0, layout.labels(), torch.full(every, t), torch.full(every, s))
        distribution = distribution @ layout.product(probs)
    return distribution


@pytest.mark.parametrize("num_steps", [1, 3, 20, 100])
def test_a_layout_of_one_pixel_is_exact_at_any_number_of_steps(num_steps):
    layout = brute.EnumeratedLayout(SCHEDULE, K, 1, brute.coupled_prior(K, 1, seed=1))
    torch.testing.assert_close(factorized_chain(layout, num_steps), layout.prior, rtol=0, atol=1e-12)


def test_a_layout_of_one_pixel_is_wrong_with_the_plain_posterior_in_place_of_leave_one_out():
    layout = brute.EnumeratedLayout(SCHEDULE, K, 1, brute.coupled_prior(K, 1, seed=1))
    chain = factorized_chain(layout, 20, clean=lambda t: layout.per_pixel(layout.reverse(t, 0)))
    assert brute.total_variation(chain, layout.prior) > 0.02


@pytest.mark.parametrize("pixels, seed", [(2, 0), (3, 2)])
def test_the_error_of_independent_pixels_shrinks_with_the_number_of_steps(pixels, seed):
    layout = brute.EnumeratedLayout(SCHEDULE, K, pixels, brute.coupled_prior(K, pixels, seed))
    chains = (factorized_chain(layout, num_steps) for num_steps in (1, 4, 16, 64, 256))
    errors = [brute.total_variation(chain, layout.prior).item() for chain in chains]
    assert all(fine < coarse / 2 for coarse, fine in zip(errors, errors[1:]))
    assert errors[0] > 0.1 and errors[-1] < 0.003
    assert errors[-2] / errors[-1] == pytest.approx(4, rel=0.1)  # four times the steps, a quarter of it
