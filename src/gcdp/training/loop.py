"""The training loop: one function of (card, pairs, settings), resumable to the bit.

Every random number of a step is a function of (seed, step, rank), so an interrupted run that continues from its
checkpoint ends with the weights of an uninterrupted one. Launch several processes with
`accelerate launch -m gcdp.experiments.train --profile cityscapes --domain streets --model joint`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gcdp.data.batches import EpochBatches
from gcdp.data.pairs import PairDataset, collate
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.errors import TrainingError
from gcdp.network.unet import UNet
from gcdp.storage import fingerprint, half_rounded
from gcdp.training.checkpoint import ModelCard, save_model, with_training
from gcdp.training.curve import Curve
from gcdp.training.distributed import graceful_stop, ignore_interrupt, make_accelerator
from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState
from gcdp.validation import to_dict

# settings that may change between an interruption and its continuation
OPERATIONAL = ("log_every", "validate_every", "checkpoint_every", "workers", "compile")


class ConditionedUNet(nn.Module):
    """Text encoding and network in one forward pass, so that DDP and autocast wrap both."""

    def __init__(self, unet: UNet):
        super().__init__()
        self.unet = unet

    def forward(self, x, y, log_snr_x, log_snr_y, tokens, mask, keep):
        return self.unet(x, y, log_snr_x, log_snr_y, self.unet.encode_text(tokens, mask, keep))


@dataclass(frozen=True)
class TrainingResult:
    """Where a run ended: the model folder (EMA weights), its curve, and steps done in this call."""

    folder: Path
    curve: Curve
    steps_run: int


def draw_times(count: int, T: int, diagonal: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times (t_x, t_y), int64 (B,) in 0..T, for one batch.

    A share `diagonal` has t_x = t_y, stratified over 1..T. The others draw the two times independently, and half
    of them pin one chain to clean (0) or to pure noise (T): the conditionals and marginals that outpainting
    and unpaired data ask for. The two are never 0 together.
    """
    offset = torch.rand((), generator=generator)
    strata = (torch.arange(count) + offset) / count
    t_x = 1 + (strata[torch.randperm(count, generator=generator)] * T).long().clamp(max=T - 1)
    t_y = t_x.clone()
    coin, pin, side, end = torch.rand(4, count, generator=generator)
    free = torch.randint(1, T + 1, (count,), generator=generator)
    off_diagonal = coin >= diagonal
    t_y[off_diagonal] = free[off_diagonal]
    ends = torch.where(end < 0.5, 0, T)
    t_x = torch.where(off_diagonal & (pin < 0.5) & (side < 0.5), ends, t_x)
    t_y = torch.where(off_diagonal & (pin < 0.5) & (side >= 0.5), ends, t_y)
    return t_x, t_y


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of one step: linear warm-up, then constant or cosine decay to zero at the last step."""
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))
    if config.decay:
        progress = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * progress))
    return rate


def train(
    card: ModelCard,
    pairs: PairDataset,
    config: TrainConfig,
    state_folder: Path,
    model_folder: Path,
    validation: PairDataset | None = None,
    accelerator: Accelerator | None = None,
) -> TrainingResult:
    """Train a model and write its EMA weights to `model_folder`; resume from `state_folder` where it holds a run.

    Raises TrainingError if the loss stops being finite or the run is interrupted (the last good checkpoint is
    kept), CheckpointError if `state_folder` belongs to other settings or the disk is full, ConfigError where the
    device lacks the precision.
    """
    accelerator = accelerator or make_accelerator(config.precision)
    torch.manual_seed(config.seed)
    unet, process = card.build()
    unet = unet.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        unet.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    network, optimizer = accelerator.prepare(ConditionedUNet(unet), optimizer)
    state = TrainingState(unet, optimizer, config.ema_decay, state_folder, run_hash(card, config), accelerator)
    first = state.resume()
    curve = Curve(state_folder / "curve.csv", first, state.pending)
    step_network = torch.compile(network) if config.compile else network
    loop = _Loop(step_network, process, pairs, config, accelerator)

    with graceful_stop() as stop, loop.batches(first) as batches:
        for step, batch in enumerate(batches, start=first):
            optimizer.param_groups[0]["lr"] = learning_rate(config, step)
            losses = loop.step(optimizer, batch, step)
            done = step + 1
            state.update_ema(done, config.ema_every)
            curve.add(losses, config.batch_size)
            last, interrupted = done == config.steps, stop.agreed(accelerator)
            if done % config.log_every == 0 or last:
                curve.log(done, optimizer.param_groups[0]["lr"], state.last_saved, batches)
            if validation is not None and (done % config.validate_every == 0 or last):
                with state.ema_weights():
                    curve.validated(done, validate(network, process, validation, config, accelerator))
            if done % config.checkpoint_every == 0 or last or interrupted:
                curve.check_finite(done, state.last_saved)
                if accelerator.is_main_process:
                    curve.flush()  # before the state: rows beyond a checkpoint are dropped, missing ones are lost
                state.save(done, curve.pending())
            if interrupted and not last:
                raise TrainingError(
                    f"training was interrupted at step {done} of {config.steps}; run again to go on from there"
                )
    if accelerator.is_main_process:
        save_model(model_folder, half_rounded(state.ema), with_training(card, **_facts(config, accelerator)))
        curve.copy_to(model_folder / "curve.csv")
    accelerator.wait_for_everyone()
    return TrainingResult(model_folder, curve, config.steps - first)


def run_hash(card: ModelCard, config: TrainConfig) -> str:
    """Fingerprint of everything that decides the weights of a run."""
    settings = {k: v for k, v in to_dict(config).items() if k not in OPERATIONAL}
    return fingerprint({"card": card.hash(), **settings})


class _Loop:
    """Batches and steps of one process."""

    def __init__(self, network, process: GaussianCategoricalDiffusion, pairs, config, accelerator):
        self.network, self.process, self.pairs = network, process, pairs
        self.config, self.accelerator = config, accelerator

    def batches(self, first: int) -> tqdm:
        """Collated batches of steps first .. steps - 1, behind a progress bar."""
        c, a = self.config, self.accelerator
        sampler = EpochBatches(
            len(self.pairs),
            c.batch_size,
            c.seed,
            num_steps=c.steps,
            start_step=first,
            rank=a.process_index,
            world=a.num_processes,
        )
        loader = DataLoader(
            self.pairs,
            batch_sampler=sampler,
            num_workers=c.workers,
            collate_fn=partial(collate, text=self.pairs.text),
            persistent_workers=c.workers > 0,
            worker_init_fn=ignore_interrupt,
        )
        return tqdm(
            loader, "training", total=c.steps, initial=first, disable=not a.is_main_process, unit="step", mininterval=5
        )

    def step(self, optimizer, batch: dict, step: int) -> dict[str, Tensor]:
        """One update; returns the batch-mean loss of each half."""
        c, a = self.config, self.accelerator
        generator = step_generator(c.seed, step, a.process_index)
        losses = diffusion_losses(self.network, self.process, batch, c, generator, a.device)
        a.backward(self.process.total(losses))
        if c.clip:
            a.clip_grad_norm_(self.network.parameters(), c.clip)
        optimizer.step()
        optimizer.zero_grad()
        return {name: loss.detach().mean() for name, loss in losses.items()}


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """CPU generator for all noise of one step of one process."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def diffusion_losses(network, process, batch, config, generator, device) -> dict[str, Tensor]:
    """Noise a batch at random times, predict, and score: losses per example, (B,) each."""
    x0, y0 = batch["x"].to(device, memory_format=torch.channels_last), batch["y"].to(device)
    both = process.gaussian is not None and process.categorical is not None
    t_x, t_y = draw_times(len(x0), process.T, config.diagonal if both else 1.0, generator)
    t_y = torch.zeros_like(t_y) if config.times == "image_given_layout" else t_y
    keep = torch.rand(len(x0), generator=generator) >= config.text_drop
    return _losses_at(network, process, batch, x0, y0, t_x, t_y, keep, generator, device)


def _losses_at(network, process, batch, x0, y0, t_x, t_y, keep, generator, device):
    noised = process.q_sample(x0, y0, t_x, t_y, generator)
    levels = [level.to(device) for level in process.log_snr(t_x, t_y)]
    text = batch["tokens"].to(device), batch["mask"].to(device), keep.to(device)
    return process.loss(network(noised.x, noised.y, *levels, *text), x0, y0, noised, t_x, t_y)


@torch.no_grad()
def validate(network, process, pairs: PairDataset, config: TrainConfig, accelerator, seed: int = 0) -> dict[str, float]:
    """Mean loss of each half on fixed pairs, diagonal times spread evenly over 1..T, and fixed noise."""
    count = min(config.validate_pairs, len(pairs))
    totals: dict[str, float] = {}
    for start in range(0, count, config.batch_size):
        rows = range(start, min(start + config.batch_size, count))
        batch = collate([pairs[(i, 0)] for i in rows], pairs.text)
        x0 = batch["x"].to(accelerator.device, memory_format=torch.channels_last)
        y0 = batch["y"].to(accelerator.device)
        t = torch.tensor([1 + (i * 389) % process.T for i in rows])  # 389 is prime: consecutive times lie far apart
        keep = torch.ones(len(t), dtype=torch.bool)
        generator = step_generator(seed, start, 0)
        t_y = torch.zeros_like(t) if config.times == "image_given_layout" else t
        losses = _losses_at(network, process, batch, x0, y0, t, t_y, keep, generator, accelerator.device)
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0.0) + float(loss.sum()) / count
    return totals


def _facts(config: TrainConfig, accelerator: Accelerator) -> dict:
    return {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "settings": to_dict(config),
    }
