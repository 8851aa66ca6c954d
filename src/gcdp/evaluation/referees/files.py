"""Referees on disk: weights in model.safetensors, and a config.json that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gcdp.errors import CheckpointError, GCDPError
from gcdp.weights import Guard

FORMAT = 1
GUARD = Guard("fetch it again or train the referee again")


class StoredReferee(NamedTuple):
    """A referee's card: its parsed sections by name, facts of its training, and the file of its checked weights."""

    sections: dict[str, Any]
    facts: dict[str, Any]
    weights: Path


def save_referee(folder: Path, weights: dict[str, Tensor], sections: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically.

    `sections` are JSON-like and decide what the weights mean; `facts` tell of the training and decide nothing.
    """
    GUARD.save(folder, weights, {"format": FORMAT, **sections, "facts": facts})


def read_referee(folder: Path, readers: dict[str, Callable[[Any, str], Any]]) -> StoredReferee:
    """Read the card of `folder` and check the weights against it.

    Args:
        readers: for every section of the card a function of (its JSON form, where it stands) -> what it describes.

    Raises CheckpointError for a folder that is missing, damaged, altered or of another kind of referee.
    """
    card, path = GUARD.read(folder), folder / GUARD.card
    if card.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of another format than {FORMAT}: {GUARD.remedy}")
    try:
        sections = {name: read(card[name], f"{path}: {name}") for name, read in readers.items()}
        facts = card["facts"]
    except (GCDPError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not the card of such a referee ({error}): {GUARD.remedy}") from error
    return StoredReferee(sections, facts, GUARD.weights(folder, card))
