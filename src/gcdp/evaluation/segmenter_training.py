"""Training of the referee: plain cross-entropy on real or drawn scenes, resumable like every other training."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from gcdp.checkpoint import fingerprint, half_rounded
from gcdp.config import TrainConfig
from gcdp.data.batches import EpochBatches
from gcdp.data.pairs import PairDataset, collate
from gcdp.errors import TrainingError
from gcdp.evaluation.segmenter import SegmentationNet, Segmenter, SegmenterConfig, load_segmenter, save_segmenter
from gcdp.processes import graceful_stop, make_accelerator
from gcdp.settings import to_dict
from gcdp.training import learning_rate
from gcdp.training_state import Curve, TrainingState


def train_segmenter(
    config: SegmenterConfig, pairs: PairDataset, recipe: TrainConfig, state_folder: Path, folder: Path
) -> Segmenter:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    Of the recipe it uses steps, batch_size, rate, decay, clip, EMA, precision, seed and the intervals of logging
    and checkpoints. One process trains it; it is small.

    Raises TrainingError if the loss stops being finite or the run is interrupted, CheckpointError if `state_folder`
    belongs to other settings.
    """
    accelerator = make_accelerator(recipe.precision)
    torch.manual_seed(recipe.seed)
    classes = pairs.store.classes
    network = SegmentationNet(config, classes.num_classes).to(accelerator.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    run = fingerprint({"segmenter": to_dict(config), "pairs": len(pairs), **to_dict(recipe)})
    state = TrainingState(network, optimizer, recipe.ema_decay, state_folder, run, accelerator)
    first = state.resume()
    curve = Curve(state_folder / "curve.csv", first, state.pending)
    network.train()
    with graceful_stop() as stop:
        for step, batch in enumerate(_batches(pairs, recipe, first), start=first):
            rate = optimizer.param_groups[0]["lr"] = learning_rate(recipe, step)
            loss = _step(network, optimizer, batch, recipe, accelerator)
            done = step + 1
            state.update_ema(done, recipe.ema_every)
            curve.add({"layout": loss}, recipe.batch_size)
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
    save_segmenter(folder, half_rounded(state.ema), config, classes, facts)
    curve.copy_to(folder / "curve.csv")
    return load_segmenter(folder, accelerator.device.type)


def _batches(pairs: PairDataset, recipe: TrainConfig, first: int) -> tqdm:
    sampler = EpochBatches(len(pairs), recipe.batch_size, recipe.seed, num_steps=recipe.steps, start_step=first)
    loader = DataLoader(pairs, batch_sampler=sampler, num_workers=recipe.workers, collate_fn=collate)
    return tqdm(loader, "referee", total=recipe.steps, initial=first, unit="step", mininterval=5)


def _step(network, optimizer, batch: dict, recipe: TrainConfig, accelerator) -> torch.Tensor:
    x = batch["x"].to(accelerator.device, memory_format=torch.channels_last)
    with accelerator.autocast():
        logits, _ = network(x)
    loss = F.cross_entropy(logits.float(), batch["y"].to(accelerator.device))
    accelerator.backward(loss)
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()
