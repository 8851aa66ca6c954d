"""The referee of the small worlds: a segmentation network that reads layouts off images.

It is trained apart from every generator, on as many scenes as one cares to draw, and fixed before any of them is
scored. What it reads in real held-out scenes is the ceiling of all scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcdp.data.classes import ClassTable
from gcdp.data.images import to_tensor
from gcdp.devices import default_device
from gcdp.errors import ConfigError, DataError
from gcdp.evaluation.referees.files import read_referee, save_referee
from gcdp.validation import build, require_range, to_dict
from gcdp.weights import load_weights

BATCH = 64  # images read at once


class Reading(NamedTuple):
    """What a referee sees in N images: labels uint8 (N, H, W), and features float32 (N, D) for Fréchet distances."""

    layouts: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class SegmenterConfig:
    """Sizes of the network: one entry a level, each level at half the resolution of the one before."""

    widths: tuple[int, ...] = (32, 64, 96, 128)
    blocks: int = 1

    def __post_init__(self) -> None:
        require_range(self, "widths blocks", 1)
        if len(self.widths) < 2:
            raise ConfigError(f"widths needs at least two levels, got {list(self.widths)}")


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut around them: (B, width_in, H, W) -> (B, width, H, W)."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(h)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(h))


class SegmentationNet(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> logits (B, K, H, W) and features (B, D), the mean of the deepest map."""

    def __init__(self, config: SegmenterConfig, num_classes: int):
        super().__init__()
        self.config, widths = config, config.widths
        ins = (3, *widths[:-1])
        self.down = nn.ModuleList(conv_level(a, b, config.blocks) for a, b in zip(ins, widths, strict=True))
        shallow = list(zip(widths[1:], widths[:-1], strict=True))
        self.up = nn.ModuleList(conv_level(deep + width, width, config.blocks) for deep, width in reversed(shallow))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Kernels between the first and the last layer, which Muon may train."""
        return hidden_kernels(self.down) + hidden_kernels(self.up)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skips = []
        for i, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        features = skips.pop().mean((2, 3))
        for level in self.up:
            skip = skips.pop()
            x = level(torch.cat([F.interpolate(x, skip.shape[2:], mode="nearest"), skip], 1))
        return self.head(x), features


def conv_level(width_in: int, width: int, blocks: int) -> nn.Sequential:
    """The blocks of one resolution: (B, width_in, H, W) -> (B, width, H, W)."""
    return nn.Sequential(ConvBlock(width_in, width), *(ConvBlock(width, width) for _ in range(blocks - 1)))


def hidden_kernels(levels: nn.Module) -> list[nn.Parameter]:
    """Kernels of levels of convolutions but for those that read the three channels of an image."""
    return [p for p in levels.parameters() if p.ndim == 4 and p.shape[1] > 3]


def image_batches(images: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    """Checked batches of images. Raises DataError unless they are uint8 (N, H, W, 3), N >= 1."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise DataError(f"a referee reads uint8 images (N, H, W, 3), got {images.dtype} {images.shape}")
    for start in range(0, len(images), size):
        yield images[start : start + size]


class Segmenter:
    """A trained segmentation network as a referee. Made by `load_segmenter`, or by training."""

    def __init__(self, network: SegmentationNet, classes: ClassTable, facts: dict[str, Any] | None = None):
        self.network, self.classes, self.facts = network.eval(), classes, facts or {}
        self.config = network.config
        self.name = "segmenter"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> Reading:
        """Images uint8 (N, H, W, 3) -> the label of every pixel and one feature vector an image."""
        layouts, features = [], []
        for batch in image_batches(images):
            logits, feature = self.network(to_tensor(batch, self.device))
            layouts.append(logits.argmax(1).byte().cpu().numpy())
            features.append(feature.float().cpu().numpy())
        return Reading(np.concatenate(layouts), np.concatenate(features))


def save_segmenter(
    folder: Path, weights: dict[str, Tensor], config: SegmenterConfig, classes: ClassTable, facts: dict[str, Any]
) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically."""
    save_referee(folder, weights, {"segmenter": to_dict(config), "classes": classes.to_dict()}, facts)


def load_segmenter(folder: str | Path, device: str | None = None) -> Segmenter:
    """Load a referee. Raises CheckpointError for a missing, damaged or altered folder."""
    readers = {"segmenter": partial(build, SegmenterConfig), "classes": lambda data, where: ClassTable.from_dict(data)}
    stored = read_referee(Path(folder), readers)
    classes = stored.sections["classes"]
    network = SegmentationNet(stored.sections["segmenter"], classes.num_classes)
    return Segmenter(load_weights(network, stored.weights, default_device(device)), classes, stored.facts)
