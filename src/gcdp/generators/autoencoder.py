"""The autoencoder of latent diffusion (Rombach et al. 2022): images to small maps and back.

The network is `AutoencoderKL` of diffusers, either a small one trained here or one published by name, as Stable
Diffusion's. Its latents are shifted and scaled channel by channel, so that the diffusion finds them within [-1, 1]
as it finds images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcdp.data.images import GRAY_LEVELS
from gcdp.data.pairs import PairDataset
from gcdp.errors import CheckpointError, ConfigError
from gcdp.validation import require_range
from gcdp.weights import Guard, load_weights, to_half

FORMAT = 1
NAME = "autoencoder"  # of the two files in a model folder
BATCH = 16  # images encoded at once where latents are measured
MEASURED = 1024  # images whose latents decide shift and scale
INSIDE = 0.999  # share of latents that the scale puts within [-1, 1]
DEAD = 1e-3  # smallest scale: a channel that hardly varies must not become a channel of noise
GUARD = Guard("fetch it again or train the latent model", NAME, f"{NAME}.json", bound=True)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes and training of the autoencoder, or the published one to take in its place.

    Args:
        channels: of a latent map.
        widths: one entry a level; each level but the first halves height and width.
        blocks: residual blocks a level of the encoder, the decoder has one more.
        groups: of every group normalization.
        attention: self-attention at the deepest level.
        kl_weight: factor of the KL term, relative to an error that is summed over pixels.
        steps, learning_rate: of its training; everything else follows the recipe of the diffusion.
        pretrained: name on the Hugging Face hub, or a local folder, of a diffusers autoencoder. Only `pretrained`
            itself then matters, and nothing is trained.
    """

    channels: int = 4
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    groups: int = 8
    attention: bool = False
    kl_weight: float = 1e-6
    steps: int = 1200
    learning_rate: float = 1e-3
    pretrained: str = ""

    def __post_init__(self) -> None:
        require_range(self, "channels widths blocks groups steps", 1)
        require_range(self, "kl_weight learning_rate", 0, 1)
        if not self.widths or any(width % self.groups for width in self.widths):
            raise ConfigError(f"autoencoder widths must be multiples of groups = {self.groups}, got {self.widths}")

    @property
    def factor(self) -> int:
        """How many pixels wide and high one latent is."""
        return 2 ** (len(self.widths) - 1)

    def architecture(self) -> dict[str, Any]:
        """What `AutoencoderKL` is called with."""
        levels = len(self.widths)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "block_out_channels": list(self.widths),
            "layers_per_block": self.blocks,
            "latent_channels": self.channels,
            "norm_num_groups": self.groups,
            "mid_block_add_attention": self.attention,
        }


@dataclass
class Autoencoder:
    """A trained autoencoder with the shift and scale of its latents, one value a channel.

    `architecture` is what rebuilds the network, `facts` says how it came about. `identity` is the fingerprint under
    which weights, shift and scale were saved; it is empty before.
    """

    network: nn.Module
    architecture: dict[str, Any]
    mean: list[float]
    scale: list[float]
    facts: dict[str, Any] = field(default_factory=dict)
    identity: str = ""

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @property
    def channels(self) -> int:
        """Channels of a latent map."""
        return self.architecture["latent_channels"]

    @property
    def factor(self) -> int:
        """How many pixels wide and high one latent is."""
        return 2 ** (len(self.architecture["block_out_channels"]) - 1)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def map_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the latents of images of `size`."""
        return size[0] // self.factor, size[1] // self.factor

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> latents (B, C, H/f, W/f), the modes, nearly all within [-1, 1]."""
        latents = self.network.encode(x.to(self.device)).latent_dist.mode()
        return (latents - self._vector(self.mean)) / self._vector(self.scale)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) as `encode` returns them -> images (B, 3, f h, f w), clamped to [-1, 1]; differentiable
        in the latents."""
        latents = latents.to(self.device) * self._vector(self.scale) + self._vector(self.mean)
        return self.network.decode(latents).sample.clamp(-1, 1)

    def _vector(self, values: list[float]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, -1, 1, 1)


def diffusers_class():
    """`AutoencoderKL`, imported only when needed. Raises ConfigError where diffusers is not installed."""
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise ConfigError(f"latent diffusion needs the package diffusers ({error}): pip install diffusers") from error
    return AutoencoderKL


def pretrained_autoencoder(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A published network by name or folder, and its architecture.

    Raises ConfigError where it cannot be had or holds no safetensors.
    """
    kind = diffusers_class()
    try:
        network = kind.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"autoencoder.pretrained '{name}' cannot be loaded ({reason}): name a folder with config.json and "
            "diffusion_pytorch_model.safetensors, or a model of the hub"
        ) from error
    known = AutoencoderConfig().architecture()
    return network.float(), {key: network.config[key] for key in known}


def standardized(network: nn.Module, architecture: dict[str, Any], pairs: PairDataset, facts=None) -> Autoencoder:
    """The autoencoder with shift and scale measured on the first pairs, drawn as training draws them first.

    The shift is the mean of a channel, the scale the distance from it within which 99.9 % of its values lie.
    """
    channels = architecture["latent_channels"]
    autoencoder = Autoencoder(network, architecture, [0.0] * channels, [1.0] * channels, facts or {})
    latents = torch.cat([autoencoder.encode(x).cpu() for x in image_batches(pairs, MEASURED)])
    flat = latents.transpose(0, 1).flatten(1)
    distances = (flat - flat.mean(1, keepdim=True)).abs().sort(1).values
    rank = math.ceil(INSIDE * distances.shape[1]) - 1
    autoencoder.mean = flat.mean(1).tolist()
    autoencoder.scale = distances[:, rank].clamp(min=DEAD).tolist()
    return autoencoder


def image_batches(pairs: PairDataset, count: int):
    """Images (B, 3, H, W) in [-1, 1] of the first `count` pairs."""
    count = min(count, len(pairs))
    for start in range(0, count, BATCH):
        yield torch.stack([pairs[(i, 0)]["x"] for i in range(start, min(start + BATCH, count))])


def reconstruction(autoencoder: Autoencoder, pairs: PairDataset, count: int = 128) -> dict[str, float]:
    """Error of images that went through the latents: {"l1": of 255 gray levels, "psnr": dB, "n": images}.

    The PSNR is that of the mean squared error over all images, with a peak of 255.
    """
    absolute = squared = numbers = images = 0.0
    for x in image_batches(pairs, count):
        error = (autoencoder.decode(autoencoder.encode(x)).cpu() - x) * GRAY_LEVELS
        absolute, squared = absolute + float(error.abs().sum()), squared + float(error.square().sum())
        numbers, images = numbers + error.numel(), images + len(x)
    psnr = 10 * math.log10(255**2 / max(squared / numbers, 1e-12))
    return {"l1": absolute / numbers, "psnr": psnr, "n": int(images)}


def save_autoencoder(folder: Path, autoencoder: Autoencoder) -> None:
    """Write autoencoder.safetensors, in half precision, and autoencoder.json, each atomically."""
    card = {
        "format": FORMAT,
        "architecture": autoencoder.architecture,
        "mean": autoencoder.mean,
        "scale": autoencoder.scale,
        "facts": autoencoder.facts,
    }
    GUARD.save(folder, to_half(autoencoder.network.state_dict()), card)


def load_autoencoder(folder: Path, device: str | torch.device = "cpu") -> Autoencoder:
    """Read what `save_autoencoder` wrote. Raises CheckpointError if it is missing, damaged or altered."""
    card, path = GUARD.read(folder), Path(folder) / GUARD.card
    if card.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of another format than {FORMAT}: {GUARD.remedy}")
    try:
        architecture, mean, scale, facts = (card[key] for key in ("architecture", "mean", "scale", "facts"))
        network = diffusers_class()(**architecture)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not describe a network of this version ({error}): {GUARD.remedy}"
        ) from error
    network = load_weights(network, GUARD.weights(folder, card), device)
    return Autoencoder(network, architecture, mean, scale, facts, card["hash"])
