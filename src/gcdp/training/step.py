"""One step of training: loss, gradient, optimizer and average; recorded as a CUDA graph where that is possible.

A small network asks a GPU for a thousand short kernels a step, and the processor takes longer to ask than the GPU to
answer. A recorded step is one request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState

WARM_UP = 3  # ordinary steps before the recording: libraries choose their kernels, the optimizer makes its state


class Losses(NamedTuple):
    """What one step minimizes, a scalar, and what its row of the curve shows: scalars by column of curve.csv."""

    total: Tensor
    parts: dict[str, Tensor]


# (forward, batch, generator) -> Losses. `forward` is the network in the recipe's precision; the batch lies on its
# device; the CPU generator is for all noise of the step. A loss that has `prepare(batch, generator)`, which draws
# all that is random as tensors by name, and `compute(forward, prepared)`, can be recorded.
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
        losses = self.loss(self.forward, batch, generator)
        self.update(losses, self.state.ema_share(done, self.config.ema_every))
        return {name: part.detach() for name, part in losses.parts.items()}

    def update(self, losses: Losses, share: float | Tensor) -> None:
        """Change the weights by the gradient of a loss, and their average by `share`."""
        self.accelerator.backward(losses.total)
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.state.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not isinstance(share, float) or share:
            self.state.update_ema(share)


def can_record(loss: Loss, config: TrainConfig, accelerator: Accelerator) -> bool:
    """Whether the step can be recorded: on one CUDA device, without the loss scaling of fp16."""
    wanted = config.cuda_graph and not config.compile and hasattr(loss, "prepare")
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

    def _take(self) -> dict[str, Tensor]:
        losses = self.step.loss.compute(self.step.forward, self.given)
        self.step.update(losses, self.share)
        return {name: part.detach() for name, part in losses.parts.items()}

    def _warm_up(self) -> None:
        """An ordinary step on a stream of its own, as the recording asks for."""
        stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            self.parts = self._take()
        main.wait_stream(stream)

    def _record(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.parts = self._take()
