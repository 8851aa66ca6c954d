"""Noise schedules: the table's identities, jumps that compose, and sub-sequences of steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcdp.diffusion.schedules import FLOOR, NoiseSchedule
from gcdp.errors import ConfigError

# Property tests are derandomized: hypothesis draws the same examples in every run.
PROPERTY = settings(max_examples=30, deadline=None, derandomize=True, database=None)
MAKERS = {
    "cosine": NoiseSchedule.cosine,
    "linear": NoiseSchedule.linear,
    "noisier": lambda T: NoiseSchedule.shifted(T, -2.0),
    "cleaner": lambda T: NoiseSchedule.shifted(T, 2.0),
}


@PROPERTY
@given(name=st.sampled_from(sorted(MAKERS)), T=st.integers(1, 1200))
def test_every_table_starts_at_one_decreases_strictly_and_stays_above_the_floor(name, T):
    schedule = MAKERS[name](T)
    ab = schedule.alpha_bar
    assert schedule.T == T and ab.shape == (T + 1,) and ab.dtype == torch.float64
    assert ab[0] == 1 and (ab[1:] < ab[:-1]).all() and ab[-1] >= FLOOR


@pytest.mark.parametrize("name", sorted(MAKERS))
@pytest.mark.parametrize("T", [50, 1000])
def test_the_last_state_keeps_almost_no_signal(name, T):
    assert MAKERS[name](T).alpha_bar[-1] < 1e-4


def test_cosine_table_is_the_squared_cosine_above_its_floor():
    ab = NoiseSchedule.cosine(4).alpha_bar
    signal = torch.tensor([1, 0.853553390593, 0.5, 0.146446609407, 0], dtype=torch.float64)
    torch.testing.assert_close(ab, FLOOR + (1 - FLOOR) * signal, rtol=0, atol=1e-11)


def test_linear_table_multiplies_the_linear_betas():
    ab, product = NoiseSchedule.linear(1000).alpha_bar, 1.0
    for t in range(1, 1001):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * (t - 1) / 999)
        assert ab[t] == pytest.approx(FLOOR + (1 - FLOOR) * product, rel=1e-10)


def test_linear_table_at_another_length_destroys_signal_at_the_same_rate():
    long, short = NoiseSchedule.linear(1000).alpha_bar, NoiseSchedule.linear(100).alpha_bar
    torch.testing.assert_close(long[::10], short, rtol=0, atol=0.02)


@pytest.mark.parametrize("shift", [-3.0, -0.7, 0.0, 1.5])
def test_shifted_schedule_moves_the_log_snr_by_the_shift(shift):
    t = torch.arange(100, 801, 50)
    moved = NoiseSchedule.shifted(1000, shift).log_snr(t) - NoiseSchedule.cosine(1000).log_snr(t)
    torch.testing.assert_close(moved, torch.full_like(moved, shift), rtol=0, atol=5e-3)  # the floor bends it


@PROPERTY
@given(name=st.sampled_from(sorted(MAKERS)), times=st.sets(st.integers(0, 200), min_size=3, max_size=3))
def test_jump_factors_compose(name, times):
    schedule, like = MAKERS[name](200), torch.zeros(1)
    r, s, t = (torch.tensor([v]) for v in sorted(times))
    a = schedule.jump(t, s, like)[2] * schedule.jump(s, r, like)[2]
    torch.testing.assert_close(a, schedule.jump(t, r, like)[2], rtol=1e-13, atol=0)


@PROPERTY
@given(T=st.integers(1, 1500), data=st.data())
def test_steps_run_evenly_from_T_to_zero_without_repeats(T, data):
    num_steps = data.draw(st.integers(1, T))
    steps = NoiseSchedule.cosine(T).steps(num_steps)
    gaps = [a - b for a, b in zip(steps, steps[1:])]
    assert steps[0] == T and steps[-1] == 0 and len(steps) == num_steps + 1
    assert all(isinstance(t, int) for t in steps)
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("num_steps", [0, -1, 51])
def test_step_counts_outside_one_to_T_are_refused(num_steps):
    with pytest.raises(ConfigError, match=r"num_steps must lie in 1\.\.50"):
        NoiseSchedule.cosine(50).steps(num_steps)


def test_log_snr_is_finite_everywhere_and_falls_with_time():
    for make in MAKERS.values():
        log_snr = make(1000).log_snr(torch.arange(1001))
        assert log_snr.dtype == torch.float32 and log_snr.shape == (1001,)
        assert log_snr.isfinite().all() and log_snr.abs().max() <= 15
        assert (log_snr[1:] <= log_snr[:-1]).all() and log_snr[0] == 15


def test_log_snr_is_the_logit_of_alpha_bar():
    schedule, t = NoiseSchedule.cosine(1000), torch.tensor([10, 500, 1000])
    ab = schedule.alpha_bar[t]
    torch.testing.assert_close(schedule.log_snr(t), (ab / (1 - ab)).log().float())


@pytest.mark.parametrize("name", ["cosine", "linear", "shifted"])
def test_schedules_are_found_by_name(name):
    by_name = NoiseSchedule.by_name(name, 20, shift=-1.0).alpha_bar
    expected = {"cosine": MAKERS["cosine"](20), "linear": MAKERS["linear"](20)}.get(name)
    expected = expected or NoiseSchedule.shifted(20, -1.0)
    assert torch.equal(by_name, expected.alpha_bar)


def test_an_unknown_name_is_refused_with_the_names_that_exist():
    with pytest.raises(ConfigError, match="cosine, linear, shifted"):
        NoiseSchedule.by_name("cosin")


@pytest.mark.parametrize("T", [0, -3, 10.0, "10", None])
@pytest.mark.parametrize("make", [NoiseSchedule.cosine, NoiseSchedule.linear, NoiseSchedule.shifted])
def test_a_step_count_that_is_no_positive_integer_is_refused(make, T):
    with pytest.raises(ConfigError, match="positive integer"):
        make(T)


BROKEN = {
    "single entry": [1.0],
    "matrix": [[1.0, 0.5]],
    "does not start at one": [0.9, 0.5],
    "level stretch": [1.0, 0.5, 0.5],
    "rises": [1.0, 0.4, 0.5],
    "reaches zero": [1.0, 0.5, 0.0],
    "not a number": [1.0, float("nan"), 0.1],
}


@pytest.mark.parametrize("table", BROKEN.values(), ids=BROKEN.keys())
def test_a_table_that_breaks_an_identity_is_refused(table):
    with pytest.raises(ConfigError, match="alpha_bar must"):
        NoiseSchedule(torch.tensor(table, dtype=torch.float64))


def test_a_single_precision_table_is_refused():
    with pytest.raises(ConfigError, match="float64"):
        NoiseSchedule(torch.tensor([1.0, 0.5]))


@PROPERTY
@given(B=st.integers(1, 5), ndim=st.integers(1, 5), seed=st.integers(0, 99))
def test_levels_broadcast_over_the_examples_of_any_tensor(B, ndim, seed):
    schedule, like = NoiseSchedule.cosine(30), torch.zeros(B, *(2,) * (ndim - 1))
    t = torch.randint(31, (B,), generator=torch.Generator().manual_seed(seed))
    level = schedule.at(t, like)
    assert level.shape == (B, *(1,) * (ndim - 1)) and level.dtype == torch.float64
    assert torch.equal(level.flatten(), schedule.alpha_bar[t])


@pytest.mark.parametrize("t", [[-1], [31], [3, 99], [0.5], [[1, 2]], [1, 2, 3]], ids=str)
def test_times_that_are_not_one_integer_in_range_per_example_are_refused(t):
    with pytest.raises(ValueError, match="t must"):
        NoiseSchedule.cosine(30).at(torch.tensor(t), torch.zeros(2, 1))


@pytest.mark.parametrize("t", [-1, 31])
def test_log_snr_outside_the_table_is_refused_and_not_wrapped_around(t):
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.30"):
        NoiseSchedule.cosine(30).log_snr(torch.tensor([t]))


@pytest.mark.parametrize("t, s", [([5], [5]), ([5], [6]), ([5, 9], [4, 9]), ([0], [0])])
def test_a_jump_that_does_not_go_back_in_every_example_is_refused(t, s):
    with pytest.raises(ValueError, match="s < t"):
        NoiseSchedule.cosine(30).jump(torch.tensor(t), torch.tensor(s), torch.zeros(len(t)))


@pytest.mark.parametrize("t, s", [([31], [5]), ([5], [-1])])
def test_a_jump_that_leaves_the_table_is_refused(t, s):
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.30"):
        NoiseSchedule.cosine(30).jump(torch.tensor(t), torch.tensor(s), torch.zeros(1))
