"""The processes of a training run: their device, precision and random numbers, the signals that stop them, and their
agreement."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized
from torch import Tensor

from gcdp.devices import has_bfloat16
from gcdp.errors import ConfigError, TrainingError


def make_accelerator(precision: str) -> Accelerator:
    """An accelerator over all launched processes; `precision` as accelerate names it: no, fp16, bf16.

    On a processor that only emulates bf16, several times slower than float32, float32 takes its place; the accelerator
    says so by its `mixed_precision`, "no".

    Raises ConfigError where the device lacks the precision, or where launched processes do not see each other.
    """
    if is_initialized() and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()  # a second run in one Python process may ask for another precision
    try:
        accelerator = Accelerator(mixed_precision=precision)
    except ValueError as error:
        raise ConfigError(f"train.precision '{precision}' is impossible here: {error}") from error
    if precision == "bf16" and not has_bfloat16(accelerator.device):
        AcceleratorState._reset_state()
        accelerator = Accelerator(mixed_precision="no")
    if precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would compute in float32 unasked
        raise ConfigError("train.precision 'fp16' needs a GPU: set it to 'bf16' or 'no'")
    launched = int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1
    if accelerator.num_processes != launched:  # each would train alone, and overwrite what the others save
        raise ConfigError(
            f"{launched} processes were launched but {accelerator.num_processes} found each other: launch one a GPU, "
            "or set ACCELERATE_USE_CPU=1 to train on processors"
        )
    return accelerator


class OwnRows:
    """A loss whose random numbers are those of the whole batch, of which a process takes its own rows.

    Times, dropped captions and noise then belong to the rows of the batch and not to processes, and a run is the same
    on any number of them, but for the order in which sums are rounded. Every process draws for all rows; at the paper's
    batch of 8 that costs nothing beside the network.

    Args:
        loss: with `prepare` and `compute`, see `gcdp.training.step.Loss`.
        rank, world: number of this process, and of all.
    """

    def __init__(self, loss, rank: int, world: int):
        self.loss, self.rank, self.world = loss, rank, world

    def __call__(self, forward, batch: dict[str, Any], generator: torch.Generator):
        return self.compute(forward, self.prepare(batch, generator))

    def compute(self, forward, given: dict[str, Tensor]):
        """The losses of what `prepare` drew."""
        return self.loss.compute(forward, given)

    def prepare(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """What the loss prepares of this process's rows; the rows of others stand empty while it draws."""
        count = len(batch["x"])
        own = slice(self.rank * count, (self.rank + 1) * count)
        whole = {name: self._among_all(value, own) for name, value in batch.items() if isinstance(value, Tensor)}
        return {name: value[own] for name, value in self.loss.prepare({**batch, **whole}, generator).items()}

    def _among_all(self, value: Tensor, own: slice) -> Tensor:
        whole = value.new_zeros((self.world * len(value), *value.shape[1:]))
        whole[own] = value
        return whole


AGREE_EVERY = 20  # steps between two questions of several processes whether to stop


class OnItsWay:
    """A number of a device, copied to the host in the order of the device's queue; reading it waits for no later work.

    Args:
        value: a scalar.
    """

    def __init__(self, value: Tensor):
        self.value, self.copied = value, None
        if value.is_cuda:
            self.value = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            self.value.copy_(value, non_blocking=True)
            self.copied = torch.cuda.Event()
            self.copied.record()

    def read(self) -> float:
        """The number, once it has arrived."""
        if self.copied is not None:
            self.copied.synchronize()
        return float(self.value)


class StopRequest:
    """Set by an interrupt or termination signal; the loop finishes its step, saves and stops."""

    def __init__(self):
        self.requested = False
        self.asked: OnItsWay | None = None

    def agreed(self, accelerator: Accelerator, step: int) -> bool:
        """Whether any process was asked to stop: all must leave at the same step, or the others wait for ever.

        Several processes ask each other every `AGREE_EVERY` steps, and take the answer as many steps later: the device
        has it by then, and is not waited for. One process alone stops at any step.
        """
        if accelerator.num_processes == 1:
            return self.requested
        if step % AGREE_EVERY:
            return False
        before, own = self.asked, torch.full((), float(self.requested), device=accelerator.device)
        self.asked = OnItsWay(accelerator.reduce(own))
        return before is not None and before.read() > 0


@contextmanager
def lost_processes(accelerator: Accelerator, resume_from: Callable[[], str]) -> Iterator[None]:
    """Say in one sentence that another process of this run is gone, and where to go on.

    A process that talks to a dead one is told so by gloo at once. NCCL tells no one: the launcher then ends those that
    are left. `resume_from` describes the last checkpoint. SIGTERM is ignored from then on: the process ends anyway.

    Raises TrainingError in place of the error of the network between processes; all others stay what they are.
    """
    try:
        yield
    except RuntimeError as error:
        between = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        if accelerator.num_processes == 1 or not between:
            raise
        if threading.current_thread() is threading.main_thread():  # the launcher's would cut the sentence short
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reason = str(error).strip().splitlines()[0].partition(". ")[0]  # advice on the peer follows
        raise TrainingError(f"another process of this training is gone ({reason}); {resume_from()}") from error


@contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop after the current step (main thread only)."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum, frame):
        stop.requested = True

    previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)


def ignore_interrupt(worker: int) -> None:
    """Start of a loader's worker: Ctrl-C is for the training process, which needs its workers to finish the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
