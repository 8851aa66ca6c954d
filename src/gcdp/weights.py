"""Weights on disk beside a JSON card that says what they are; the card's own hash and a checksum guard both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcdp.errors import CheckpointError
from gcdp.storage import atomic_write, fingerprint, load_tensors, save_tensors, sha256

HASH, CHECKSUM = "hash", "sha256"


@dataclass(frozen=True)
class Guard:
    """How one kind of folder keeps its weights and their card.

    Args:
        remedy: what to do about a folder that cannot be used; it ends every error.
        name: the weights are in <name>.safetensors.
        card: file name of the card, which holds "hash", the fingerprint of what the card says, and "sha256", the
            checksum of the weights.
        unhashed: key of the card that tells of the training and decides nothing; its hash leaves it out.
        bound: the hash covers the checksum too, and so tells trainings of one configuration apart.
    """

    remedy: str
    name: str = "model"
    card: str = "config.json"
    unhashed: str = "facts"
    bound: bool = False

    def hash(self, card: dict[str, Any]) -> str:
        """Fingerprint of what a card says of its weights."""
        left_out = (HASH, self.unhashed) if self.bound else (HASH, self.unhashed, CHECKSUM)
        return fingerprint({key: value for key, value in card.items() if key not in left_out})

    def save(self, folder: Path, weights: dict[str, Tensor], card: dict[str, Any]) -> None:
        """Write the weights, then the card with hash and checksum, each atomically.

        Raises CheckpointError where the disk is full or the folder cannot be written.
        """
        path = Path(folder) / f"{self.name}.safetensors"
        save_tensors(path, weights)
        checksum = {CHECKSUM: sha256(path)}
        card = {**card, HASH: self.hash({**card, **checksum}), **checksum}
        with atomic_write(Path(folder) / self.card) as partial:
            partial.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")

    def read(self, folder: Path) -> dict[str, Any]:
        """The card of a folder, hash and checksum included; the weights are not looked at.

        Raises CheckpointError if it is missing, damaged or was edited.
        """
        path = Path(folder) / self.card
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is missing or damaged: {self.remedy}") from error
        if not isinstance(card, dict):
            raise CheckpointError(f"{path} is missing or damaged: {self.remedy}")
        if card.get(HASH) != self.hash(card):
            raise CheckpointError(f"{path} was changed after it was saved: {self.remedy}")
        return card

    def weights(self, folder: Path, card: dict[str, Any]) -> Path:
        """The file of the weights, checked against its card. Raises CheckpointError where they do not match."""
        path = Path(folder) / f"{self.name}.safetensors"
        if not path.is_file() or sha256(path) != card.get(CHECKSUM):
            raise CheckpointError(f"{path} is missing or does not match its checksum: {self.remedy}")
        return path


def load_weights(network: nn.Module, path: Path, device: str | torch.device = "cpu") -> nn.Module:
    """Fill `network` from a safetensors file of any float precision: float32, frozen, in eval mode, on `device`.

    Raises CheckpointError where the weights do not fit the network.
    """
    weights = load_tensors(path)[0]
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network of this version: retrain it") from error
    return network.to(device).eval().requires_grad_(False)


def to_half(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision, as they are released; counters stay integers."""
    return {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}


def half_rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they read back from a half-precision release, float32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in to_half(weights).items()}
