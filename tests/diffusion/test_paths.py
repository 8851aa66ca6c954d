"""Paths through the square of times: the family between its edges, and runs along any of them. All seeds stated."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import kstest
from worlds.two_pixels import ALARM, PROCESS, SCHEDULE, K, T, World, config_of, noise_of, p_of_layouts, record, settings

from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.paths import Times, along, checked, find_path, led
from gcdp.diffusion.sampling import ReverseProcess, ReverseSettings
from gcdp.errors import ConfigError

PROPERTY = hypothesis_settings(max_examples=50, deadline=None, derandomize=True, database=None)


@PROPERTY
@given(st.integers(1, 200), st.floats(-1, 1))
def test_members_of_the_family_are_paths_of_equal_calls(num_steps, lead):
    path = led(T, num_steps, lead)
    assert len(path) == num_steps + 1 and path[0] == (T, T) and path[-1] == (0, 0)
    assert checked(path, T) == path
    mirrored = [Times(t.y, t.x) for t in led(T, num_steps, -lead)]
    assert mirrored == path
    ahead = [t.y <= t.x for t in path] if lead >= 0 else [t.x <= t.y for t in path]
    assert all(ahead)


@pytest.mark.parametrize("num_steps", [1, 7, 25, 50, 999, T])
def test_lead_zero_is_the_diagonal_that_sampling_takes_by_default(num_steps):
    diagonal = along(SCHEDULE.steps(num_steps))
    assert led(T, num_steps, 0) == led(T, num_steps, 0.0) == diagonal == find_path("diagonal", SCHEDULE, num_steps)
    assert [call.t_x for call in record(num_steps)[2]] == [t.x for t in diagonal[:-1]]


def test_the_ends_of_the_family_are_the_edges_of_the_square():
    path = find_path("layout_first", SCHEDULE, 10)
    assert path == [*along(SCHEDULE.steps(5), x=T), *along(SCHEDULE.steps(5), y=0)[1:]]
    path = find_path("image_first", SCHEDULE, 10)
    assert path == [*along(SCHEDULE.steps(5), y=T), *along(SCHEDULE.steps(5), x=0)[1:]]
    assert find_path(-1, SCHEDULE, 10) == path
    half = led(T, 12, 0.5)  # each half falls in 8 of 12 jumps, 4 of them shared
    assert sum(now.y > then.y for now, then in pairwise(half)) == 8
    assert sum(now.x > then.x for now, then in pairwise(half)) == 8


@pytest.mark.parametrize("lead", [1.0, 0.4, -0.7, -1.0])
def test_with_exact_predictions_every_path_ends_at_the_known_distribution(lead):
    world = World()
    process = GaussianCategoricalDiffusion(world.gaussian, PROCESS.categorical)
    reverse = ReverseProcess(process, settings(8))
    x, y = reverse.run(world.draw_clean, (1, 2), noise_of(4000, 8), path=led(T, 8, lead))
    assert p_of_layouts(torch.bincount(config_of(y), minlength=K**2), world.layout.prior * len(y)) > ALARM
    assert kstest(((x.double() - world.means[config_of(y)]) / world.spread).flatten().numpy(), "norm").pvalue > ALARM


def states_along(path, **changed):
    seen = []
    *pair, calls = record(
        5, path=path, on_step=lambda s, x, y: seen.append((s, x, y)), settings_=ReverseSettings(5, **changed)
    )
    return pair, calls, seen


@pytest.mark.parametrize("changed", [{}, {"eta": 0.0, "order": 2}])
def test_a_jump_changes_only_the_half_whose_time_falls(changed):
    path = [Times(T, T), Times(T, 400), Times(600, 400), Times(600, 0), Times(300, 0), Times(0, 0)]
    (x, y), calls, seen = states_along(path, **changed)
    assert [(call.t_x, call.t_y) for call in calls] == path[:-1]
    assert [s for s, *_ in seen] == [max(t) for t in path[1:]]
    states = [(calls[0].x, calls[0].y), *((x, y) for _, x, y in seen)]
    for (before, after), (now, then) in zip(pairwise(states), pairwise(path), strict=True):
        assert torch.equal(before[0], after[0]) == (now.x == then.x)
        assert torch.equal(before[1], after[1]) or now.y > then.y
    assert torch.equal(states[-1][0], x) and torch.equal(states[-1][1], y)


def test_a_half_that_is_left_out_stays_noise_and_is_not_returned():
    for name, left_out in (("image_alone", 1), ("layout_alone", 0)):
        pair, calls, seen = states_along(find_path(name, SCHEDULE, 5))
        assert pair[left_out] is None and pair[1 - left_out] is not None
        assert {(call.t_x, call.t_y)[left_out] for call in calls} == {T}
        assert len({state[1 + left_out].sum().item() for state in seen}) == 1
        assert [s for s, *_ in seen] == SCHEDULE.steps(5)[1:]


def test_the_second_order_step_extrapolates_over_the_jumps_of_the_image_alone():
    # with the layout drawn first, the image meets the same 20 times as along the diagonal of 20 jumps
    gaussian = GaussianCategoricalDiffusion(GaussianDiffusion(SCHEDULE, "x0"), PROCESS.categorical)

    def denoise(x, y, *levels):
        return 0.9 * x.tanh(), torch.zeros(len(y), K, *y.shape[1:])

    ends = []
    for path in (led(T, 20, 0.0), led(T, 40, 1.0)):
        reverse = ReverseProcess(gaussian, ReverseSettings(20, eta=0.0, order=2))
        ends.append(reverse.run(denoise, (4, 4), noise_of(2), path=path)[0])
    start = [noise_of(2).normal(3, 4, 4)] * 2
    assert torch.equal(*start) and torch.equal(*ends)


@pytest.mark.parametrize(
    "path, message",
    [
        ("sideways", "path 'sideways' is unknown: choose one of image_first, diagonal, layout_first, image_alone"),
        (1.5, r"lead of the layout must lie in -1\.\.1, got 1\.5"),
        ([(T, T)], "two or more pairs of whole times"),
        ([(T, T), (0.5, 0)], "two or more pairs of whole times"),
        ([(T, T, T), (0, 0, 0)], "two or more pairs of whole times"),
        ([3, 2, 1], "two or more pairs of whole times"),
        ([(500, T), (0, 0)], r"from \(1000, 1000\)"),
        ([(T, T), (500, 500), (600, 0), (0, 0)], r"no time may rise .* got \(500, 500\) to \(600, 0\): take fewer"),
        ([(T, T), (500, 500), (500, 500), (0, 0)], "one must fall in every jump"),
        ([(T, T), (0, 300)], r"each half must end at time 0, or stay at 1000 to be left out, got \(0, 300\)"),
        ([(T, T), (T, 500), (T, 500)], "one must fall"),
    ],
)
def test_what_is_no_path_is_refused(path, message):
    with pytest.raises(ConfigError, match=message):
        find_path(path, SCHEDULE, 10)
