"""Training of the segmenter: plain cross-entropy on real or drawn scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from gcdp.data.pairs import PairDataset
from gcdp.evaluation.referees.segmenter import (
    SegmentationNet,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)
from gcdp.training.recipe import TrainConfig
from gcdp.training.referee import train_referee
from gcdp.validation import to_dict


def train_segmenter(
    config: SegmenterConfig, pairs: PairDataset, recipe: TrainConfig, state_folder: Path, folder: Path
) -> Segmenter:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    The recipe is used, and errors are raised, as in `gcdp.training.referee.train_referee`.
    """
    classes = pairs.store.classes
    make, identity = partial(SegmentationNet, config, classes.num_classes), {"segmenter": to_dict(config)}
    done = train_referee(make, pairs, _loss, recipe, identity, state_folder, column="layout")
    save_segmenter(folder, done.weights, config, classes, done.facts)
    done.curve.copy_to(folder / "curve.csv")
    return load_segmenter(folder, done.device)


def _loss(forward, batch: dict) -> Tensor:
    logits, _ = forward(batch["x"])
    return F.cross_entropy(logits.float(), batch["y"])
