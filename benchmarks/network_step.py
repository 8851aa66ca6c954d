"""A training step and a sampling step of the joint network, beside what the machine could do, and where the time goes.

Run: python benchmarks/network_step.py [--sizes toy paper] [--precisions float32 bfloat16] [--compile] [--rounds 10]
It prints a table and writes benchmarks/network_step-<device>.json. `paper` is the network of 700 M parameters at
128x256 and wants a GPU with 40 GB; `toy` that of the released weights.

Beside each time stands the roofline: floating-point operations over the rate of a large matrix product in the same
precision, and bytes that its operations read and write over the rate of a large copy, both measured here. A step can
take no less than the larger of the two, unless operations are fused, which saves bytes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.experiments.profile import load_profile
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss
from gcdp.training.optimizers import make_optimizer

# profile, domain, classes, pairs in a step, width of the text
SIZES = {"toy": ("toy", "streets", 20, 64, 384), "paper": ("cityscapes", "streets", 20, 8, 1024)}
TOKENS = 48
SHOWN = 8  # operations in the profile


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; views move none."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = (each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor))
            self.bytes += sum(each.numel() * each.element_size() for each in tensors)
        return result


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


class Steps:
    """One network with random pairs, and its two steps."""

    def __init__(self, size: str, device: torch.device, precision: str, compiled: bool):
        name, domain, classes, self.pairs, width = SIZES[size]
        profile = load_profile(name, domain)
        data, self.config = profile.domain(domain), profile.train_for("joint")
        torch.manual_seed(0)
        with device:
            self.unet = UNet(profile.unet_for("joint", classes, width)).to(memory_format=torch.channels_last)
        self.network = ConditionedUNet(self.unet)
        self.forward = torch.compile(self.network) if compiled else self.network
        process = GaussianCategoricalDiffusion.from_config(profile.diffusion_for("joint"), classes)
        self.loss = DiffusionLoss(process, self.config)
        self.optimizer = make_optimizer(self.network, self.config)
        self.device, self.precision = device, precision
        self.batch = self._batch(self.pairs, data.size, classes, width)
        self.given = self.loss.prepare(self.batch, torch.Generator().manual_seed(0))

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


def operations(step: Callable[[], None], device: torch.device) -> list[dict[str, float | str]]:
    """The operations that take most of the time, and their shares."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profiler:
        step()
        wait(device)
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    found = {event.key: getattr(event, attribute) for event in profiler.key_averages()}
    total = sum(found.values())
    largest = sorted(found, key=found.get, reverse=True)[:SHOWN]
    return [{"operation": name, "share": found[name] / total} for name in largest]


def measure(size: str, device: torch.device, precision: str, compiled: bool, rounds: int) -> list[dict]:
    """One row for the training step, one for the sampling step."""
    rows, dtype = [], getattr(torch, precision)
    compute, memory = matmul_rate(device, dtype), copy_rate(device)
    steps, plain = Steps(size, device, precision, compiled), Steps(size, device, precision, False)
    for name, step, counted in (("training", steps.train, plain.train), ("sampling", steps.sample, plain.call)):
        with FlopCounterMode(display=False) as counter:
            counted()
        with Traffic() as traffic:
            counted()
        took = seconds(step, device, rounds)
        ideal = {"by_operations": counter.get_total_flops() / compute, "by_bytes": traffic.bytes / memory}
        rows.append(
            {
                "size": size,
                "step": name,
                "precision": precision,
                "compiled": compiled,
                "pairs": steps.pairs,
                "seconds": took,
            }
            | {"gflop": counter.get_total_flops() / 1e9, "gigabytes": traffic.bytes / 1e9, **ideal}
            | {"share_of_matmul_rate": ideal["by_operations"] / took, "profile": operations(step, device)}
        )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Time training and sampling steps.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["toy"])
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true", help="compiled networks as well")
    parser.add_argument("--rounds", type=int, default=5)
    given, rows = parser.parse_args(), []
    columns = ("size", "step", "precision", "compiled", "pairs/s", "ms", "ms by operations", "ms by bytes", "of matmul")
    print(" ".join(f"{column:>16}" for column in columns))
    for size in given.sizes:
        for precision in given.precisions:
            for compiled in (False, True) if given.compile else (False,):
                for row in measure(size, device, precision, compiled, given.rounds):
                    rows.append(row)
                    texts = [row["size"], row["step"], row["precision"], str(row["compiled"])]
                    texts += [f"{row['pairs'] / row['seconds']:.0f}", f"{1000 * row['seconds']:.1f}"]
                    texts += [f"{1000 * row[key]:.1f}" for key in ("by_operations", "by_bytes")]
                    print(
                        " ".join(f"{text:>16}" for text in [*texts, f"{row['share_of_matmul_rate']:.2f}"]), flush=True
                    )
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    machine = {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    path = Path(__file__).with_name(f"network_step-{device.type}.json")
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
