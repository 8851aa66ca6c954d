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
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gcdp.experiments.profile import load_profile
from gcdp.experiments.speed import Steps, copy_rate, machine, matmul_rate, seconds, wait

# profile, domain, classes, pairs in a step, width of the text
SIZES = {"toy": ("toy", "streets", 20, 64, 384), "paper": ("cityscapes", "streets", 20, 8, 1024)}
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
    name, domain, classes, pairs, width = SIZES[size]
    profile = load_profile(name, domain)
    given = profile, profile.domain(domain).size, pairs, classes, width, device, precision
    steps, plain = Steps(*given, compiled), Steps(*given)
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
    path = Path(__file__).with_name(f"network_step-{device.type}.json")
    path.write_text(json.dumps({"machine": machine(device), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
