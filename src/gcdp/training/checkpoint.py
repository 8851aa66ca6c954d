"""Models on disk: safetensors for numbers, JSON for settings; loading never executes code."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gcdp.data.classes import ClassTable
from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.network.unet import UNet, UNetConfig
from gcdp.validation import build, to_dict
from gcdp.weights import Guard, load_weights

FORMAT = 1
GUARD = Guard("fetch it again or train the model", unhashed="training")


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
        return GUARD.hash(self.to_dict())

    def build(self) -> tuple[UNet, GaussianCategoricalDiffusion]:
        """A fresh network and its process."""
        halves = {"image": self.unet.image_channels > 0, "layout": self.unet.num_classes > 0}
        process = GaussianCategoricalDiffusion.from_config(self.diffusion, self.classes.num_classes, **halves)
        return UNet(self.unet), process


def save_model(folder: Path, weights: dict[str, Tensor], card: ModelCard) -> None:
    """Write model.safetensors and config.json into `folder`, each atomically."""
    GUARD.save(folder, weights, card.to_dict())


def load_card(folder: Path) -> ModelCard:
    """Read config.json of a model folder.

    Raises CheckpointError if it is missing, damaged or was edited, or is the card of something else, a referee say.
    """
    path = Path(folder) / GUARD.card
    try:
        content = GUARD.read(folder)
    except CheckpointError:
        if _is_of_something_else(path):
            raise CheckpointError(
                f"{path} describes a network that draws nothing: give the folder of a model, as "
                "weights/toy-streets-joint is one"
            ) from None
        raise
    return ModelCard.from_dict(content, str(path))


def _is_of_something_else(path: Path) -> bool:
    """Whether a card is whole, but has no network that draws."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "hash" in content and "unet" not in content


def load_model(folder: Path, expected: ModelCard | None = None):
    """Load (network in eval mode, process, card). Raises CheckpointError for damage or another configuration.

    `expected`: refuse weights whose network, process, classes, size or encoder differ from this card.
    """
    folder = Path(folder)
    content = GUARD.read(folder)
    card = ModelCard.from_dict(content, str(folder / GUARD.card))
    if expected is not None:
        check_match(card, expected, folder)
    unet, process = card.build()
    return load_weights(unet, GUARD.weights(folder, content)), process, card


def check_match(card: ModelCard, expected: ModelCard, folder: Path) -> None:
    """Raise CheckpointError naming the first setting in which the card of `folder` differs from the expected one."""
    stored, wanted = card.to_dict(), expected.to_dict()
    for section in wanted:
        if section == GUARD.unhashed or stored[section] == wanted[section]:
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
