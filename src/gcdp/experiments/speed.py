"""What a machine can do: the rates of a large matrix product and of a large copy, and the time of a network's steps."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.experiments.cost_networks import TOKENS
from gcdp.experiments.profile import Profile
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss
from gcdp.training.optimizers import make_optimizer


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(step: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median time of a step, after two that warm up."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        step()
        wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, device, 10)


def copy_rate(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / seconds(lambda: target.copy_(source), device, 10)


def machine(device: torch.device) -> dict[str, str | int]:
    """What measurements should be read beside: the processor, the version of torch, the number of threads."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    else:
        name = _processor() or platform.processor() or platform.machine()
    return {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}


def _processor() -> str:
    """The model name of the processor, where Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


class Steps:
    """A network of a profile with random pairs, and its two steps.

    Args:
        profile: as one domain sees it.
        size: (height, width) of the pairs; `pairs` of them are in a step.
        classes, text_width: what data and text decide otherwise.
        precision: "float32" or "bfloat16".
        compiled: whether the network is.
    """

    def __init__(
        self,
        profile: Profile,
        size: tuple[int, int],
        pairs: int,
        classes: int,
        text_width: int,
        device: torch.device,
        precision: str = "float32",
        compiled: bool = False,
    ):
        self.config, self.pairs = profile.train_for("joint"), pairs
        torch.manual_seed(0)
        with device:
            unet = UNet(profile.unet_for("joint", classes, text_width)).to(memory_format=torch.channels_last)
        self.network = ConditionedUNet(unet)
        self.forward = torch.compile(self.network) if compiled else self.network
        process = GaussianCategoricalDiffusion.from_config(profile.diffusion_for("joint"), classes)
        self.loss = DiffusionLoss(process, self.config)
        self.optimizer = make_optimizer(self.network, self.config)
        self.device, self.precision = device, precision
        batch = self._batch(pairs, size, classes, text_width)
        self.given = self.loss.prepare(batch, torch.Generator().manual_seed(0))

    def _batch(self, count: int, size: tuple[int, int], classes: int, width: int) -> dict[str, Tensor]:
        batch = {
            "x": torch.rand(count, 3, *size).mul(2).sub(1),
            "y": torch.randint(classes, (count, *size)),
            "tokens": torch.randn(count, TOKENS, width),
            "mask": torch.ones(count, TOKENS, dtype=torch.bool),
        }
        return {key: value.to(self.device) for key, value in batch.items()}

    def _autocast(self):
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def train(self) -> None:
        """Loss, gradients and update; nothing of it reads a value back."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.loss.compute(self.forward, self.given)
        losses.total.backward()
        self.optimizer.step()

    @torch.no_grad()
    def sample(self) -> None:
        """One call of the network in a reverse process."""
        self.call()

    def call(self) -> None:
        """The same, with what gradients need."""
        inputs = [self.given.get(name) for name in self.loss.INPUTS]
        with self._autocast():
            self.forward(*inputs)
