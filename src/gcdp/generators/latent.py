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
from torch import Tensor
from torch.utils.data import Dataset

from gcdp.data.pairs import PairDataset
from gcdp.devices import default_device
from gcdp.errors import CheckpointError, ConfigError
from gcdp.generators.autoencoder import NAME, Autoencoder, AutoencoderConfig, load_autoencoder, save_autoencoder
from gcdp.generators.autoencoder_training import train_autoencoder
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.samples import Samples
from gcdp.storage import fingerprint
from gcdp.text.encoder import load_encoder
from gcdp.training.checkpoint import ModelCard, load_model, with_training
from gcdp.training.diffusion import TrainingResult, train
from gcdp.training.distributed import make_accelerator
from gcdp.training.recipe import TrainConfig


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

    @property
    def fingerprint(self) -> str:
        """Short hash of everything that decides the items."""
        return fingerprint({"pairs": self.pairs.fingerprint, "autoencoder": self.autoencoder.identity})

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

    fixed_settings = {"threshold": 0.0}

    def __init__(self, unet, process, card: ModelCard, encode, autoencoder: Autoencoder, dtype: str = "auto"):
        super().__init__(unet, process, card, encode, dtype)
        self.autoencoder = autoencoder

    def sample(
        self, captions, num_steps: int = 50, guidance=2.0, seed=0, *, threshold: float = 0.95, **settings
    ) -> Samples:
        """Draw one image for each caption; see `Pipeline.sample` for the arguments and errors.

        `threshold` is taken, so that all kinds of models are called alike, and not used: dynamic thresholding is about
        saturated pixels, while latents are only clamped to the range they have in training. The settings of the
        samples say so (threshold 0). No known half can be given.
        """
        if any(settings.get(f"{mask}images") is not None for mask in ("", "mask_")):
            raise ConfigError(
                "images are given, but no part of a latent map belongs to a part of the image: leave them out"
            )
        samples = super().sample(captions, num_steps, guidance, seed, **{**settings, **self.fixed_settings})
        samples.settings["autoencoder"] = self.card.training[NAME]
        return samples

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of a latent map."""
        return self.autoencoder.map_size(self.card.size)

    def pixels(self, x: Tensor) -> Tensor:
        """Images of latents; gradients pass."""
        return self.autoencoder.decode(x)

    def encoded(self, pixels: Tensor) -> Tensor:
        """Latents of images."""
        return self.autoencoder.encode(pixels)


def load_latent(
    path: str | Path,
    device: str | None = None,
    text_folder: str | Path | None = None,
    expected: ModelCard | None = None,
    dtype: str = "auto",
) -> LatentPipeline:
    """Load a model folder of `train_latent`; the arguments are those of `gcdp.load_pipeline`.

    `expected`: refuse weights of another network, process, classes, size or text encoder than those of this card
    (see `latent_card`). Raises CheckpointError for missing, damaged or mismatched files, ConfigError for an unknown
    encoder or where diffusers is not installed.
    """
    path = Path(path)
    device = default_device(device)
    unet, process, card = load_model(path, expected)
    if NAME not in card.training:
        raise CheckpointError(f"{path} holds no latent model: open it with gcdp.load_pipeline")
    autoencoder = load_autoencoder(path, device)
    if card.training[NAME] != autoencoder.identity:
        raise CheckpointError(f"{path} holds a diffusion and an autoencoder of two trainings: train the model again")
    encoder = load_encoder(card.encoder, max_tokens=card.max_tokens, folder=text_folder)
    return LatentPipeline(unet.to(device), process, card, encoder.encode, autoencoder, dtype)


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

    Raises ConfigError where image size, autoencoder and network do not fit, and what `gcdp.training.diffusion.train`
    raises.
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
