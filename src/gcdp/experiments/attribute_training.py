"""Training of the attribute classifier: binary cross-entropy on the attributes that captions can name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from gcdp.data.pairs import PairDataset
from gcdp.errors import DataError
from gcdp.evaluation.referees.attributes import (
    AttributeNet,
    AttributeNetConfig,
    AttributeReferee,
    load_attributes,
    save_attributes,
)
from gcdp.training.recipe import TrainConfig
from gcdp.training.referee import train_referee
from gcdp.validation import to_dict


def train_attributes(
    config: AttributeNetConfig, pairs: PairDataset, recipe: TrainConfig, state_folder: Path, folder: Path
) -> AttributeReferee:
    """Train a referee on `pairs` and write its EMA weights to `folder`; resume from `state_folder`.

    Random flips are the dataset's: a mirrored face has the same attributes. The recipe is used, and errors are
    raised, as in `gcdp.training.referee.train_referee`. Raises DataError for pairs without attributes.
    """
    table = pairs.store.attribute_table
    if table is None or not table.nameable:
        raise DataError(
            f"{pairs.store.folder} holds no attributes that captions name: build the store from a source that knows "
            "them, such as drawn faces or CelebAMask-HQ"
        )

    def loss(forward, batch: dict) -> Tensor:
        nameable = list(table.nameable)
        return F.binary_cross_entropy_with_logits(
            forward(batch["x"]).float()[:, nameable], batch["attributes"][:, nameable]
        )

    make = partial(AttributeNet, config, len(table.names))
    identity = {"attribute_net": to_dict(config), "attributes": table.to_dict()}
    done = train_referee(make, pairs, loss, recipe, identity, state_folder)
    save_attributes(folder, done.weights, config, table, done.facts)
    done.curve.copy_to(folder / "curve.csv")
    return load_attributes(folder, done.device)
