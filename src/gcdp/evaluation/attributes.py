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

from gcdp.data.attributes import AttributeTable, attributes_in_caption
from gcdp.errors import ConfigError, DataError
from gcdp.evaluation.referee_files import load_weights, read_referee, save_referee
from gcdp.evaluation.segmenter import conv_level, image_batches, image_tensor
from gcdp.evaluation.statistics import bootstrap_ratio, proportion
from gcdp.settings import build, require_range, to_dict

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
    def judge(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> probability of every attribute, float32 (N, A); NaN where it is not judged."""
        logits = [self.network(image_tensor(batch, self.device)).float().cpu() for batch in image_batches(images)]
        seen = torch.cat(logits).sigmoid().numpy()
        probabilities = np.full_like(seen, np.nan)  # of the others it learned nothing
        judged = list(self.table.judged)
        probabilities[:, judged] = seen[:, judged]
        return probabilities

    def present(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> which attributes it sees, bool (N, A); never one that is not judged."""
        return is_present(self.judge(images))


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
    return AttributeReferee(load_weights(network, stored.weights, device), table, stored.facts)


def classifier_report(probabilities: np.ndarray, truth: np.ndarray, table: AttributeTable) -> dict[str, Any]:
    """How well a classifier reads real held-out images: the ceiling of every generator.

    Args:
        probabilities: (N, A), from `AttributeReferee.judge`.
        truth: 0/1 (N, A), in the order of the table.

    Over judged attributes: {"macro_recall", "macro_precision", "mean_accuracy", "n", "recall", "precision",
    "accuracy", "base_rate"}, the last four by name. An attribute that no image has scores None in "recall", and one
    that the classifier never sees in "precision"; means are over the others. "base_rate" is the share of images that
    have the attribute. Raises DataError where the arrays do not fit each other and the table.
    """
    truth = np.asarray(truth)
    if truth.shape != np.shape(probabilities) or truth.shape[1:] != (len(table.names),) or not len(truth):
        raise DataError(
            f"probabilities {np.shape(probabilities)} and truth {truth.shape} need one row an image and one column "
            f"for each of the {len(table.names)} attributes"
        )
    judged, names = list(table.judged), [table.names[a] for a in table.judged]
    seen, true = is_present(probabilities)[:, judged], truth[:, judged] > 0
    both = (seen & true).sum(0)
    shares = {
        "recall": _shares(names, both, true.sum(0)),
        "precision": _shares(names, both, seen.sum(0)),
        "accuracy": _shares(names, (seen == true).sum(0), np.full(len(names), len(true))),
        "base_rate": _shares(names, true.sum(0), np.full(len(names), len(true))),
    }
    means = {f"macro_{name}": _macro(shares[name].values()) for name in ("recall", "precision")}
    return {**means, "mean_accuracy": _macro(shares["accuracy"].values()), "n": len(truth), **shares}


def attribute_cases(
    present: np.ndarray, captions: Sequence[str], table: AttributeTable
) -> tuple[np.ndarray, np.ndarray]:
    """(hits, named), int64 (N, A) each: the attributes that each caption names, and those of them that are present.

    Args:
        present: bool (N, A), what the referee sees, from `AttributeReferee.present`.
        captions: what the N images were drawn from; an empty caption names nothing.

    Sums over attributes, `hits.sum(1)` and `named.sum(1)`, are what `statistics.difference` takes. Raises DataError
    where captions and images differ in number, or the columns are not the attributes of the table.
    """
    present = np.asarray(present)
    if present.shape != (len(captions), len(table.names)):
        raise DataError(
            f"need one row a caption and one column an attribute, {(len(captions), len(table.names))}, "
            f"got {present.shape}"
        )
    named = np.zeros(present.shape, np.int64)
    for row, caption in zip(named, captions, strict=True):
        row[attributes_in_caption(caption, table)] = 1
    return named * (present > 0), named


def attribute_recall(present: np.ndarray, captions: Sequence[str], table: AttributeTable) -> dict[str, Any]:
    """Of the attributes that a caption names, the share that the referee finds; arguments as in `attribute_cases`.

    {"micro", "macro", "per_attribute"}: "micro" is an Estimate over all (image, named attribute) cases, its interval
    by drawing images anew; "per_attribute" has an Estimate (Wilson) for every judged attribute, `n` of which counts
    the captions that name it, with the value None where none does; "macro" is the mean of the values that exist.
    """
    hits, named = attribute_cases(present, captions, table)
    rows = {table.names[a]: (named[:, a] > 0, a) for a in table.judged}
    per_attribute = {name: proportion(int(hits[row, a].sum()), int(row.sum())) for name, (row, a) in rows.items()}
    return {
        "micro": bootstrap_ratio(hits.sum(1), named.sum(1)),
        "macro": _macro(estimate["value"] for estimate in per_attribute.values()),
        "per_attribute": per_attribute,
    }


def attribute_chance(present: np.ndarray, captions: Sequence[str], table: AttributeTable) -> dict[str, Any]:
    """`attribute_recall` of images that know faces but not their caption: each is held against the next one's."""
    return attribute_recall(present, [*captions[1:], *captions[:1]], table)


def _shares(names: Sequence[str], hits: np.ndarray, cases: np.ndarray) -> dict[str, float | None]:
    return {name: float(hit / n) if n else None for name, hit, n in zip(names, hits, cases, strict=True)}


def _macro(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
