"""Training of the two towers: an image and its caption find each other among the others of a batch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.data.pairs import PairDataset
from gcdp.errors import ConfigError
from gcdp.evaluation.referees.alignment import (
    PooledText,
    TwoTower,
    TwoTowerConfig,
    TwoTowerReferee,
    load_two_tower,
    save_two_tower,
)
from gcdp.training.recipe import TrainConfig
from gcdp.training.referee import train_referee
from gcdp.validation import to_dict


def train_two_tower(
    config: TwoTowerConfig,
    pairs: PairDataset,
    pooled_text: PooledText,
    recipe: TrainConfig,
    state_folder: Path,
    folder: Path,
) -> TwoTowerReferee:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    The loss is InfoNCE in both directions with a learned temperature. All captions of `pairs` are encoded before the
    first step. The recipe is used, and errors are raised, as in `gcdp.training.referee.train_referee`.
    Raises ConfigError for batches of one pair, which has nothing to be told from.
    """
    if recipe.batch_size < 2:
        raise ConfigError(f"batch_size must be at least 2 for an alignment referee, got {recipe.batch_size}")
    pooled_text([caption for group in pairs.captions for caption in group])  # now: lengths alike share a batch

    def loss(forward, batch: dict) -> Tensor:
        text = torch.from_numpy(pooled_text(batch["captions"])).to(batch["x"].device)
        images, texts, scale = forward(batch["x"], text)
        return info_nce(scale * images @ texts.T)

    make = partial(TwoTower, config, pooled_text.encoder.width)
    identity = {"two_tower": to_dict(config), "text": pooled_text.to_dict()}
    done = train_referee(make, pairs, loss, recipe, identity, state_folder)
    save_two_tower(folder, done.weights, config, identity["text"], done.facts)
    done.curve.copy_to(folder / "curve.csv")
    return load_two_tower(folder, pooled_text.encoder, done.device)


def info_nce(logits: Tensor) -> Tensor:
    """Mean cross-entropy of similarities (B, B) with the diagonal as truth, over rows and over columns."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
