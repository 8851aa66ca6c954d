"""Models and resume states on disk: safetensors for numbers, JSON for settings; loading never executes code."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcdp.data.classes import ClassTable
from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.network.unet import UNet, UNetConfig
from gcdp.storage import atomic_write, fingerprint, load_tensors, save_tensors, sha256
from gcdp.validation import build, to_dict

FORMAT = 1


UNHASHED = ("training", "hash", "sha256")  # what config.json notes without deciding whether weights fit


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint is: enough to rebuild network and process, and to know what the labels mean."""

    unet: UNetConfig
    diffusion: DiffusionConfig
    classes: ClassTable
    size: tuple[int, int]
    encoder: str
    max_tokens: int
    training: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The card as plain JSON types."""
        return {
            "format": FORMAT,
            "unet": to_dict(self.unet),
            "diffusion": to_dict(self.diffusion),
            "classes": self.classes.to_dict(),
            "size": list(self.size),
            "encoder": self.encoder,
            "max_tokens": self.max_tokens,
            "training": self.training,
        }

    @classmethod
    def from_dict(cls, card: Any, where: str) -> ModelCard:
        """Rebuild a card. Raises CheckpointError naming `where` if a field is missing, unknown or malformed."""
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            raise CheckpointError(f"{where} is not a model card of format {FORMAT}: save the model again")
        try:
            return cls(
                build(UNetConfig, card["unet"], f"{where}: unet"),
                build(DiffusionConfig, card["diffusion"], f"{where}: diffusion"),
                ClassTable.from_dict(card["classes"]),
                tuple(card["size"]),
                card["encoder"],
                card["max_tokens"],
                card["training"],
            )
        except KeyError as error:
            raise CheckpointError(f"{where} lacks {error}: save the model again") from error
        except ConfigError as error:
            raise CheckpointError(f"{error}; the model was saved by another version of the code") from error
        except (DataError, TypeError) as error:
            raise CheckpointError(f"{where} is damaged ({error}): fetch it again or retrain") from error

    def hash(self) -> str:
        """Fingerprint of what decides whether weights fit: network, process, classes, size and encoder."""
        return fingerprint({k: v for k, v in self.to_dict().items() if k not in UNHASHED})

    def build(self) -> tuple[UNet, GaussianCategoricalDiffusion]:
        """A fresh network and its process."""
        halves = {"image": self.unet.image_channels > 0, "layout": self.unet.num_classes > 0}
        process = GaussianCategoricalDiffusion.from_config(self.diffusion, self.classes.num_classes, **halves)
        return UNet(self.unet), process


def save_model(folder: Path, weights: dict[str, Tensor], card: ModelCard, half: bool = False) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically; `half` stores float16."""
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    save_tensors(folder / "model.safetensors", weights)
    described = {**card.to_dict(), "hash": card.hash(), "sha256": sha256(folder / "model.safetensors")}
    with atomic_write(folder / "config.json") as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def load_card(folder: Path) -> ModelCard:
    """Read config.json of a model folder. Raises CheckpointError if it is missing or damaged."""
    return _read_card(Path(folder))[0]


def _read_card(folder: Path) -> tuple[ModelCard, str]:
    """(card, checksum of the weights) of a model folder; an edited card no longer fits its own hash."""
    path = folder / "config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged: fetch it again or train the model") from error
    card = ModelCard.from_dict(stored, str(path))
    if stored.get("hash") != fingerprint({k: v for k, v in stored.items() if k not in UNHASHED}):
        raise CheckpointError(f"{path} was changed after the model was saved: fetch it again or retrain")
    return card, stored.get("sha256", "")


def load_model(folder: Path, expected: ModelCard | None = None):
    """Load (network in eval mode, process, card). Raises CheckpointError for damage or another configuration.

    `expected`: refuse weights whose network, process, classes, size or encoder differ from this card.
    """
    folder = Path(folder)
    card, checksum = _read_card(folder)
    path = folder / "model.safetensors"
    if expected is not None:
        check_match(card, expected, folder)
    if not path.is_file() or sha256(path) != checksum:
        raise CheckpointError(f"{path} is missing or does not match its checksum: fetch it again or retrain")
    unet, process = card.build()
    try:
        unet.load_state_dict({name: w.float() for name, w in load_tensors(path)[0].items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network of this version: retrain it") from error
    return unet.eval().requires_grad_(False), process, card


def check_match(card: ModelCard, expected: ModelCard, folder: Path) -> None:
    """Raise CheckpointError naming the first setting in which the card of `folder` differs from the expected one."""
    stored, wanted = card.to_dict(), expected.to_dict()
    for section in wanted:
        if section in UNHASHED or stored[section] == wanted[section]:
            continue
        detail, was, now = section, stored[section], wanted[section]
        if isinstance(now, dict):
            name = next(k for k in now if was[k] != now[k])
            detail, was, now = section if name == section else f"{section}.{name}", was[name], now[name]
        short = len(f"{was}{now}") < 80
        values = f"{detail} {was}, but this profile asks for {now}" if short else f"other {detail} than asked for"
        raise CheckpointError(f"{folder} was trained with {values}: restore the setting or train the model again")


def with_training(card: ModelCard, **facts: Any) -> ModelCard:
    """A copy of the card with facts about the training run added."""
    return replace(card, training={**card.training, **facts})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimizer's state to named tensors: "<parameter index>.<state name>"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(value).clone() for i, entry in state.items() for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; the parameter groups keep their configured settings."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        if value.shape == like.shape:  # moments keep the memory layout of their parameter, and so their last bit
            value = torch.empty_like(like, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
