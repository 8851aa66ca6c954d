"""The referee of attributes: a classifier that reads off a face what its caption may name, and what it finds.

Recall of attributes (Fig. 1 of the paper): of the attributes that a caption names, the share that the referee sees
in the image drawn from it. Beside it belong the recall that images get for the next image's caption, which is what
knowing faces alone is worth, and the recall of real held-out pairs, the ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcdp.data.attributes import AttributeTable
from gcdp.data.images import to_tensor
from gcdp.devices import default_device
from gcdp.errors import ConfigError
from gcdp.evaluation.referees.files import read_referee, save_referee
from gcdp.evaluation.referees.segmenter import conv_level, hidden_kernels, image_batches
from gcdp.validation import build, require_range, to_dict
from gcdp.weights import load_weights

THRESHOLD = 0.5  # probability from which an attribute is there


@dataclass(frozen=True)
class AttributeNetConfig:
    """Sizes of the network: one entry a level, each level at half the resolution of the one before."""

    widths: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1

    def __post_init__(self) -> None:
        require_range(self, "widths blocks", 1)
        if not self.widths:
            raise ConfigError("widths needs at least one level, got []")


class ImageTrunk(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> (B, width): mean and maximum of the deepest map.

    Three levels leave 8x8 positions of a 32x32 image. The maximum keeps what covers a pixel or two, such as an
    earring, which the mean over all positions would drown.
    """

    def __init__(self, widths: Sequence[int], blocks: int = 1):
        super().__init__()
        ins = (3, *widths[:-1])
        self.levels = nn.ModuleList(conv_level(a, b, blocks) for a, b in zip(ins, widths, strict=True))
        self.width = 2 * widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        for i, level in enumerate(self.levels):
            x = level(F.max_pool2d(x, 2) if i else x)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class AttributeNet(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> logits (B, A)."""

    def __init__(self, config: AttributeNetConfig, num_attributes: int):
        super().__init__()
        self.config = config
        self.trunk = ImageTrunk(config.widths, config.blocks)
        self.head = nn.Linear(self.trunk.width, num_attributes)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Kernels of the trunk after the first layer, which Muon may train."""
        return hidden_kernels(self.trunk)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class AttributeReferee:
    """A trained attribute classifier. Made by `load_attributes`, or by training."""

    def __init__(self, network: AttributeNet, table: AttributeTable, facts: dict[str, Any] | None = None):
        self.network, self.table, self.facts = network.eval(), table, facts or {}
        self.config = network.config
        self.name = "attribute classifier"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> probability of every attribute, float32 (N, A); NaN where it is not nameable."""
        logits = [self.network(to_tensor(batch, self.device)).float().cpu() for batch in image_batches(images)]
        seen = torch.cat(logits).sigmoid().numpy()
        probabilities = np.full_like(seen, np.nan)  # of the others it learned nothing
        nameable = list(self.table.nameable)
        probabilities[:, nameable] = seen[:, nameable]
        return probabilities

    def present(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> which attributes it sees, bool (N, A); never one that is not nameable."""
        return is_present(self.read(images))


def is_present(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (N, A) -> bool (N, A), from `THRESHOLD` on; NaN is absent."""
    return np.asarray(probabilities) >= THRESHOLD


def save_attributes(
    folder: Path, weights: dict[str, Tensor], config: AttributeNetConfig, table: AttributeTable, facts: dict[str, Any]
) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically."""
    save_referee(folder, weights, {"attribute_net": to_dict(config), "attributes": table.to_dict()}, facts)


def load_attributes(folder: str | Path, device: str | None = None) -> AttributeReferee:
    """Load a referee. Raises CheckpointError for a missing, damaged or altered folder."""
    readers = {
        "attribute_net": partial(build, AttributeNetConfig),
        "attributes": lambda data, where: AttributeTable.from_dict(data),
    }
    stored = read_referee(Path(folder), readers)
    table = stored.sections["attributes"]
    network = AttributeNet(stored.sections["attribute_net"], len(table.names))
    return AttributeReferee(load_weights(network, stored.weights, default_device(device)), table, stored.facts)
