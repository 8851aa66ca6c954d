"""One step of training: loss, gradient, optimizer and average; recorded as a CUDA graph where that is possible.

A small network asks a GPU for a thousand short kernels a step, and the processor takes longer to ask than the GPU to
answer. A recorded step is one request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from gcdp.errors import ConfigError
from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState

WARM_UP = 3  # ordinary steps before the recording: libraries choose their kernels, the optimizer makes its state


class Losses(NamedTuple):
    """What one step minimizes, a scalar, and what its row of the curve shows: scalars by column of curve.csv."""

    total: Tensor
    parts: dict[str, Tensor]


# (forward, batch, generator) -> Losses. `forward` is the network in the recipe's precision; the batch lies on its
# device; the CPU generator is for all noise of the step. A loss that has `prepare(batch, generator)`, which draws
# all that is random as tensors by name, one row an example, and `compute(forward, prepared)`, the mean over rows, can
# be recorded, and computed in pieces.
Loss = Callable[[Callable[..., Any], dict[str, Any], torch.Generator], Losses]


class Step:
    """A step of training; called with a batch, its generator and the number of steps done with it."""

    def __init__(
        self, forward, loss: Loss, optimizer, state: TrainingState, config: TrainConfig, accelerator: Accelerator
    ):
        self.forward, self.loss, self.optimizer = forward, loss, optimizer
        self.state, self.config, self.accelerator = state, config, accelerator

    def __call__(self, batch: dict[str, Any], generator: torch.Generator, done: int) -> dict[str, Tensor]:
        """Take the step; returns the parts of its loss."""
        share = self.state.ema_share(done, self.config.ema_every)
        if hasattr(self.loss, "prepare"):
            return self.take(self.loss.prepare(batch, generator), share)
        parts = self._gradient([partial(self.loss, self.forward, batch, generator)])
        self._update(share)
        return parts

    def take(self, given: dict[str, Tensor], share: float | Tensor) -> dict[str, Tensor]:
        """The step from what the loss prepared; the average of weights moves by `share`."""
        pieces = pieces_of(given, self.config.accumulate)
        parts = self._gradient([partial(self.loss.compute, self.forward, piece) for piece in pieces])
        self._update(share)
        return parts

    def _gradient(self, losses: list[Callable[[], Losses]]) -> dict[str, Tensor]:
        """Add up the gradient of the mean of losses, each computed when the activations of the one before are gone;
        returns the means of their parts. Processes exchange their gradients once."""
        parts: dict[str, Tensor] = {}
        for number, compute in enumerate(losses, start=1):
            alone = number < len(losses)
            with self.accelerator.no_sync(self.forward) if alone else nullcontext():
                found = compute()
                self.accelerator.backward(found.total / len(losses))
            for name, part in found.parts.items():
                parts[name] = parts.get(name, 0.0) + part.detach() / len(losses)
        return parts

    def _update(self, share: float | Tensor) -> None:
        """Change the weights by their gradient, and their average by `share`."""
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.state.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not isinstance(share, float) or share:
            self.state.update_ema(share)


def pieces_of(given: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """What a loss prepared of B rows, in `count` equal pieces of B / count rows; all tensors have B rows."""
    rows = len(next(iter(given.values()))) // count
    return [{name: value[i * rows : (i + 1) * rows] for name, value in given.items()} for i in range(count)]


def check_pieces(loss: Loss, config: TrainConfig, processes: int) -> None:
    """Raise ConfigError where the batch of a step cannot be computed in the pieces that the recipe asks for."""
    count, whole = config.accumulate, processes * config.accumulate
    if count > 1 and not hasattr(loss, "prepare"):
        raise ConfigError(f"train.accumulate {count} is for diffusion networks alone: set it to 1")
    if config.batch_size % whole:
        raise ConfigError(
            f"train.batch_size {config.batch_size} does not divide into train.accumulate {count} equal parts on each "
            f"of {processes} processes: use a multiple of {whole}"
        )


def can_record(loss: Loss, config: TrainConfig, accelerator: Accelerator) -> bool:
    """Whether the step can be recorded: on one CUDA device, without the loss scaling of fp16, activations kept."""
    wanted = config.cuda_graph and not (config.compile or config.checkpoint_activations) and hasattr(loss, "prepare")
    return wanted and accelerator.device.type == "cuda" and accelerator.num_processes == 1 and not accelerator.scaler


class RecordedStep:
    """The same step as a CUDA graph: what is random is drawn as ever and copied to where the graph reads it.

    Args:
        step: the step to record.
        longest: tokens to which all captions are padded, since the shapes of a graph are fixed.
    """

    def __init__(self, step: Step, longest: int):
        self.step, self.longest = step, longest
        self.given: dict[str, Tensor] = {}
        self.parts: dict[str, Tensor] = {}
        self.share, self.graph, self.taken = None, None, 0

    def __call__(self, batch: dict[str, Any], generator: torch.Generator, done: int) -> dict[str, Tensor]:
        """Take the step; returns the parts of its loss."""
        step, shape = self.step, batch["tokens"].shape
        fill = self.longest - shape[1]
        batch = {**batch, "tokens": F.pad(batch["tokens"], (0, 0, 0, fill)), "mask": F.pad(batch["mask"], (0, fill))}
        self._place(step.loss.prepare(batch, generator), step.state.ema_share(done, step.config.ema_every))
        if self.taken < WARM_UP:
            self._warm_up()
        elif self.graph is None:
            self._record()
            self.graph.replay()
        else:
            self.graph.replay()
        self.taken += 1
        return self.parts

    def _place(self, given: dict[str, Tensor], share: float) -> None:
        if not self.given:
            self.given = {name: value.clone() for name, value in given.items()}
            self.share = torch.tensor(share, device=given["x0"].device)
        for name, value in given.items():
            self.given[name].copy_(value, non_blocking=True)
        self.share.fill_(share)

    def _warm_up(self) -> None:
        """An ordinary step on a stream of its own, as the recording asks for."""
        stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            self.parts = self.step.take(self.given, self.share)
        main.wait_stream(stream)

    def _record(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.parts = self.step.take(self.given, self.share)
