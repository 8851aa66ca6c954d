"""The training loop of every referee of ours: one network, one loss, resumable like every other training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gcdp.data.batches import EpochBatches
from gcdp.data.pairs import PairDataset, collate
from gcdp.errors import TrainingError
from gcdp.storage import fingerprint, half_rounded
from gcdp.training.curve import Curve
from gcdp.training.distributed import graceful_stop, make_accelerator
from gcdp.training.loop import learning_rate
from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState
from gcdp.validation import to_dict

# (forward, batch) -> scalar: `forward` is the network in the recipe's precision, the batch lies on its device. The
# loss itself is left in float32 by calling nothing but `forward` in a lower one.
Loss = Callable[[Callable[..., Any], dict[str, Any]], Tensor]


class TrainedReferee(NamedTuple):
    """EMA weights, rounded to what a half-precision release holds, the curve of losses, the device, and the facts."""

    weights: dict[str, Tensor]
    curve: Curve
    device: str
    facts: dict[str, Any]


def train_referee(
    make: Callable[[], nn.Module],
    pairs: PairDataset,
    loss: Loss,
    recipe: TrainConfig,
    identity: dict[str, Any],
    state_folder: Path,
    column: str = "image",
) -> TrainedReferee:
    """Train the network that `make` returns on `pairs`; resume from `state_folder`.

    Args:
        make: called once the recipe's seed is set; draws the first weights.
        identity: JSON-like settings that, with the recipe and the number of pairs, tell this run from others.
        column: of curve.csv, where the loss is noted: "layout" of what reads layouts, "image" of what else is read
            off images.

    Of the recipe it uses steps, batch_size, rate, decay, clip, EMA, precision, seed and the intervals of logging
    and checkpoints. One process trains it; it is small.

    Raises TrainingError if the loss stops being finite or the run is interrupted, CheckpointError if `state_folder`
    belongs to other settings.
    """
    accelerator = make_accelerator(recipe.precision)
    torch.manual_seed(recipe.seed)
    network = make().to(accelerator.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    run = fingerprint({**identity, "pairs": len(pairs), **to_dict(recipe)})
    state = TrainingState(network, optimizer, recipe.ema_decay, state_folder, run, accelerator)
    first = state.resume()
    curve = Curve(state_folder / "curve.csv", first, state.pending)
    network.train()
    with graceful_stop() as stop:
        for step, batch in enumerate(_batches(pairs, recipe, first), start=first):
            rate = optimizer.param_groups[0]["lr"] = learning_rate(recipe, step)
            value = _step(network, optimizer, loss, batch, recipe, accelerator)
            done = step + 1
            state.update_ema(done, recipe.ema_every)
            curve.add({column: value}, recipe.batch_size)
            last = done == recipe.steps
            if done % recipe.log_every == 0 or last:
                curve.log(done, rate, state.last_saved)
            if done % recipe.checkpoint_every == 0 or last or stop.requested:
                curve.check_finite(done, state.last_saved)
                curve.flush()
                state.save(done, curve.pending())
            if stop.requested and not last:
                raise TrainingError(
                    f"training of the referee was interrupted at step {done} of {recipe.steps}: run again to go on"
                )
    facts = {"scenes": len(pairs), "split": pairs.store.split, "recipe": to_dict(recipe)}
    return TrainedReferee(half_rounded(state.ema), curve, accelerator.device.type, facts)


def _batches(pairs: PairDataset, recipe: TrainConfig, first: int) -> tqdm:
    sampler = EpochBatches(len(pairs), recipe.batch_size, recipe.seed, num_steps=recipe.steps, start_step=first)
    loader = DataLoader(pairs, batch_sampler=sampler, num_workers=recipe.workers, collate_fn=collate)
    return tqdm(loader, "referee", total=recipe.steps, initial=first, unit="step", mininterval=5)


def _step(
    network: nn.Module, optimizer, loss: Loss, batch: dict, recipe: TrainConfig, accelerator: Accelerator
) -> Tensor:
    def forward(*inputs: Tensor) -> Any:
        with accelerator.autocast():
            return network(*inputs)

    value = loss(forward, _placed(batch, accelerator.device))
    accelerator.backward(value)
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimizer.step()
    optimizer.zero_grad()
    return value.detach()


def _placed(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch on a device, images with their channels last."""
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    return {**moved, "x": moved["x"].contiguous(memory_format=torch.channels_last)}
