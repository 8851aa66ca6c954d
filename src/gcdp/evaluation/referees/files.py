"""Referees on disk: weights in model.safetensors, and a config.json that says what they are and vouches for both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcdp.errors import CheckpointError, GCDPError
from gcdp.storage import atomic_write, fingerprint, load_tensors, save_tensors, sha256

FORMAT = 1


class StoredReferee(NamedTuple):
    """A referee's card: its parsed sections by name, facts of its training, and the file of its checked weights."""

    sections: dict[str, Any]
    facts: dict[str, Any]
    weights: Path


def save_referee(folder: Path, weights: dict[str, Tensor], sections: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically.

    `sections` are JSON-like and decide what the weights mean; `facts` tell of the training and decide nothing.
    """
    save_tensors(folder / "model.safetensors", weights)
    card = {"format": FORMAT, **sections}
    described = {**card, "facts": facts, "hash": fingerprint(card), "sha256": sha256(folder / "model.safetensors")}
    with atomic_write(folder / "config.json") as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def read_referee(folder: Path, readers: dict[str, Callable[[Any, str], Any]]) -> StoredReferee:
    """Read the card of `folder` and check the weights against it.

    Args:
        readers: for every section of the card a function of (its JSON form, where it stands) -> what it describes.

    A card edited by hand no longer fits its own hash. Raises CheckpointError for a folder that is missing, damaged,
    altered or of another kind of referee.
    """
    path, weights = folder / "config.json", folder / "model.safetensors"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        sections = {name: read(card[name], f"{path}: {name}") for name, read in readers.items()}
        facts, checksum = card["facts"], card["sha256"]
        intact = card["hash"] == fingerprint({key: card[key] for key in ("format", *readers)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f" ({error})" if isinstance(error, GCDPError) else ""
        raise CheckpointError(f"{path} is missing or damaged{reason}: train the referee again") from error
    if not intact or card["format"] != FORMAT:
        raise CheckpointError(f"{path} was changed or is of another format: fetch it again or train the referee again")
    if not weights.is_file() or sha256(weights) != checksum:
        raise CheckpointError(f"{weights} is missing or does not match its checksum: fetch it again or retrain")
    return StoredReferee(sections, facts, weights)


def load_weights(network: nn.Module, path: Path, device: str | None = None) -> nn.Module:
    """Fill `network` from a safetensors file of any float precision: frozen, float32, on `device` or CUDA if any.

    Raises CheckpointError where the weights do not fit the network.
    """
    weights = {k: v.float() if v.is_floating_point() else v for k, v in load_tensors(path)[0].items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network of this version: retrain it") from error
    return network.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).requires_grad_(False)
