"""Alignment of text and image: how close a referee that embeds both puts an image to its caption.

At the paper's size that referee is CLIP, see `gcdp.evaluation.referees.clip`. On toy pictures CLIP says little, so a
small network of two towers is trained on the toy world itself. It is no CLIP, and its score bears another name: the
two never stand in one table.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcdp.data.images import to_tensor
from gcdp.devices import default_device
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.chance import mismatched
from gcdp.evaluation.referees.attributes import ImageTrunk
from gcdp.evaluation.referees.files import read_referee, save_referee
from gcdp.evaluation.referees.segmenter import hidden_kernels, image_batches
from gcdp.evaluation.statistics import Estimate, bootstrap_ratio
from gcdp.text.encoder import TextEncoder
from gcdp.validation import build, require_range, to_dict
from gcdp.weights import load_weights

CROWD = 32  # captions among which an image has to find its own
BLOCK = 1024  # images scored with all captions at once
LARGEST_SCALE = 100.0  # of cosines in the loss, as in CLIP


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes: `widths` of the image tower's levels, `hidden` of the text tower, `embedding` of what both end in."""

    widths: tuple[int, ...] = (32, 64, 96)
    embedding: int = 64
    hidden: int = 256

    def __post_init__(self) -> None:
        require_range(self, "widths embedding hidden", 1)
        if not self.widths:
            raise ConfigError("widths needs at least one level, got []")


class TwoTower(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] and pooled text (B, D) -> unit vectors (B, E) of both, and the scale of cosines.

    The scale is the inverse of InfoNCE's temperature, learned.
    """

    def __init__(self, config: TwoTowerConfig, text_width: int):
        super().__init__()
        self.config = config
        self.trunk = ImageTrunk(config.widths)
        self.image_head = nn.Linear(self.trunk.width, config.embedding)
        self.text = nn.Sequential(
            nn.LayerNorm(text_width),
            nn.Linear(text_width, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.embedding),
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Kernels of the image tower after its first layer, which Muon may train."""
        return hidden_kernels(self.trunk)

    def forward(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.embed_images(x), self.embed_text(text), self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def embed_images(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> unit vectors (B, E), float32."""
        return F.normalize(self.image_head(self.trunk(x)).float(), dim=1)

    def embed_text(self, text: Tensor) -> Tensor:
        """(B, D) -> unit vectors (B, E), float32."""
        return F.normalize(self.text(text).float(), dim=1)


def info_nce(logits: Tensor) -> Tensor:
    """Mean cross-entropy of similarities (B, B) with the diagonal as truth, over rows and over columns."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


class PooledText:
    """Mean token states of captions by a frozen encoder; a caption is encoded once."""

    def __init__(self, encoder: TextEncoder):
        self.encoder = encoder
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, captions: Sequence[str]) -> np.ndarray:
        """Captions (N) -> float32 (N, D)."""
        fresh = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if fresh:
            self._known.update(zip(fresh, self.encoder.pooled(fresh), strict=True))
        return np.stack([self._known[caption] for caption in captions])

    def to_dict(self) -> dict[str, Any]:
        """Which encoder it is, as JSON types: name, width and the fingerprint of its weights."""
        encoder = self.encoder
        return {"encoder": encoder.name, "width": encoder.width, "fingerprint": encoder.fingerprint}


class AlignmentReferee(ABC):
    """Embeds images and captions as unit vectors; an image's score is 100 times the cosine to its caption.

    `name` is what tables and figures call the score.
    """

    name: str

    @abstractmethod
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> unit vectors float32 (N, E)."""

    @abstractmethod
    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions (N) -> unit vectors float32 (N, E)."""

    def score(self, images: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        """Images uint8 (N, H, W, 3) and their captions -> float32 (N,). Raises DataError for unequal numbers."""
        return self.score_with_others(images, captions)[0]

    def score_with_others(self, images: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`score`, and the mean score of each image with all captions but its own, which is chance: float32 (N,) each.

        The second is NaN for a single image. Raises DataError for unequal numbers.
        """
        seen, said = self.embed_images(images), self.embed_captions(_as_many(captions, images))
        own, count = self.scaled((seen * said).sum(1)), len(seen)
        blocks = [self.scaled(seen[start : start + BLOCK] @ said.T).sum(1) for start in range(0, count, BLOCK)]
        others = (np.concatenate(blocks) - own) / (count - 1) if count > 1 else np.full_like(own, np.nan)
        return own, others.astype(own.dtype)

    def scaled(self, cosines: np.ndarray) -> np.ndarray:
        """Cosines as scores."""
        return 100 * cosines


class TwoTowerReferee(AlignmentReferee):
    """Two trained towers as a referee. Made by `load_two_tower`, or by training."""

    name = "toy alignment score"

    def __init__(self, network: TwoTower, pooled_text: PooledText, facts: dict[str, Any] | None = None):
        self.network, self.pooled_text, self.facts = network.eval(), pooled_text, facts or {}
        self.config = network.config

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> unit vectors float32 (N, E)."""
        parts = [self.network.embed_images(to_tensor(batch, self.device)) for batch in image_batches(images)]
        return torch.cat(parts).cpu().numpy()

    @torch.inference_mode()
    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions (N) -> unit vectors float32 (N, E)."""
        text = torch.from_numpy(self.pooled_text(captions)).to(self.device)
        return self.network.embed_text(text).cpu().numpy()


def save_two_tower(
    folder: Path, weights: dict[str, Tensor], config: TwoTowerConfig, text: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically; `text` is `PooledText.to_dict`."""
    save_referee(folder, weights, {"two_tower": to_dict(config), "text": text}, facts)


def load_two_tower(folder: str | Path, encoder: TextEncoder, device: str | None = None) -> TwoTowerReferee:
    """Load a referee that was trained on the states of `encoder`.

    Raises CheckpointError for a missing, damaged or altered folder, or where another encoder was used.
    """
    folder = Path(folder)
    readers = {"two_tower": partial(build, TwoTowerConfig), "text": lambda data, where: dict(data)}
    stored = read_referee(folder, readers)
    pooled_text, trained = PooledText(encoder), stored.sections["text"]
    if trained != pooled_text.to_dict():
        raise CheckpointError(
            f"{folder} was trained on text states of {trained.get('encoder')!r} with other weights than this "
            f"{encoder.name!r} has: load that encoder or train the referee again"
        )
    network = TwoTower(stored.sections["two_tower"], encoder.width)
    return TwoTowerReferee(load_weights(network, stored.weights, default_device(device)), pooled_text, stored.facts)


def alignment_estimate(scores: np.ndarray) -> Estimate:
    """Mean of scores (N,) with a 95 % interval, by drawing images anew."""
    return bootstrap_ratio(scores, np.ones(len(scores)))


def retrieval(referee: AlignmentReferee, images: np.ndarray, captions: Sequence[str]) -> dict[str, float | int | None]:
    """How well a referee tells the captions of real held-out images from others: what its score is worth.

    {"auc", "top1_of_32", "n"}. "auc" is the share of the N images that lie closer to their own caption than to the
    next image's, one half where the two captions are equal; guessing gives 0.5. "top1_of_32" is the share that lie
    closest to their own among the captions of 32 consecutive images, a caption of equal words counting as their
    own; guessing gives 1/32 or, with repeated captions, more. It leaves out an incomplete last 32, and is None for
    fewer than 32 images. Raises DataError where captions and images differ in number or are fewer than two.
    """
    count = len(_as_many(captions, images))
    if count < 2:
        raise DataError(f"retrieval compares captions of at least two images, got {count}: give more pairs")
    seen, said, words = referee.embed_images(images), referee.embed_captions(captions), np.array(captions)
    others = mismatched(range(count))
    own, other = (seen * said).sum(1), (seen * said[others]).sum(1)
    won = np.where(words == words[others], 0.5, own > other)
    found = []
    for start in range(0, count - CROWD + 1, CROWD):
        rows = slice(start, start + CROWD)
        best = (seen[rows] @ said[rows].T).argmax(1)
        found.append(words[rows][best] == words[rows])
    return {"auc": float(won.mean()), "top1_of_32": float(np.mean(found)) if found else None, "n": count}


def _as_many(captions: Sequence[str], images: np.ndarray) -> Sequence[str]:
    if len(captions) != len(images):
        raise DataError(f"need one caption an image, got {len(captions)} captions for {len(images)} images")
    return captions
