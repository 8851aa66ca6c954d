"""The second-order step on Gaussian data, where the exact end of every path is known. Seed 0."""

import pytest
import torch

from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import Noise, ReverseProcess, ReverseSettings, sample_seeds
from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError

SCHEDULE = NoiseSchedule.cosine(1000)
PROCESS = GaussianCategoricalDiffusion(GaussianDiffusion(SCHEDULE, "x0"), None)
SPREAD = 0.15  # standard deviation of the data: values stay far inside [-1, 1]


def error(num_steps, **settings):
    """Largest distance to the exact end of the path, x_T SPREAD / (standard deviation of x_T)."""
    starts = []

    def denoise(x, y, log_snr_x, log_snr_y):
        starts.append(x.double())
        ab = log_snr_x.double().sigmoid().view(-1, 1, 1, 1)
        return (ab.sqrt() * SPREAD**2 / (ab * SPREAD**2 + 1 - ab) * x.double()).float(), None

    noise = Noise(sample_seeds(0, 8), torch.device("cpu"))
    x, _ = ReverseProcess(PROCESS, ReverseSettings(num_steps, eta=0.0, **settings)).run(denoise, (4, 4), noise)
    ab = SCHEDULE.alpha_bar[-1]
    exact = starts[0] * SPREAD / (ab * SPREAD**2 + 1 - ab).sqrt()
    return float((x - exact).abs().max())


@pytest.mark.parametrize("num_steps, share", [(20, 0.7), (50, 0.1), (100, 0.3)])
def test_the_second_order_step_is_closer_to_the_exact_path(num_steps, share):
    assert error(num_steps, order=2) < share * error(num_steps, order=1)


def test_fifty_second_order_steps_beat_a_hundred_of_first_order():
    assert error(50, order=2) < 0.2 * error(100, order=1)


def test_one_and_two_steps_have_nothing_to_extrapolate_from():
    for num_steps in (1, 2):
        assert error(num_steps, order=2) == error(num_steps, order=1)


@pytest.mark.parametrize("changed", [{"order": 3}, {"order": 2}, {"order": 2, "eta": 0.5}])
def test_second_order_needs_the_deterministic_path(changed):
    with pytest.raises(ConfigError, match="order must be 1"):
        ReverseSettings(**changed)
