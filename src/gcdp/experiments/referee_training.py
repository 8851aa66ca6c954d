"""Training of the referees: of layouts, of attributes, and of text against image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcdp.data.pairs import PairDataset
from gcdp.errors import ConfigError, DataError
from gcdp.evaluation.referees.alignment import (
    PooledText,
    TwoTower,
    TwoTowerConfig,
    TwoTowerReferee,
    info_nce,
    load_two_tower,
    save_two_tower,
)
from gcdp.evaluation.referees.attributes import (
    AttributeNet,
    AttributeNetConfig,
    AttributeReferee,
    load_attributes,
    save_attributes,
)
from gcdp.evaluation.referees.segmenter import (
    SegmentationNet,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)
from gcdp.evaluation.spoiling import SpoilingConfig, spoil_batch
from gcdp.provenance import source_fingerprint
from gcdp.training.distributed import make_accelerator
from gcdp.training.loop import fit
from gcdp.training.recipe import TrainConfig
from gcdp.training.step import Losses
from gcdp.validation import to_dict

UNSPOILED = SpoilingConfig()


def train_segmenter(
    config: SegmenterConfig,
    pairs: PairDataset,
    recipe: TrainConfig,
    state_folder: Path,
    folder: Path,
    spoiling: SpoilingConfig = UNSPOILED,
) -> Segmenter:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    The loss is the cross-entropy of every pixel, in images spoiled at random as `spoiling` says. Raises what
    `gcdp.training.loop.fit` raises.
    """
    classes = pairs.store.classes

    def loss(forward, batch: dict) -> Tensor:
        logits, _ = forward(batch["x"])
        return F.cross_entropy(logits.float(), batch["y"])

    make, identity = partial(SegmentationNet, config, classes.num_classes), {"segmenter": to_dict(config)}
    trained = _train(make, loss, pairs, recipe, state_folder, config, identity, spoiling, column="layout")
    save_segmenter(folder, trained.weights, config, classes, trained.facts)
    trained.curve.copy_to(folder / "curve.csv")
    return load_segmenter(folder, trained.device)


def train_attributes(
    config: AttributeNetConfig,
    pairs: PairDataset,
    recipe: TrainConfig,
    state_folder: Path,
    folder: Path,
    spoiling: SpoilingConfig = UNSPOILED,
) -> AttributeReferee:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    The loss is the binary cross-entropy of the attributes that captions can name; see `train_segmenter` for
    `spoiling`. Random flips are the dataset's: a
    mirrored face has the same attributes. Raises DataError for pairs without attributes, and what
    `gcdp.training.loop.fit` raises.
    """
    table = pairs.store.attribute_table
    if table is None or not table.nameable:
        raise DataError(
            f"{pairs.store.folder} holds no attributes that captions name: build the store from a source that knows "
            "them, such as drawn faces or CelebAMask-HQ"
        )
    columns = torch.tensor(table.nameable)

    def loss(forward, batch: dict) -> Tensor:
        nameable = columns.to(batch["x"].device, non_blocking=True)
        logits, truth = (values.index_select(1, nameable) for values in (forward(batch["x"]), batch["attributes"]))
        return F.binary_cross_entropy_with_logits(logits.float(), truth)

    make = partial(AttributeNet, config, len(table.names))
    identity = {"attribute_net": to_dict(config), "attributes": table.to_dict()}
    trained = _train(make, loss, pairs, recipe, state_folder, config, identity, spoiling)
    save_attributes(folder, trained.weights, config, table, trained.facts)
    trained.curve.copy_to(folder / "curve.csv")
    return load_attributes(folder, trained.device)


def train_two_tower(
    config: TwoTowerConfig,
    pairs: PairDataset,
    pooled_text: PooledText,
    recipe: TrainConfig,
    state_folder: Path,
    folder: Path,
    spoiling: SpoilingConfig = UNSPOILED,
) -> TwoTowerReferee:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    The loss is InfoNCE in both directions with a learned temperature. All captions of `pairs` are encoded before the
    first step; see `train_segmenter` for `spoiling`. Raises ConfigError for batches of one pair, which has nothing to
    be told from, and what `gcdp.training.loop.fit` raises.
    """
    if recipe.batch_size < 2:
        raise ConfigError(f"batch_size must be at least 2 for an alignment referee, got {recipe.batch_size}")
    pooled_text([caption for group in pairs.captions for caption in group])  # now: lengths alike share a batch

    def loss(forward, batch: dict) -> Tensor:
        text = torch.from_numpy(pooled_text(batch["captions"])).to(batch["x"].device, non_blocking=True)
        images, texts, scale = forward(batch["x"], text)
        return info_nce(scale * images @ texts.T)

    make = partial(TwoTower, config, pooled_text.encoder.width)
    identity = {"two_tower": to_dict(config), "text": pooled_text.to_dict()}
    trained = _train(make, loss, pairs, recipe, state_folder, config, identity, spoiling)
    save_two_tower(folder, trained.weights, config, identity["text"], trained.facts)
    trained.curve.copy_to(folder / "curve.csv")
    return load_two_tower(folder, pooled_text.encoder, trained.device)


def referee_facts(
    config: Any, pairs: PairDataset, recipe: TrainConfig, spoiling: SpoilingConfig = UNSPOILED
) -> dict[str, Any]:
    """What a trained referee notes of its training, JSON types: all that decides its weights, the code included.

    `config` is that of its network. A referee is kept as long as these facts stay the same.
    """
    code = source_fingerprint("gcdp.experiments.referee_training")
    facts = {"scenes": len(pairs), "split": pairs.store.split, "network": to_dict(config), "recipe": to_dict(recipe)}
    facts |= {"spoiling": to_dict(spoiling)}
    return {**facts, "data": pairs.fingerprint, "code": code}


class _Trained(NamedTuple):
    weights: dict[str, Tensor]
    curve: Any
    facts: dict[str, Any]
    device: torch.device


def _train(
    make: Callable[[], nn.Module],
    loss: Callable[[Callable[..., Any], dict[str, Any]], Tensor],
    pairs: PairDataset,
    recipe: TrainConfig,
    state_folder: Path,
    config: Any,
    identity: dict[str, Any],
    spoiling: SpoilingConfig,
    column: str = "image",
) -> _Trained:
    """Train the network that `make` draws on one process; it is small.

    `loss` is left in float32 by calling nothing but `forward` in a lower precision. `column` of the curve: "layout"
    of what reads layouts, "image" of what else is read off images.
    """
    accelerator = make_accelerator(recipe.precision)
    torch.manual_seed(recipe.seed)

    def losses(forward, batch: dict, generator: torch.Generator) -> Losses:
        x = spoil_batch(batch["x"], spoiling, generator).contiguous(memory_format=torch.channels_last)
        value = loss(forward, {**batch, "x": x})
        return Losses(value, {column: value})

    label = "training of the referee"
    identity = {**identity, "spoiling": to_dict(spoiling)}
    result = fit(make(), losses, pairs, recipe, state_folder, identity, accelerator, label=label)
    facts = referee_facts(config, pairs, recipe, spoiling)
    return _Trained(result.weights, result.curve, facts, accelerator.device)
