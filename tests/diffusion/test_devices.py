"""Devices without float64 (Apple's GPUs): coefficients are computed on the CPU, and cast before they are moved.

The meta device stands in for such a device here: it computes shapes and types, no numbers.
"""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcdp.diffusion import schedules
from gcdp.diffusion.categorical import BOUNDS, CategoricalDiffusion
from gcdp.diffusion.gaussian import PREDICTIONS, GaussianDiffusion
from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import Noise, ReverseProcess, ReverseSettings

K, T, SIZE, META = 4, 30, (2, 3), torch.device("meta")


class NoFloat64(TorchDispatchMode):
    """Fails where an operation leaves a float64 tensor on the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, torch.Tensor) and tensor.device == META:
                assert tensor.dtype != torch.float64, f"{function} put float64 on the device"
        return results


@pytest.fixture(autouse=True)
def without_float64(monkeypatch):
    monkeypatch.setattr(schedules, "WITHOUT_FLOAT64", ("meta",))
    with NoFloat64():
        yield


def process_of(**config):
    return GaussianCategoricalDiffusion.from_config(DiffusionConfig(T=T, p2=True, **config), K)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_training_needs_no_float64_on_the_device(prediction, bound):
    process, t = process_of(prediction=prediction, bound=bound), torch.tensor([0, 7, T])
    x0, y0 = torch.zeros(3, 3, *SIZE, device=META), torch.zeros(3, *SIZE, dtype=torch.int64, device=META)
    noised = process.q_sample(x0, y0, t, generator=torch.Generator().manual_seed(0))
    output = SimpleNamespace(image=x0.clone().requires_grad_(), layout=torch.zeros(3, K, *SIZE, device=META))
    losses = process.loss(output, x0, y0, noised, t, t.flip(0))
    assert all(loss.dtype == torch.float32 and loss.device == META for loss in losses.values())
    process.total(losses).backward()


@pytest.mark.parametrize("settings", [{}, {"eta": 0.5}, {"eta": 0.0, "order": 2}], ids=str)
def test_sampling_needs_no_float64_on_the_device(settings):
    process = process_of(prediction="v", bound="jump")

    def denoise(x, y, log_snr_x, log_snr_y):
        assert log_snr_x.dtype == log_snr_y.dtype == torch.float32
        return x, torch.zeros(2, K, *SIZE, device=META)

    x, y = ReverseProcess(process, ReverseSettings(3, **settings)).run(denoise, SIZE, Noise([0, 1], META))
    assert x.dtype == torch.float32 and x.device == y.device == META


def test_the_layout_verbs_fall_back_to_float32():
    layout, t = CategoricalDiffusion(K, schedules.NoiseSchedule.cosine(T)), torch.tensor([9])
    y = torch.zeros(1, *SIZE, dtype=torch.int64, device=META)
    p0 = torch.full((1, K, *SIZE), 1 / K, device=META)
    assert layout.q_probs(y, t).dtype == layout.leave_one_out(p0, y, t).dtype == torch.float32
    assert layout.q_sample(y, t).device == META and layout.q_posterior(p0, y, t, t - 3).dtype == torch.float32


def test_the_image_verbs_keep_the_type_of_the_image():
    image, (t, s) = GaussianDiffusion(schedules.NoiseSchedule.cosine(T)), torch.tensor([[9], [4]])
    x = torch.zeros(1, 3, *SIZE, device=META)
    assert all(part.dtype == torch.float32 for part in image.q_posterior(x, x, t, s))
