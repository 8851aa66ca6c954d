"""Images made worse on purpose: less contrast, blur, noise.

Referees learn on such images, so that they can still read what a generator draws imperfectly, and are measured on
real ones spoiled at stated strengths. Strengths are stated in gray levels of 255 and in pixels; contrast changes
first, then comes the blur, then the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.data.images import GRAY_LEVELS, to_tensor, to_uint8
from gcdp.errors import ConfigError
from gcdp.validation import require_range

WIDTHS = (1, 3, 5)  # of blurs, pixels
_REACH = WIDTHS[-1] // 2


@dataclass(frozen=True)
class SpoilingConfig:
    """How strongly a referee's training images are spoiled at most; the default leaves all as they are.

    Each image of a batch draws its own strengths: `noise` and `brightness` in gray levels of 255 (standard deviation
    of the noise, shift up or down), `blur` the widest kernel in pixels, box or Gaussian, `contrast` the largest
    relative change. A share `clean` of the images is not touched.
    """

    noise: float = 0.0
    blur: int = 1
    contrast: float = 0.0
    brightness: float = 0.0
    clean: float = 0.25

    def __post_init__(self) -> None:
        require_range(self, "noise brightness", 0, 255)
        require_range(self, "contrast clean", 0, 1)
        if self.blur not in WIDTHS:
            raise ConfigError(f"blur must be one of {', '.join(map(str, WIDTHS))}, got {self.blur}")

    @property
    def active(self) -> bool:
        """Whether any image changes."""
        return self.clean < 1 and (self.noise > 0 or self.blur > 1 or self.contrast > 0 or self.brightness > 0)


class Strengths(NamedTuple):
    """What happens to each of B images: standard deviation and shift in gray levels and factor of contrast, (B,) each,
    and the weights (B, 5) of a kernel that blurs along rows and columns."""

    noise: Tensor
    kernel: Tensor
    contrast: Tensor
    brightness: Tensor


def draw_strengths(config: SpoilingConfig, count: int, generator: torch.Generator) -> Strengths:
    """Strengths for `count` images, uniform up to those of `config`; always takes the same numbers from `generator`."""
    untouched, noise, width, contrast, brightness = torch.rand(5, count, generator=generator)
    changed = (untouched >= config.clean).float()
    kernels = torch.stack([k for size in WIDTHS if size <= config.blur for k in _kernels(size)])
    chosen = (width * len(kernels)).long() * changed.long()
    return Strengths(
        noise=config.noise * noise * changed,
        kernel=kernels[chosen],
        contrast=1 + config.contrast * (2 * contrast - 1) * changed,
        brightness=config.brightness * (2 * brightness - 1) * changed,
    )


def apply_strengths(x: Tensor, strengths: Strengths, generator: torch.Generator) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], on any device -> the spoiled ones, clipped.

    Contrast changes about the mean of an image. `generator` is one of the CPU, so that devices agree.
    """
    noise, kernel, contrast, brightness = (
        strength.to(x.device, non_blocking=True).reshape(len(x), -1, 1, 1) for strength in strengths
    )
    mean = x.mean((1, 2, 3), keepdim=True)
    out = _blur(mean + contrast * (x - mean) + brightness / GRAY_LEVELS, kernel)
    draws = torch.randn(x.shape, generator=generator).to(x.device, non_blocking=True)
    out = (out + noise / GRAY_LEVELS * draws).clamp_(-1, 1)
    untouched = (noise == 0) & (kernel[:, _REACH : _REACH + 1] == 1) & (contrast == 1) & (brightness == 0)
    return torch.where(untouched, x, out)


def spoil_batch(x: Tensor, config: SpoilingConfig, generator: torch.Generator) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> each spoiled at random as `config` says; they themselves if it says nothing."""
    return apply_strengths(x, draw_strengths(config, len(x), generator), generator) if config.active else x


def spoil_images(
    images: np.ndarray, *, noise: float = 0.0, blur: int = 1, contrast: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Images uint8 (N, H, W, 3) -> all spoiled alike: noise of so many gray levels, a box blur so many pixels wide,
    a factor of contrast. Raises ConfigError for a width that is none of `WIDTHS`."""
    if blur not in WIDTHS:
        raise ConfigError(f"blur must be one of {', '.join(map(str, WIDTHS))}, got {blur}")
    alike = torch.ones(len(images))
    strengths = Strengths(noise * alike, _kernels(blur)[0].expand(len(images), -1), contrast * alike, 0 * alike)
    return to_uint8(apply_strengths(to_tensor(images), strengths, torch.Generator().manual_seed(seed)))


def _kernels(width: int) -> list[Tensor]:
    """The box of that width and, where it is wider than a pixel, a Gaussian cut off at it, (5,) each; sums are 1."""
    places = torch.arange(-_REACH, _REACH + 1).float()
    inside = (places.abs() <= width // 2).float()
    if width == 1:
        return [inside]
    gaussian = inside * torch.exp(-0.5 * (places / (0.15 * width + 0.35)) ** 2)  # OpenCV's deviation for a width
    return [inside / inside.sum(), gaussian / gaussian.sum()]


def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Images (B, 3, H, W), weights (B, 5, 1, 1) of each -> the images smoothed along rows and columns; edges repeat."""
    for axis, padding in ((3, (_REACH, _REACH, 0, 0)), (2, (0, 0, _REACH, _REACH))):
        padded, size = F.pad(x, padding, mode="replicate"), x.shape[axis]
        x = sum(padded.narrow(axis, i, size) * kernel[:, i : i + 1] for i in range(kernel.shape[1]))
    return x
