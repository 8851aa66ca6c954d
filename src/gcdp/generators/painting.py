"""Painting functions: what a picture becomes when only its colors and rough shapes count (f of GradOP), and distances.

A painting function maps pictures x (B, 3, H, W) in [-1, 1] to pictures of that shape, given the strokes that they are
held against, (B, 3, H, W); gradients pass through it. A distance maps what was painted, the strokes and their mask
(B, H, W) to one number for each picture, (B,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.errors import ConfigError

Painting = Callable[[Tensor, Tensor], Tensor]
Distance = Callable[[Tensor, Tensor, Tensor], Tensor]
SIGMA_AT_512 = 7.0  # the authors' blur for pictures of 512 pixels


@dataclass(frozen=True)
class Blur:
    """Gaussian blur of standard deviation `sigma` pixels, mirrored at the edges.

    The authors have 7 pixels at 512 x 512; `Blur.at` scales that to another size. Raises ConfigError unless sigma > 0.
    """

    sigma: float

    def __post_init__(self) -> None:
        if not isinstance(self.sigma, Real) or not 0 < self.sigma < math.inf:
            raise ConfigError(f"sigma of the blur must be above 0 pixels, got {self.sigma!r}")

    @classmethod
    def at(cls, height: int) -> Blur:
        """The authors' blur for pictures of so many rows."""
        return cls(SIGMA_AT_512 * height / 512)

    def __call__(self, x: Tensor, strokes: Tensor | None = None) -> Tensor:
        radius = min(math.ceil(3 * self.sigma), *(side - 1 for side in x.shape[2:]))
        at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
        kernel = torch.exp(-(at**2) / (2 * self.sigma**2))
        kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
        x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="reflect"), kernel, groups=x.shape[1])
        return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="reflect"), kernel.transpose(2, 3), groups=x.shape[1])


@dataclass(frozen=True)
class MedianPalette:
    """Median filter of `size` x `size` pixels, then the colors of the strokes in place of every pixel's own.

    Every pixel becomes a mean of the palette, weighted by exp(-|color - c|^2 / softness), so that gradients pass; with
    a small softness it is the nearest color. At most `colors` colors are taken, the most frequent ones.

    Raises ConfigError unless `size` is odd, `colors` at least 1 and `softness` above 0.
    """

    size: int = 3
    colors: int = 12
    softness: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.size, Integral) or self.size < 1 or self.size % 2 == 0:
            raise ConfigError(f"size of the median filter must be an odd number of pixels, got {self.size!r}")
        if not isinstance(self.colors, Integral) or self.colors < 1 or not self.softness > 0:
            raise ConfigError(f"colors must be at least 1 and softness above 0, got {self.colors}, {self.softness}")

    def __call__(self, x: Tensor, strokes: Tensor) -> Tensor:
        edge = self.size // 2
        windows = F.pad(x, (edge,) * 4, mode="reflect").unfold(2, self.size, 1).unfold(3, self.size, 1)
        x = windows.flatten(-2).median(-1).values
        return torch.stack([self._nearest(each, palette(own, self.colors)) for each, own in zip(x, strokes)])

    def _nearest(self, x: Tensor, colors: Tensor) -> Tensor:
        """x (3, H, W) in the colors (N, 3)."""
        distance = (x[None] - colors[:, :, None, None]).square().sum(1)
        return torch.einsum("nhw,nc->chw", (-distance / self.softness).softmax(0), colors)


def palette(strokes: Tensor, most: int) -> Tensor:
    """The most frequent colors of a picture (3, H, W), at most so many: (N, 3)."""
    found, counts = strokes.flatten(1).T.unique(dim=0, return_counts=True)
    return found[counts.argsort(descending=True, stable=True)[:most]]


def masked_mse(painted: Tensor, strokes: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the pixels of the strokes and their colors, (B,)."""
    return _masked_mean((painted - strokes).square(), mask)


def masked_l1(painted: Tensor, strokes: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the pixels of the strokes and their colors, (B,)."""
    return _masked_mean((painted - strokes).abs(), mask)


def _masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    weight = mask[:, None].to(error.dtype)
    return (error * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * error.shape[1])


def descend(z: Tensor, loss: Callable[[Tensor], Tensor], steps: int = 12, rate: float = 0.1) -> Tensor:
    """z after so many steps of Adam down the gradient of loss(z), (B,); it treats every number as if it were alone.

    The defaults are the authors'; `rate` is in the units of the image chain.
    """
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([z], rate)
        for _ in range(steps):
            (z.grad,) = torch.autograd.grad(loss(z).sum(), z)
            optimizer.step()
    return z.detach()
