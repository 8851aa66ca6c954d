"""The reverse loop: exact predictors give exact samples, known halves stay, settings mean what they say."""

import pytest
import torch
from scipy.stats import chisquare, kstest
from worlds.two_pixels import (
    ALARM,
    PIXELS,
    PROCESS,
    SCHEDULE,
    K,
    T,
    World,
    config_of,
    noise_of,
    p_of_layouts,
    record,
    settings,
)

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import (
    Guidance,
    Noise,
    ReverseProcess,
    ReverseSettings,
    draw_labels,
    dynamic_threshold,
    sample_seeds,
)
from gcdp.errors import ConfigError


@pytest.mark.parametrize("num_steps, prediction", [(1, "x0"), (2, "v"), (10, "v"), (10, "eps")])
def test_with_exact_predictions_pairs_follow_the_known_distribution_at_any_stride(num_steps, prediction):
    world = World(prediction=prediction)
    x, y = world.run(num_steps)
    counts = torch.bincount(config_of(y), minlength=K**PIXELS)
    assert p_of_layouts(counts, world.layout.prior * len(y)) > ALARM
    residual = (x.double() - world.means[config_of(y)]) / world.spread
    assert kstest(residual.flatten().numpy(), "norm").pvalue > ALARM


def test_given_a_clean_image_the_layout_follows_its_posterior():
    world = World(spread=0.7)  # wide enough that one image leaves several layouts open
    x0 = world.means.mean(0)
    distance = (x0 - world.means).square().sum((1, 2, 3)) / (2 * world.spread**2)
    posterior = (world.layout.prior.log() - distance).softmax(0)
    known = x0.float().expand(4000, -1, -1, -1)
    x, y = world.run(5, image=known)
    assert torch.equal(x, known) and posterior.max() < 0.9
    assert p_of_layouts(torch.bincount(config_of(y), minlength=K**PIXELS), posterior * len(y)) > ALARM


def test_given_a_clean_layout_the_image_follows_it():
    world = World()
    config = torch.multinomial(world.layout.prior, 1000, replacement=True, generator=world.draws)
    known = world.layout.labels()[config]
    x, y = world.run(5, count=1000, layout=known)
    assert torch.equal(y, known)
    assert kstest(((x.double() - world.means[config]) / world.spread).flatten().numpy(), "norm").pvalue > ALARM


@pytest.mark.parametrize("num_steps", [1, 4, 25])
def test_a_layout_of_one_pixel_is_exact_with_leave_one_out_predictions(num_steps):
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    alone = GaussianCategoricalDiffusion(None, CategoricalDiffusion(K, SCHEDULE))

    def predict(x, y, log_snr_x, log_snr_y):
        assert x is None
        return None, prior.log().float().view(1, K, 1, 1).expand(len(y), -1, -1, -1)

    x, y = ReverseProcess(alone, settings(num_steps)).run(predict, (1, 1), noise_of(4000))
    assert x is None
    assert chisquare(torch.bincount(y.flatten(), minlength=K), prior * 4000).pvalue > ALARM


@pytest.mark.parametrize("num_steps", [1, 7, T])
def test_the_network_is_told_the_times_of_the_schedule_and_the_loop_ends_at_zero(num_steps):
    seen = []
    *_, calls = record(num_steps, on_step=lambda s, x, y: seen.append(s))
    times = SCHEDULE.steps(num_steps)
    assert seen == times[1:] and seen[-1] == 0
    assert [call.t_x for call in calls] == [call.t_y for call in calls] == times[:-1]


def test_known_halves_stay_untouched_and_are_told_as_clean():
    layout = torch.randint(K, (3, 4, 4), generator=torch.Generator().manual_seed(0))
    x, y, calls = record(5, layout=layout)
    assert torch.equal(y, layout) and all(torch.equal(call.y, layout) for call in calls)
    assert {call.t_y for call in calls} == {0} and calls[0].t_x == T
    image = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    x, y, calls = record(5, image=image)
    assert torch.equal(x, image) and all(torch.equal(call.x, image) for call in calls)
    assert {call.t_x for call in calls} == {0} and calls[0].t_y == T


def test_one_step_with_eta_one_is_a_draw_from_the_posterior_of_the_prediction():
    states = {}
    settings_ = settings(2, threshold=0.0)
    *_, calls = record(2, settings_=settings_, on_step=lambda s, x, y: states.setdefault(s, x))
    x0 = (0.5 * calls[0].x.tanh()).clamp(-1, 1)
    t, s = torch.full((3,), T), torch.full((3,), T // 2)
    mean, variance = PROCESS.gaussian.q_posterior(x0, calls[0].x, t, s)
    noise = noise_of(3)
    noise.normal(3, 4, 4), noise.uniform(4, 4)  # x_T and y_T
    assert torch.equal(states[T // 2], mean + variance.sqrt() * noise.normal(3, 4, 4))


def test_ddim_is_a_function_of_the_starting_noise_and_ancestral_sampling_is_not():
    image_only = GaussianCategoricalDiffusion(PROCESS.gaussian, None)

    class OtherNoiseLater(Noise):
        def normal(self, *shape):
            first, self.generators = self.generators, Noise([9, 8, 7], self.device).generators
            return torch.stack([torch.randn(shape, generator=g) for g in first])

    def ends(eta):
        reverse = ReverseProcess(image_only, settings(6, eta=eta))
        predict = lambda x, y, *levels: (0.5 * x.tanh(), None)  # noqa: E731
        kinds = (Noise, OtherNoiseLater)
        return [reverse.run(predict, (4, 4), kind([1, 2, 3], torch.device("cpu")))[0] for kind in kinds]

    one, other = ends(eta=0.0)
    assert torch.equal(one, other)
    one, other = ends(eta=1.0)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_any_eta_keeps_the_noise_level_of_the_state_it_reaches(eta):
    # with the true x_0 as prediction, x_s is a draw from q(x_s | x_0) whatever eta
    image_only = GaussianCategoricalDiffusion(PROCESS.gaussian, None)
    x0, states = torch.full((64, 3, 8, 8), 0.3), {}
    reverse = ReverseProcess(image_only, settings(4, eta=eta))
    reverse.run(lambda x, y, *levels: (x0, None), (8, 8), noise_of(64), on_step=lambda s, x, y: states.setdefault(s, x))
    for s in (750, 500, 250):
        ab = SCHEDULE.alpha_bar[s]
        residual = (states[s] - ab.sqrt() * x0) / (1 - ab).sqrt()
        assert kstest(residual.flatten().numpy(), "norm").pvalue > ALARM
    assert torch.equal(states[0], x0)


def test_the_last_labels_are_the_mode_a_draw_or_the_estimate_of_the_network():
    probs = torch.tensor([0.2, 0.5, 0.3])
    alone = GaussianCategoricalDiffusion(None, CategoricalDiffusion(K, SCHEDULE))
    predict = lambda x, y, *levels: (None, probs.log().view(1, K, 1, 1).expand(len(y), -1, 8, 8))  # noqa: E731
    drawn = {
        final: ReverseProcess(alone, settings(1, final=final)).run(predict, (8, 8), noise_of(8))[1]
        for final in ("mode", "sample")
    }
    earlier = []
    reverse = ReverseProcess(alone, settings(2, final="mode"))
    reverse.run(predict, (8, 8), noise_of(8), on_step=lambda s, x, y: earlier.append(set(y.flatten().tolist())))
    assert earlier[0] == {0, 1, 2}  # only the last jump takes the mode
    assert set(drawn["mode"].flatten().tolist()) == {1}
    assert set(drawn["sample"].flatten().tolist()) == {0, 1, 2}
    # by Bayes' rule a label at t = 500 is four times as likely to be the clean one as before: 0.2 becomes the mode
    kept, estimated = (
        ReverseProcess(alone, settings(2, final=final)).run(predict, (8, 8), noise_of(8))[1]
        for final in ("mode", "estimate")
    )
    assert set(kept.flatten().tolist()) == {0, 1, 2} and set(estimated.flatten().tolist()) == {1}


def test_labels_are_drawn_with_their_probabilities():
    probs = torch.tensor([0.05, 0.0, 0.45, 0.3, 0.2], dtype=torch.float64)
    uniform = noise_of(1).uniform(100, 200)
    labels = draw_labels(probs.view(1, 5, 1, 1).expand(1, 5, 100, 200), uniform)
    counts = torch.bincount(labels.flatten(), minlength=5)
    assert counts[1] == 0 and chisquare(counts[probs > 0], probs[probs > 0] * 20000).pvalue > ALARM


@pytest.mark.parametrize("uniform, label", [(0.0, 1), (0.2499, 1), (0.25, 3), (0.9999999, 3)])
def test_a_draw_at_the_ends_never_falls_on_an_impossible_label(uniform, label):
    probs = torch.tensor([0.0, 0.5, 0.0, 1.5, 0.0]).view(1, 5, 1, 1)  # need not sum to one
    assert draw_labels(probs, torch.full((1, 1, 1), uniform)).item() == label


def test_thresholding_rescales_by_the_quantile_but_never_enlarges():
    x0 = torch.linspace(-4, 4, 101).view(1, 1, 1, 101).repeat(2, 3, 1, 1)
    x0[1] *= 0.1
    once = dynamic_threshold(x0, 0.5)
    assert torch.allclose(once[0], (x0[0] / 2).clamp(-1, 1), atol=0.02)  # the median size of the first is 2
    assert torch.equal(once[1], x0[1])  # the second stays within [-1, 1]: untouched
    assert torch.equal(dynamic_threshold(x0, 1.0)[0], x0[0] / 4)


def test_seeds_of_a_call_are_distinct_and_prefixes_of_longer_calls():
    assert sample_seeds(3, 5) == sample_seeds(3, 50)[:5]
    assert len({*sample_seeds(3, 50), *sample_seeds(4, 50)}) == 100
    with pytest.raises(ConfigError, match="negative"):
        sample_seeds(-1, 2)


def test_guidance_is_one_scale_or_two_and_mixes_linearly():
    assert Guidance.of(2) == Guidance(2.0, 2.0) and Guidance.of([3, 1]) == Guidance(3.0, 1.0)
    assert not Guidance().needs_null() and Guidance(1.0, 0.0).needs_null()
    null, told = torch.randn(2, 4, 4)
    assert torch.equal(Guidance().mix(1.0, null, told), told) and torch.equal(Guidance().mix(0.0, null, told), null)
    torch.testing.assert_close(Guidance().mix(3.0, null, told), null + 3 * (told - null))


@pytest.mark.parametrize("value", [-1, (1, -0.5), float("nan"), float("inf"), (1, 2, 3), (1,), "3", None, ("a", 1)])
def test_bad_guidance_is_refused(value):
    with pytest.raises(ConfigError, match="guidance must be"):
        Guidance.of(value)


@pytest.mark.parametrize(
    "changed", [{"eta": 2.0}, {"threshold": -0.1}, {"final": "best"}, {"num_steps": 2.5}, {"eta": float("nan")}]
)
def test_bad_settings_are_refused(changed):
    with pytest.raises(ConfigError):
        ReverseSettings(**changed)


@pytest.mark.parametrize("num_steps", [0, -3, T + 1])
def test_a_number_of_steps_outside_the_schedule_is_refused(num_steps):
    with pytest.raises(ConfigError, match="num_steps"):
        record(num_steps)
