"""Latent diffusion (Rombach et al. 2022): our network and process on the latents of an autoencoder.

Both halves are trained in turn, the autoencoder on images alone and then the diffusion on its latents and the text.
The published first stage also has a perceptual and an adversarial loss; the small one here has neither, only the mean
absolute error and a little KL, and its images are the softer for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gcdp.data.batches import EpochBatches
from gcdp.data.pairs import PairDataset, collate
from gcdp.errors import CheckpointError, ConfigError, TrainingError
from gcdp.generators.autoencoder import (
    NAME,
    Autoencoder,
    AutoencoderConfig,
    diffusers_class,
    load_autoencoder,
    pretrained_autoencoder,
    reconstruction,
    save_autoencoder,
    standardized,
)
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.samples import Samples
from gcdp.storage import fingerprint, half_rounded
from gcdp.text.encoder import load_encoder
from gcdp.training.checkpoint import ModelCard, load_model, with_training
from gcdp.training.curve import Curve
from gcdp.training.distributed import graceful_stop, ignore_interrupt, make_accelerator
from gcdp.training.loop import OPERATIONAL, TrainingResult, learning_rate, step_generator, train
from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState
from gcdp.validation import to_dict

FIRST_LOG_VARIANCE = -6.0  # of the latents before training


@dataclass(frozen=True)
class LatentConfig:
    """The autoencoder, and sizes in which the network on latents differs from that on images.

    `stem_width` 0 and empty `widths` or `blocks` keep the sizes of the card. Latent maps are small, so that a wider
    network costs no more than one on images.
    """

    autoencoder: AutoencoderConfig = AutoencoderConfig()
    stem_width: int = 0
    widths: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


class LatentPairs(Dataset):
    """Pairs whose "x" (C, h, w) are latents of the augmented image; everything else is as in `pairs`."""

    def __init__(self, pairs: PairDataset, autoencoder: Autoencoder):
        self.pairs, self.autoencoder, self.text = pairs, autoencoder, pairs.text

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: tuple[int, int]) -> dict:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: list[tuple[int, int]]) -> list[dict]:
        """The items of one batch, encoded together: the loader asks for them in this way."""
        plain = [self.pairs[item] for item in items]
        latents = self.autoencoder.encode(torch.stack([item["x"] for item in plain])).cpu()
        return [{**item, "x": x} for item, x in zip(plain, latents, strict=True)]


class LatentPipeline(Pipeline):
    """Captions in, images out; `layouts` of its samples are None. Made by `load_latent`."""

    def __init__(self, unet, process, card: ModelCard, text, autoencoder: Autoencoder):
        super().__init__(unet, process, card, text)
        self.autoencoder = autoencoder

    def sample(
        self, captions, num_steps: int = 50, guidance=2.0, seed=0, *, threshold: float = 0.95, **settings
    ) -> Samples:
        """Draw one image for each caption; see `Pipeline.sample` for the arguments and errors.

        `threshold` is taken, so that all kinds of models are asked alike, and not used: dynamic thresholding is about
        saturated pixels, while latents are only clamped to the range they have in training. The settings of the
        samples say so (threshold 0). Known halves are refused with ConfigError.
        """
        for half in ("images", "layouts"):
            if settings.get(half) is not None:
                raise ConfigError(f"a latent model cannot be given {half}: leave them out")
        samples = super().sample(captions, num_steps, guidance, seed, threshold=0.0, **settings)
        samples.settings["autoencoder"] = self.card.training[NAME]
        return samples

    @property
    def _map_size(self) -> tuple[int, int]:
        return self.autoencoder.map_size(self.card.size)

    def _pixels(self, x: Tensor) -> Tensor:
        return self.autoencoder.decode(x)


def load_latent(
    path: str | Path,
    device: str | None = None,
    text_folder: str | Path | None = None,
    expected: ModelCard | None = None,
) -> LatentPipeline:
    """Load a model folder of `train_latent`; the arguments are those of `gcdp.load_pipeline`.

    `expected`: refuse weights of another network, process, classes, size or text encoder than those of this card
    (see `latent_card`). Raises CheckpointError for missing, damaged or mismatched files, ConfigError for an unknown
    encoder or where diffusers is not installed.
    """
    path = Path(path)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    unet, process, card = load_model(path, expected)
    if NAME not in card.training:
        raise CheckpointError(f"{path} holds no latent model: open it with gcdp.load_pipeline")
    autoencoder = load_autoencoder(path, device)
    if card.training[NAME] != autoencoder.identity:
        raise CheckpointError(f"{path} holds a diffusion and an autoencoder of two trainings: train the model again")
    encoder = load_encoder(card.encoder, max_tokens=card.max_tokens, folder=text_folder)
    return LatentPipeline(unet.to(device), process, card, encoder.encode, autoencoder)


def latent_card(card: ModelCard, config: LatentConfig, channels: int | None = None) -> ModelCard:
    """The card of the latent model from that of any model of a profile; `size` stays that of the images.

    `channels` are those of a published autoencoder, else the configured ones.
    """
    changes: dict[str, Any] = {"stem_width": config.stem_width, "widths": config.widths, "blocks": config.blocks}
    changes = {name: value for name, value in changes.items() if value}
    channels = channels or config.autoencoder.channels
    return replace(card, unet=replace(card.unet, image_channels=channels, num_classes=0, **changes))


def train_latent(
    card: ModelCard,
    pairs: PairDataset,
    config: LatentConfig,
    recipe: TrainConfig,
    state_folder: Path,
    model_folder: Path,
    validation: PairDataset | None = None,
    accelerator: Accelerator | None = None,
) -> TrainingResult:
    """Train autoencoder and diffusion, each resumable, and write both to `model_folder`.

    Args:
        card: of any model of the profile; `latent_card` makes ours from it.
        pairs, validation: pairs with images; validation without augmentation.
        recipe: of the diffusion. The autoencoder follows it but for its own steps and rate.
        state_folder: holds a folder for each half; that of the diffusion is named after the autoencoder.

    Raises ConfigError where image size, autoencoder and network do not fit, and what `gcdp.training.loop.train` raises.
    """
    state_folder, model_folder = Path(state_folder), Path(model_folder)
    accelerator = accelerator or make_accelerator(recipe.precision)
    if not config.autoencoder.pretrained:  # before minutes are spent
        _check_size(latent_card(card, config), config.autoencoder.factor)
    autoencoder = train_autoencoder(config.autoencoder, pairs, recipe, state_folder / NAME, validation, accelerator)
    card = latent_card(card, config, autoencoder.channels)
    _check_size(card, autoencoder.factor)
    if accelerator.is_main_process:
        save_autoencoder(model_folder, autoencoder)
    accelerator.wait_for_everyone()
    autoencoder = load_autoencoder(model_folder, accelerator.device)  # what is saved is what the diffusion learns
    return train(
        with_training(card, **{NAME: autoencoder.identity}),
        LatentPairs(pairs, autoencoder),
        replace(recipe, workers=0),  # images are encoded on the device of the training process
        state_folder / f"diffusion-{autoencoder.identity}",
        model_folder,
        None if validation is None else LatentPairs(validation, autoencoder),
        accelerator,
    )


def _check_size(card: ModelCard, factor: int) -> None:
    total = factor * card.unet.downsampling
    if card.size[0] % total or card.size[1] % total:
        raise ConfigError(
            f"image size {list(card.size)} must be a multiple of {total}, {factor} for the autoencoder times "
            f"{card.unet.downsampling} for the network: give either fewer widths, or change the size"
        )


class _Objective(nn.Module):
    """The training loss in one forward pass, so that DDP and autocast wrap encoder and decoder."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean absolute error, and KL to a standard normal in nats a pixel value; both scalar."""
        posterior = self.network.encode(x).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        error = (self.network.decode(mean + std * noise).sample.float() - x).abs().mean()
        return error, posterior.kl().float().sum() / x.numel()


def train_autoencoder(
    config: AutoencoderConfig,
    pairs: PairDataset,
    recipe: TrainConfig,
    state_folder: Path,
    validation: PairDataset | None,
    accelerator: Accelerator,
) -> Autoencoder:
    """The autoencoder of `config`: trained on the images of `pairs`, resumable from `state_folder`, or published.

    Of the recipe it uses batch_size, betas, decay, clip, EMA, precision, seed and the intervals of logging and
    checkpoints. `facts` of the result hold the error of reconstruction on `validation`.

    Raises ConfigError for a published autoencoder that cannot be had, TrainingError if the loss stops being finite
    or the run is interrupted, CheckpointError if `state_folder` belongs to other settings.
    """
    if config.pretrained:
        network, architecture = pretrained_autoencoder(config.pretrained)
        facts = {"pretrained": config.pretrained}
    else:
        recipe = replace(recipe, steps=config.steps, learning_rate=config.learning_rate)
        architecture = config.architecture()
        torch.manual_seed(recipe.seed)
        network = diffusers_class()(**architecture).to(memory_format=torch.channels_last)
        with torch.no_grad():  # a posterior as wide as its prior would drown what the encoder has yet to learn
            network.quant_conv.bias[config.channels :] = FIRST_LOG_VARIANCE
        weights = _fit(network, config, pairs, recipe, state_folder, accelerator)
        network.load_state_dict(half_rounded(weights))
        facts = {"images": len(pairs), "steps": config.steps, "config": to_dict(config)}
    autoencoder = standardized(network.to(accelerator.device), architecture, pairs, facts)
    if validation is not None:
        autoencoder.facts["reconstruction"] = reconstruction(autoencoder, validation)
    return autoencoder


def _fit(network, config, pairs, recipe: TrainConfig, state_folder: Path, accelerator) -> dict[str, Tensor]:
    """EMA weights after `recipe.steps` steps."""
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    objective, optimizer = accelerator.prepare(_Objective(network), optimizer)
    settings = {k: v for k, v in to_dict(recipe).items() if k not in OPERATIONAL}
    run = fingerprint({"autoencoder": to_dict(config), "images": len(pairs), **settings})
    state = TrainingState(network, optimizer, recipe.ema_decay, state_folder, run, accelerator)
    first = state.resume()
    curve = Curve(state_folder / "curve.csv", first, state.pending)
    with graceful_stop() as stop:
        for step, batch in enumerate(_batches(pairs, recipe, first, accelerator), start=first):
            rate = optimizer.param_groups[0]["lr"] = learning_rate(recipe, step)
            generator = step_generator(recipe.seed, step, accelerator.process_index)
            error, kl = objective(batch["x"].to(accelerator.device, memory_format=torch.channels_last), generator)
            accelerator.backward(error + config.kl_weight * kl)
            if recipe.clip:
                accelerator.clip_grad_norm_(objective.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            done = step + 1
            state.update_ema(done, recipe.ema_every)
            curve.add({"image": error.detach()}, recipe.batch_size)
            last, interrupted = done == recipe.steps, stop.agreed(accelerator)
            if done % recipe.log_every == 0 or last:
                curve.log(done, rate, state.last_saved)
            if done % recipe.checkpoint_every == 0 or last or interrupted:
                curve.check_finite(done, state.last_saved)
                if accelerator.is_main_process:
                    curve.flush()
                state.save(done, curve.pending())
            if interrupted and not last:
                raise TrainingError(
                    f"training of the autoencoder was interrupted at step {done} of {recipe.steps}: run again to go on"
                )
    return state.ema


def _batches(pairs: PairDataset, recipe: TrainConfig, first: int, accelerator) -> tqdm:
    rank, world = accelerator.process_index, accelerator.num_processes
    sampler = EpochBatches(len(pairs), recipe.batch_size, recipe.seed, recipe.steps, first, rank, world)
    loader = DataLoader(
        pairs,
        batch_sampler=sampler,
        num_workers=recipe.workers,
        collate_fn=collate,
        worker_init_fn=ignore_interrupt,
    )
    hidden = not accelerator.is_main_process
    return tqdm(loader, "autoencoder", recipe.steps, initial=first, disable=hidden, unit="step", mininterval=5)
