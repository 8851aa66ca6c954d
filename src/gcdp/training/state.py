"""What a training run remembers: weights, EMA, optimizer, and the curve of losses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gcdp.errors import CheckpointError
from gcdp.storage import atomic_write, load_tensors
from gcdp.training.curve import not_finite
from gcdp.training.tensor_file import write_tensors


class TrainingState:
    """Network, EMA and optimizer, saved together and atomically in `folder`/state.safetensors."""

    def __init__(
        self, network: nn.Module, optimizer, decay: float, folder: Path, run_hash: str, accelerator: Accelerator
    ):
        self.network, self.optimizer, self.decay = network, optimizer, decay
        self.folder, self.run_hash, self.accelerator = folder, run_hash, accelerator
        self.path = folder / "state.safetensors"
        self.last_saved = 0
        self.pending: dict = {}
        self.ema = {name: p.detach().clone() for name, p in network.state_dict().items()}

    def ema_share(self, done: int, every: int) -> float:
        """Share 1 - d of the weights in their average after so many steps: every few steps, else 0.

        d is ramped up from 0 as (1 + n) / (10 + n).
        """
        n = done // every
        return 0.0 if done % every else 1 - min(self.decay, (1 + n) / (10 + n))

    def update_ema(self, share: float | Tensor) -> None:
        """ema <- (1 - share) ema + share weights; `share` may be a scalar on the device."""
        weights = self.network.state_dict()
        averaged = [name for name, p in weights.items() if p.is_floating_point()]
        with torch.no_grad():
            averages = [self.ema[name] for name in averaged]
            steps = torch._foreach_sub([weights[name] for name in averaged], averages)
            torch._foreach_mul_(steps, share)
            torch._foreach_add_(averages, steps)
            for name in weights.keys() - set(averaged):  # counters
                self.ema[name].copy_(weights[name])

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Run a block with the EMA weights in the network, and its own in `ema`."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        """Weights and average change places one tensor at a time, so that memory holds no third copy of them."""
        for name, weight in self.network.state_dict().items():
            kept = weight.clone()
            weight.copy_(self.ema[name])
            self.ema[name].copy_(kept)

    def save(self, step: int, pending: dict) -> None:
        """Write the state after `step` steps, with the curve's `pending` sums.

        Nothing is copied but one tensor at a time, on its way to the disk. Raises TrainingError if a weight is not
        finite, CheckpointError on a full disk; the old file is then kept.
        """
        weights = torch.stack([p.isfinite().all() for p in self.network.parameters()])
        if not weights.all():
            raise not_finite("a weight", step, self.last_saved, self.folder)
        self.last_saved = step
        if not self.accelerator.is_main_process:
            return
        parts = {"model": self.network.state_dict(), "ema": self.ema, "optimizer": optimizer_tensors(self.optimizer)}
        tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        scaler = self.accelerator.scaler
        facts = {
            "step": step,
            "run_hash": self.run_hash,
            "scaler": scaler.state_dict() if scaler else None,
            "pending": pending,
        }
        with atomic_write(self.path) as partial:
            write_tensors(partial, tensors, {"facts": json.dumps(facts)})

    def checkpoint(self) -> str:
        """Where a run that ends now would go on, as half a sentence."""
        if not self.last_saved:
            return "run again to start over, as there was no checkpoint yet"
        return f"run again to go on from the checkpoint of step {self.last_saved}, {self.path}"

    def resume(self) -> int:
        """Load a saved state and return its step, or 0 where none exists; `pending` is then what was saved with it.

        Each process maps the file into its memory by itself, and copies from there to its device.
        Raises CheckpointError for a damaged state or one of other settings.
        """
        if not self.path.is_file():
            return 0
        tensors, metadata = load_tensors(self.path)
        facts = json.loads(metadata.get("facts", "{}"))
        if facts.get("run_hash") != self.run_hash:
            raise CheckpointError(
                f"{self.folder} holds a run with other settings: restore them, or delete the folder to start anew"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for key, value in tensors.items():
            part, name = key.split("/", 1)
            parts[part][name] = value
        try:
            self.network.load_state_dict(parts["model"])
            for name in self.ema:
                self.ema[name].copy_(parts["ema"][name])
            restore_optimizer(self.optimizer, parts["optimizer"])
        except (RuntimeError, LookupError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} does not fit the network of this version: delete {self.folder} to start anew"
            ) from error
        if self.accelerator.scaler and facts["scaler"]:
            self.accelerator.scaler.load_state_dict(facts["scaler"])
        self.pending = facts.get("pending", {})
        self.last_saved = facts["step"]
        return facts["step"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors, "<parameter index>.<state name>"; they are those of the optimizer."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; the parameter groups keep their configured settings."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        if value.shape == like.shape:  # moments keep the memory layout of their parameter, and so their last bit
            value = torch.empty_like(like, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
