"""Requests that the categorical half refuses, each with the reason."""

import pytest
import torch

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError

T = 100
SCHEDULE = NoiseSchedule.cosine(T)


def times(*values):
    return torch.tensor(values)


@pytest.mark.parametrize("K", [1, 0, -2])
def test_fewer_than_two_classes_are_refused(K):
    with pytest.raises(ConfigError, match="at least 2"):
        CategoricalDiffusion(K, SCHEDULE)


def test_an_unknown_bound_is_refused_with_the_names_that_exist():
    with pytest.raises(ConfigError, match="step, jump"):
        CategoricalDiffusion(4, SCHEDULE, bound="leap")


WRONG_LABELS = {
    "bytes": torch.zeros(1, 2, 2, dtype=torch.uint8),
    "32 bits": torch.zeros(1, 2, 2, dtype=torch.int32),
    "floats": torch.zeros(1, 2, 2),
    "no batch": torch.zeros(2, 2, dtype=torch.int64),
    "one-hot": torch.zeros(1, 4, 2, 2, dtype=torch.int64),
}


@pytest.mark.parametrize("y", WRONG_LABELS.values(), ids=WRONG_LABELS.keys())
def test_labels_that_are_not_int64_pictures_are_refused(y):
    categorical, p0 = CategoricalDiffusion(4, SCHEDULE), torch.full((1, 4, 2, 2), 0.25)
    t, s = times(5), times(4)
    calls = (
        lambda: categorical.q_probs(y, t),
        lambda: categorical.q_sample(y, t),
        lambda: categorical.q_posterior(p0, y, t, s),
        lambda: categorical.leave_one_out(p0, y, t),
        lambda: categorical.kl(p0.log(), y, y, t, s),
        lambda: categorical.loss(p0, y, y, t),
    )
    for call in calls:
        with pytest.raises(ValueError, match="labels must be int64"):
            call()


@pytest.mark.parametrize("t, s", [(5, 5), (5, 6), (T + 1, 5), (5, -1), (0, 0)])
def test_a_jump_that_does_not_go_back_within_the_table_is_refused(t, s):
    categorical, y = CategoricalDiffusion(4, SCHEDULE), torch.zeros(1, 2, 2).long()
    p0 = torch.full((1, 4, 2, 2), 0.25)
    for call in (
        lambda: categorical.q_posterior(p0, y, times(t), times(s)),
        lambda: categorical.kl(p0.log(), y, y, times(t), times(s)),
    ):
        with pytest.raises(ValueError, match=r"s < t|0\.\.100"):
            call()


@pytest.mark.parametrize("t", [-1, T + 1])
def test_a_time_outside_the_table_is_refused(t):
    categorical, y = CategoricalDiffusion(4, SCHEDULE), torch.zeros(1, 2, 2).long()
    for call in (
        lambda: categorical.q_probs(y, times(t)),
        lambda: categorical.q_sample(y, times(t)),
        lambda: categorical.loss(torch.zeros(1, 4, 2, 2), y, y, times(T + 1)),
    ):
        with pytest.raises(ValueError, match=r"t must lie in 0\.\.100"):
            call()
