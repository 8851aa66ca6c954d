"""Training of diffusion networks: times, noise, validation, and the model that is kept.

Launch several processes with
`accelerate launch -m gcdp.experiments.train --profile cityscapes --domain streets --model joint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gcdp.data.batches import collate
from gcdp.data.pairs import PairDataset
from gcdp.diffusion.enlarging import SAMPLING_LEVEL, condition
from gcdp.diffusion.joint import GaussianCategoricalDiffusion, Noised
from gcdp.diffusion.schedules import moved
from gcdp.network.unet import LowResolution, UNet
from gcdp.training.checkpoint import ModelCard, save_model, with_training
from gcdp.training.curve import Curve
from gcdp.training.distributed import make_accelerator
from gcdp.training.loop import fit, placed, step_generator
from gcdp.training.recipe import TrainConfig
from gcdp.training.step import Losses
from gcdp.validation import to_dict

PINNED = 3 / 4  # share of the examples off the diagonal that have one chain at an end
CLEAN = 2 / 3  # share of these whose end is 0 and not T: the two conditionals are what such a model is for


class ConditionedUNet(nn.Module):
    """Text encoding and network in one forward pass, so that DDP and autocast wrap both."""

    def __init__(self, unet: UNet):
        super().__init__()
        self.unet = unet

    def hidden_matrices(self) -> list[nn.Parameter]:
        """What Muon may train."""
        return self.unet.hidden_matrices()

    def forward(self, x, y, log_snr_x, log_snr_y, tokens, mask, keep, low_x=None, low_y=None, low_log_snr=None):
        low = None if low_log_snr is None else LowResolution(low_x, low_y, low_log_snr)
        return self.unet(x, y, log_snr_x, log_snr_y, self.unet.encode_text(tokens, mask, keep), low)


@dataclass(frozen=True)
class TrainingResult:
    """Where a run ended: the model folder (EMA weights), its curve, and steps done in this call."""

    folder: Path
    curve: Curve
    steps_run: int


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

    Raises what `gcdp.training.loop.fit` raises, and ConfigError where the device lacks the precision.
    """
    accelerator = accelerator or make_accelerator(config.precision)
    torch.manual_seed(config.seed)
    unet, process = card.build()
    loss = loss_for(card, process, config)
    check = None if validation is None else partial(validate, loss=loss, pairs=validation)
    identity, text = {"card": card.hash()}, pairs.text
    result = fit(
        ConditionedUNet(unet), loss, pairs, config, state_folder, identity, accelerator, text=text, validate=check
    )
    if accelerator.is_main_process:
        weights = {name.removeprefix("unet."): weight for name, weight in result.weights.items()}
        save_model(model_folder, weights, with_training(card, **_facts(config, accelerator)))
        result.curve.copy_to(model_folder / "curve.csv")
    accelerator.wait_for_everyone()
    return TrainingResult(model_folder, result.curve, result.steps_run)


def draw_times(count: int, T: int, diagonal: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times (t_x, t_y), int64 (B,) in 0..T, for one batch.

    A share `diagonal` has t_x = t_y, stratified over 1..T. Of the others a quarter has a clean layout (t_y = 0: image
    given layout), a quarter a clean image (t_x = 0: layout given image), an eighth no layout (t_y = T: image alone), an
    eighth no image (t_x = T: layout alone), and a quarter draws both times independently, for paths between these
    edges. The two are never 0 together.
    """
    offset = torch.rand((), generator=generator)
    strata = (torch.arange(count) + offset) / count
    t_x = 1 + (strata[torch.randperm(count, generator=generator)] * T).long().clamp(max=T - 1)
    t_y = t_x.clone()
    coin, pin, side, end = torch.rand(4, count, generator=generator)
    free = torch.randint(1, T + 1, (count,), generator=generator)
    off_diagonal = coin >= diagonal
    t_y[off_diagonal] = free[off_diagonal]
    pinned = off_diagonal & (pin < PINNED)
    ends = torch.where(end < CLEAN, 0, T)
    t_x = torch.where(pinned & (side < 0.5), ends, t_x)
    t_y = torch.where(pinned & (side >= 0.5), ends, t_y)
    return t_x, t_y


def without_layout(t_x: Tensor, t_y: Tensor, T: int, unlabeled: Tensor) -> tuple[Tensor, Tensor]:
    """Times (B,) where the layout of some examples, bool (B,), is not known: t_y = T; a clean image learns nothing
    there, so t_x = 0 gives way to the other time."""
    return torch.where(unlabeled & (t_x == 0), t_y, t_x), torch.where(unlabeled, T, t_y)


class DiffusionLoss:
    """The loss of a batch: pairs are noised at random times, and the network predicts the clean ones.

    In two parts, so that the second can be recorded as a CUDA graph: `prepare` draws all that is random, `compute` is
    a function of tensors alone.
    """

    INPUTS = ("x_t", "y_t", "log_snr_x", "log_snr_y", "tokens", "mask", "keep")  # of the network

    def __init__(self, process: GaussianCategoricalDiffusion, config: TrainConfig):
        self.process, self.config = process, config

    def __call__(self, forward, batch: dict, generator: torch.Generator) -> Losses:
        return self.compute(forward, self.prepare(batch, generator))

    def prepare(self, batch: dict, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw times, dropped captions and noise of a batch; tensors by name, on the device of its images.

        All that is random is drawn on the CPU; "labeled" of the batch has to lie there, as `loop.placed` leaves it.
        """
        process, count = self.process, len(batch["x"])
        both = process.gaussian is not None and process.categorical is not None
        t_x, t_y = draw_times(count, process.T, self.config.diagonal if both else 1.0, generator)
        if "labeled" in batch:
            t_x, t_y = without_layout(t_x, t_y, process.T, ~batch["labeled"])
        keep = torch.rand(count, generator=generator) >= self.config.text_drop
        return self.at(batch, t_x, t_y, keep, generator)

    def at(self, batch: dict, t_x: Tensor, t_y: Tensor, keep: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What `compute` takes, for given times (B,) and captions to keep (B,)."""
        t_y = torch.zeros_like(t_y) if self.config.times == "image_given_layout" else t_y
        t_x = torch.zeros_like(t_x) if self.config.times == "layout_given_image" else t_x
        x0, y0, labeled = batch["x"], batch["y"], batch.get("labeled")
        if labeled is not None:  # even at t = T one pixel in 100,000 keeps its label
            labeled = moved(labeled, x0.device)
            y0 = torch.where(labeled[:, None, None], y0, 0)
        noised = self.process.q_sample(x0, y0, t_x, t_y, generator)
        given = dict(zip(("log_snr_x", "log_snr_y"), self.process.log_snr(t_x, t_y), strict=True))
        given |= {"keep": keep, "t_x": t_x, "t_y": t_y}
        given = {name: moved(value, x0.device) for name, value in given.items()}
        given |= {"x0": x0, "y0": y0, "x_t": noised.x, "y_t": noised.y, "noise": noised.noise}
        given |= {"tokens": batch["tokens"], "mask": batch["mask"], "labeled": labeled}
        return {name: value for name, value in given.items() if value is not None}

    def held_out(self, batch: dict, t: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What `compute` takes of held-out pairs, both halves at times t (B,), with all of their captions."""
        return self.at(batch, t, t, torch.ones(len(t), dtype=torch.bool), generator)

    def each(self, forward, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of each half per example, (B,) each."""
        output = forward(*(given.get(name) for name in self.INPUTS))
        noised = Noised(given.get("x_t"), given.get("y_t"), given.get("noise"))
        losses = self.process.loss(output, given["x0"], given["y0"], noised, given["t_x"], given["t_y"])
        if "labeled" in given:
            losses["layout"] = losses["layout"] * given["labeled"]
        return losses

    def compute(self, forward, given: dict[str, Tensor]) -> Losses:
        """The losses of what `prepare` drew."""
        losses = self.each(forward, given)
        return Losses(self.process.total(losses), {name: loss.mean() for name, loss in losses.items()})


class EnlargingLoss(DiffusionLoss):
    """The loss of super-resolution: each pair comes with the smaller one of its place, noised to a level of its own.

    Levels are uniform in training; held-out pairs have that which sampling takes by default.
    """

    INPUTS = (*DiffusionLoss.INPUTS, "low_x", "low_y", "low_log_snr")

    def prepare(self, batch: dict, generator: torch.Generator) -> dict[str, Tensor]:
        """As in `DiffusionLoss`, and the smaller pairs."""
        level = torch.rand(len(batch["x"]), generator=generator)
        return {**super().prepare(batch, generator), **self.smaller(batch, level, generator)}

    def held_out(self, batch: dict, t: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """As in `DiffusionLoss`, and the smaller pairs."""
        level = torch.full((len(t),), SAMPLING_LEVEL)
        return {**super().held_out(batch, t, generator), **self.smaller(batch, level, generator)}

    def smaller(self, batch: dict, level: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The smaller pairs, noised to levels (B,) and enlarged, as inputs of the network."""
        process, size = self.process, batch["x"].shape[-2:]
        low = batch["low_x"] if process.gaussian else None, batch["low_y"] if process.categorical else None
        found = condition(process, *low, level, size, generator)
        given = {"low_x": found.x, "low_y": found.y, "low_log_snr": moved(found.log_snr, batch["x"].device)}
        return {name: value for name, value in given.items() if value is not None}


def loss_for(card: ModelCard, process: GaussianCategoricalDiffusion, config: TrainConfig) -> DiffusionLoss:
    """The loss by which a network of this card learns."""
    return (EnlargingLoss if card.unet.low_resolution else DiffusionLoss)(process, config)


def validation_times(count: int, T: int, seed: int = 0) -> Tensor:
    """Times int64 (count,), one from each of `count` equal slices of 1..T, in an order fixed by the seed.

    Slice i holds the times t with i T / count < t <= (i + 1) T / count; its middle is taken. Where pairs are more
    than times, slices share them evenly.
    """
    times = [(i * T // count + 1 + (i + 1) * T // count + 1) // 2 for i in range(count)]
    return torch.tensor(times, dtype=torch.int64)[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]


@torch.no_grad()
def validate(forward, loss: DiffusionLoss, pairs: PairDataset, seed: int = 0) -> dict[str, float]:
    """Mean loss of each half on fixed pairs, at diagonal times spread evenly over 1..T, with fixed noise.

    The times are the same in every run. `forward` is a module; it says on which device to compute.
    """
    config = loss.config
    count = min(config.validate_pairs, len(pairs))
    device, times = next(forward.parameters()).device, validation_times(count, loss.process.T, seed)
    totals: dict[str, Tensor] = {}
    for start in range(0, count, config.batch_size):
        rows = range(start, min(start + config.batch_size, count))
        batch = placed(collate([pairs[(i, 0)] for i in rows], pairs.text), device)
        given = loss.held_out(batch, times[rows.start : rows.stop], step_generator(seed, start, 0))
        for name, values in loss.each(forward, given).items():
            totals[name] = totals.get(name, 0.0) + values.sum() / count
    return {name: float(total) for name, total in totals.items()}


def _facts(config: TrainConfig, accelerator: Accelerator) -> dict:
    return {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "device": accelerator.device.type,
        "precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
        "settings": to_dict(config),
    }
