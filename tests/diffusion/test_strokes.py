"""Strokes on a process whose answers are known: which times look at them, how often the network is called, gradients.

Random numbers state their seeds.
"""

from functools import partial

import pytest
import torch
from worlds.tiny import NETWORK, awake
from worlds.two_pixels import PROCESS, K, T, noise_of, settings

from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.diffusion.outpainting import Known
from gcdp.diffusion.paths import Times
from gcdp.diffusion.sampling import ReverseSettings, Walker
from gcdp.diffusion.strokes import (
    estimate_loss,
    free_time,
    gradop,
    gradop_network,
    gradop_plus,
    ilvr,
    injection_times,
    loopback,
    sdedit,
)
from gcdp.errors import ConfigError
from gcdp.generators.painting import descend
from gcdp.network.unet import UNet

SIZE, COUNT = (8, 8), 4
IMAGE_ONLY = GaussianCategoricalDiffusion(PROCESS.gaussian, None)
DOWN = {"loss": lambda x: (x - 0.5).square().mean((1, 2, 3)), "descend": None}


def strokes(mask=None):
    """Strokes of color 0.5, everywhere by default."""
    mask = torch.ones(COUNT, *SIZE, dtype=torch.bool) if mask is None else mask
    return Known(image=torch.full((COUNT, 3, *SIZE), 0.5), image_mask=mask)


def walker(process=IMAGE_ONLY, steps=10, answer=-0.5, calls=None):
    """A network that sees one clean image in every state, of color `answer`, and class 1 everywhere."""

    def denoise(x, y, *levels):
        if calls is not None:
            calls.append((x, y))
        logits = None if y is None else 20.0 * torch.nn.functional.one_hot(torch.ones_like(y), K).movedim(-1, 1)
        return torch.full_like(x, answer), logits

    return Walker(process, settings(steps), denoise, noise_of(COUNT))


def test_the_free_time_is_the_nearest_visited_one():
    assert [free_time(walker(), strength) for strength in (0.001, 0.34, 0.5, 1.0)] == [T // 10, 3 * T // 10, T // 2, T]


@pytest.mark.parametrize("strength", [0, -0.1, 1.01, "half", float("nan")])
def test_strengths_out_of_range_are_refused(strength):
    with pytest.raises(ConfigError, match="strength must lie above 0 and at most at 1"):
        sdedit(walker(), strokes(), strength)


def test_injections_are_spread_from_nine_tenths_to_the_free_time():
    tenth = T // 10
    assert injection_times(walker(), 3 * tenth, 3) == [9 * tenth, 6 * tenth, 3 * tenth]
    assert injection_times(walker(), 3 * tenth, 1) == [3 * tenth]
    assert injection_times(walker(), T, 3) == [T]  # there is nothing before


def test_sdedit_of_an_image_that_is_painted_everywhere_begins_at_its_strength():
    calls = []
    sdedit(walker(calls=calls), strokes(), 0.5)
    assert len(calls) == 5
    left = torch.zeros(COUNT, *SIZE, dtype=torch.bool)
    left[..., :4] = True
    calls.clear()
    sdedit(walker(calls=calls), strokes(left), 0.5)
    assert len(calls) == 10


def test_what_sdedit_shows_the_network_holds_the_strokes_until_it_is_free():
    calls = []
    mask = torch.zeros(COUNT, *SIZE, dtype=torch.bool)
    mask[:, :4] = True
    sdedit(walker(PROCESS, calls=calls), strokes(mask), 0.5)
    schedule = PROCESS.gaussian.schedule
    for (x, _), t in zip(calls, schedule.steps(10), strict=False):
        residual = (x[:, :, :4].double() - schedule.alpha_bar[t].sqrt() * 0.5) / (1 - schedule.alpha_bar[t]).sqrt()
        painted = abs(float(residual.mean())) < 0.15 and abs(float(residual.std()) - 1) < 0.1
        assert painted == (t >= T // 2), t


def test_a_joint_model_draws_its_layout_along_in_every_method():
    for method in (
        sdedit,
        loopback,
        partial(ilvr, low_pass=lambda x: x),
        partial(gradop, **DOWN | {"descend": descend}),
    ):
        x, y = method(walker(PROCESS), strokes(), 0.5)
        assert x.shape == (COUNT, 3, *SIZE) and y.unique().tolist() == [1]


def test_loopback_of_one_round_is_sdedit_and_every_further_round_costs_a_run():
    calls = []
    once, again = loopback(walker(calls=calls), strokes(), 0.5, rounds=1), sdedit(walker(), strokes(), 0.5)
    assert torch.equal(once.x, again.x) and len(calls) == 5
    loopback(walker(calls=calls), strokes(), 0.5, rounds=3)
    assert len(calls) == 5 + 15


def test_ilvr_with_all_frequencies_shows_the_noised_strokes():
    calls = []
    ilvr(walker(calls=calls), strokes(), 0.5, lambda x: x)
    schedule = PROCESS.gaussian.schedule
    for (x, _), t in zip(calls[:6], schedule.steps(10), strict=False):
        residual = (x.double() - schedule.alpha_bar[t].sqrt() * 0.5) / (1 - schedule.alpha_bar[t]).sqrt()
        assert abs(float(residual.mean())) < 0.15 and abs(float(residual.std()) - 1) < 0.1


def test_gradop_descends_from_a_picture_of_the_text_with_a_penalty_for_leaving_it():
    seen = []

    def look(z, loss):
        seen.extend([z, loss(z), loss(z + 0.3)])
        return z

    calls = []
    gradop(walker(calls=calls), strokes(), 0.5, DOWN["loss"], look, penalty=2.0)
    start, here, away = seen
    assert len(calls) == 10 + 5 and torch.all(start == -0.5)  # what this network draws of any text
    torch.testing.assert_close(here, DOWN["loss"](start))
    torch.testing.assert_close(away, DOWN["loss"](start + 0.3) + 2.0 * 0.3**2)


def test_gradop_plus_takes_one_run_and_descends_at_its_injections():
    calls, seen = [], []

    def look(z, loss):
        seen.append((len(calls), loss(z)))
        return z

    gradop_plus(walker(calls=calls), strokes(), 0.3, DOWN["loss"], look)
    assert len(calls) == 10 and [at for at, _ in seen] == [2, 5, 8]  # the network was asked at 0.9, 0.6 and 0.3 T
    torch.testing.assert_close(seen[0][1], DOWN["loss"](torch.full((COUNT, 3, *SIZE), -0.5)))


def test_the_state_after_an_injection_is_the_moved_estimate_at_the_noise_of_the_next_time():
    calls = []
    painted = lambda z, loss: torch.full_like(z, 0.5)  # noqa: E731
    gradop_plus(walker(calls=calls), strokes(), 0.5, DOWN["loss"], painted, injections=1)
    schedule, then = PROCESS.gaussian.schedule, T // 2 - T // 10
    residual = (calls[6][0].double() - schedule.alpha_bar[then].sqrt() * 0.5) / (1 - schedule.alpha_bar[then]).sqrt()
    assert abs(float(residual.mean())) < 0.11 and abs(float(residual.std()) - 1) < 0.08  # three standard errors


def test_gradients_through_the_network_are_those_of_finite_differences():
    """A tiny network in float64, one state, central differences; weights of seed 0."""
    torch.manual_seed(0)
    network = awake(UNet(NETWORK)).double().eval()
    process = GaussianCategoricalDiffusion.from_config(DiffusionConfig(T=50, prediction="v"), NETWORK.num_classes)
    tokens, mask = torch.randn(2, 4, NETWORK.text_width, dtype=torch.float64), torch.ones(2, 4, dtype=torch.bool)
    text = network.encode_text(tokens, mask)

    def denoise(x, y, *levels):
        output = network(x, y, *(level.double() for level in levels), text)
        return output.image, output.layout

    x, y = torch.randn(2, 3, 8, 16, dtype=torch.float64) / 2, torch.randint(5, (2, 8, 16))
    run = Walker(process, ReverseSettings(5, threshold=0.0), denoise, noise_of(2))
    loss = estimate_loss(run, lambda x0: (x0 - 0.1).square().mean((1, 2, 3)), y, Times(30, 30))
    state = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(state).sum(), state)
    for place in [(0, 0, 0, 0), (0, 2, 5, 7), (1, 1, 7, 15)]:
        step = torch.zeros_like(x)
        step[place] = 1e-5
        with torch.no_grad():
            slope = (loss(x + step) - loss(x - step)).sum() / 2e-5
        assert float(gradient[place]) == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


def test_descent_through_the_network_moves_the_state_and_costs_calls():
    """The clean image that this network sees moves with the state."""
    calls = []

    def denoise(x, y, *levels):
        calls.append(x)
        return x.tanh(), None

    process = GaussianCategoricalDiffusion.from_config(DiffusionConfig(T=T, prediction="x0"), K, layout=False)
    run = Walker(process, settings(10), denoise, noise_of(COUNT))
    near = gradop_network(run, strokes(), 0.2, DOWN["loss"], partial(descend, steps=5), injections=2).x
    assert len(calls) == 10 + 2 * 5 * 2  # each step of the descent: forward, and forward again for the gradient
    far = gradop_network(run, strokes(), 1.0, DOWN["loss"], partial(descend, steps=1, rate=1e-9), injections=1).x
    assert DOWN["loss"](near).mean() < DOWN["loss"](far).mean()
