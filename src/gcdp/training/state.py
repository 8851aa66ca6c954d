"""What a training run remembers: weights, EMA, optimizer, and the curve of losses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from gcdp.errors import CheckpointError
from gcdp.network.unet import UNet
from gcdp.storage import load_tensors, save_tensors
from gcdp.training.checkpoint import optimizer_tensors, restore_optimizer
from gcdp.training.curve import not_finite


class TrainingState:
    """Network, EMA and optimizer, saved together and atomically in `folder`/state.safetensors."""

    def __init__(self, unet: UNet, optimizer, decay: float, folder: Path, run_hash: str, accelerator: Accelerator):
        self.unet, self.optimizer, self.decay = unet, optimizer, decay
        self.folder, self.run_hash, self.accelerator = folder, run_hash, accelerator
        self.path = folder / "state.safetensors"
        self.last_saved = 0
        self.pending: dict = {}
        self.ema = {name: p.detach().clone() for name, p in unet.state_dict().items()}

    def update_ema(self, done: int, every: int) -> None:
        """ema <- d ema + (1 - d) weights every few steps, with d ramped up from 0 as (1 + n) / (10 + n)."""
        if done % every:
            return
        n = done // every
        d = min(self.decay, (1 + n) / (10 + n))
        with torch.no_grad():
            for name, p in self.unet.state_dict().items():
                if p.is_floating_point():
                    self.ema[name].lerp_(p, 1 - d)
                else:  # a counter
                    self.ema[name].copy_(p)

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Run a block with the EMA weights in the network."""
        raw = {name: p.detach().clone() for name, p in self.unet.state_dict().items()}
        self.unet.load_state_dict(self.ema)
        try:
            yield
        finally:
            self.unet.load_state_dict(raw)

    def save(self, step: int, pending: dict) -> None:
        """Write the state after `step` steps, with the curve's `pending` sums.

        Raises TrainingError if a weight is not finite, CheckpointError on a full disk; the old file is then kept.
        """
        weights = torch.stack([p.isfinite().all() for p in self.unet.parameters()])
        if not weights.all():
            raise not_finite("a weight", step, self.last_saved, self.folder)
        self.last_saved = step
        if not self.accelerator.is_main_process:
            return
        parts = {"model": self.unet.state_dict(), "ema": self.ema, "optimizer": optimizer_tensors(self.optimizer)}
        tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        scaler = self.accelerator.scaler
        facts = {
            "step": step,
            "run_hash": self.run_hash,
            "scaler": scaler.state_dict() if scaler else None,
            "pending": pending,
        }
        save_tensors(self.path, tensors, {"facts": json.dumps(facts)})

    def resume(self) -> int:
        """Load a saved state and return its step, or 0 where none exists; `pending` is then what was saved with it.

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
            self.unet.load_state_dict(parts["model"])
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
