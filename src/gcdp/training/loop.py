"""The one training loop: networks of diffusion, autoencoders and referees learn in it, resumable to the bit.

Batches and noise of a step are functions of (seed, step) alone, so an interrupted run that continues from its
checkpoint ends with the weights of an uninterrupted one. So does a run of a diffusion on another number of processes,
up to rounding; other losses draw for each process apart (`gcdp.training.distributed.OwnRows`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gcdp.data.batches import EpochBatches, collate
from gcdp.data.pairs import PairDataset
from gcdp.errors import CheckpointError, TrainingError
from gcdp.storage import fingerprint
from gcdp.training.activations import recompute_blocks
from gcdp.training.curve import Curve
from gcdp.training.distributed import OwnRows, graceful_stop, ignore_interrupt, lost_processes
from gcdp.training.optimizers import make_optimizer, set_rates
from gcdp.training.recipe import TrainConfig, decisive
from gcdp.training.state import TrainingState
from gcdp.training.step import Loss, RecordedStep, Step, can_record, check_pieces
from gcdp.validation import to_dict
from gcdp.weights import half_rounded

ON_HOST = {"labeled"}  # of a batch: times are drawn on the CPU by it, and to fetch it back would wait for the device


class Fitted(NamedTuple):
    """EMA weights on the CPU, rounded to what a half-precision release holds, the curve, and the steps of this call."""

    weights: dict[str, Tensor]
    curve: Curve
    steps_run: int


def fit(
    network: nn.Module,
    loss: Loss,
    pairs: PairDataset,
    config: TrainConfig,
    state_folder: Path,
    identity: dict[str, Any],
    accelerator: Accelerator,
    *,
    text=None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    label: str = "training",
) -> Fitted:
    """Train `network`, which was built after `torch.manual_seed(config.seed)`; resume from `state_folder`.

    Args:
        loss: of one batch; it reads the network through `forward` alone.
        identity: JSON-like settings that, with recipe and data, tell this run from others.
        text: cache whose token states every batch gets.
        validate: called with the network, EMA weights in it, every `validate_every` steps -> losses for the curve.
        label: of progress bar and messages.

    Of the recipe it uses what is about optimizer, batches, EMA, precision and intervals; the rest is the loss's.

    Raises TrainingError if a loss or weight stops being finite, the run is interrupted or another process of it is gone
    (the last good checkpoint is kept), CheckpointError if `state_folder` belongs to other settings or data, or the disk
    is full, ConfigError for a batch that cannot be shared out.
    """
    check_pieces(loss, config, accelerator.num_processes)
    if config.checkpoint_activations:
        recompute_blocks(network)
    network = network.to(memory_format=torch.channels_last).train()
    record = can_record(loss, config, accelerator)
    network = network.to(accelerator.device)
    prepared, optimizer = accelerator.prepare(network, make_optimizer(network, config, capturable=record))
    shared = hasattr(loss, "prepare")  # random numbers of rows, not of processes
    run = run_hash(identity, pairs, config, 1 if shared else accelerator.num_processes)
    if shared and accelerator.num_processes > 1:
        loss = OwnRows(loss, accelerator.process_index, accelerator.num_processes)
    state = TrainingState(network, optimizer, config.ema_decay, state_folder, run, accelerator)
    first = _first_step(state, config)
    curve = Curve(state_folder / "curve.csv", first, state.pending)
    forward = torch.compile(prepared) if config.compile else prepared
    take = Step(forward, loss, optimizer, state, config, accelerator)
    take = RecordedStep(take, text.longest) if record else take

    with (
        lost_processes(accelerator, state.checkpoint),
        graceful_stop() as stop,
        batches(pairs, config, accelerator, first, text, label) as loader,
    ):
        for step, batch in enumerate(loader, start=first):
            share, done = share_of_rate(config, step), step + 1
            set_rates(optimizer, share)
            generator = step_generator(config.seed, step, 0 if shared else accelerator.process_index)
            parts = take(placed(batch, accelerator.device), generator, done)
            curve.add(parts, config.batch_size)
            last, interrupted = done == config.steps, stop.agreed(accelerator, done)
            if done % config.log_every == 0 or last:
                curve.average(accelerator)
                curve.log(done, share * config.learning_rate, state.last_saved, loader)
            if validate is not None and (done % config.validate_every == 0 or last):
                with state.ema_weights():
                    curve.validated(done, validate(prepared))
            if done % config.checkpoint_every == 0 or last or interrupted:
                curve.average(accelerator)
                curve.check_finite(done, state.last_saved)
                if accelerator.is_main_process:
                    curve.flush()  # before the state: rows beyond a checkpoint are dropped, missing ones are lost
                state.save(done, curve.pending())
            if interrupted and not last:
                raise TrainingError(
                    f"{label} was interrupted at step {done} of {config.steps}; run again to go on from there"
                )
    return Fitted(half_rounded({name: value.cpu() for name, value in state.ema.items()}), curve, config.steps - first)


def _first_step(state: TrainingState, config: TrainConfig) -> int:
    """Steps that the saved run has behind it. Raises CheckpointError where they are more than were asked for."""
    first = state.resume()
    if first > config.steps:
        raise CheckpointError(
            f"{state.folder} holds a run of {first} steps, but the recipe asks for {config.steps}: "
            "raise steps, or delete the folder to start anew"
        )
    return first


def run_hash(identity: dict[str, Any], pairs: PairDataset, config: TrainConfig, processes: int = 1) -> str:
    """Fingerprint of everything that decides the weights of a run after any number of its steps.

    The last step decides them only where the rate decays towards it; other runs may be extended.
    """
    settings = {key: value for key, value in decisive(to_dict(config)).items() if config.decay or key != "steps"}
    return fingerprint({**settings, "identity": identity, "data": pairs.fingerprint, "processes": processes})


def share_of_rate(config: TrainConfig, step: int) -> float:
    """Share of the full rate in one step: linear warm-up, then constant or cosine decay to zero at the last step."""
    share = min(1.0, (step + 1) / max(1, config.warmup))
    if config.decay:
        progress = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
        share *= 0.5 * (1 + math.cos(math.pi * progress))
    return share


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """CPU generator for all noise of one step of one process."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def batches(pairs, config: TrainConfig, accelerator: Accelerator, first: int = 0, text=None, label="training") -> tqdm:
    """Collated batches of steps first .. steps - 1 of one process, behind a progress bar."""
    rank, world = accelerator.process_index, accelerator.num_processes
    loader = DataLoader(
        pairs,
        batch_sampler=EpochBatches(len(pairs), config.batch_size, config.seed, config.steps, first, rank, world),
        num_workers=config.workers,
        collate_fn=partial(collate, text=text),
        persistent_workers=config.workers > 0,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=ignore_interrupt,
    )
    hidden = not accelerator.is_main_process
    return tqdm(loader, label, config.steps, initial=first, disable=hidden, unit="step", mininterval=5)


def placed(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch on a device but for `ON_HOST`, images with their channels last; the device is not waited for."""
    there = {k for k, v in batch.items() if isinstance(v, Tensor)} - ON_HOST
    moved = {k: v.to(device, non_blocking=True) if k in there else v for k, v in batch.items()}
    return {**moved, "x": moved["x"].contiguous(memory_format=torch.channels_last)}
