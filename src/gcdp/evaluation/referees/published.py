"""Referees by name: the small worlds' own segmenter, and published networks for real street scenes.

A referee reads layouts off images that it did not make. The paper's is HRNet-W48; here SegFormer-B5 or Mask2Former,
both fine-tuned on Cityscapes, stand in for it, because they are published as weights that load without running
foreign code. Scores of different referees do not compare: each belongs beside its referee's name and ceiling.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcdp.data.classes import CITYSCAPES, ClassTable
from gcdp.devices import default_device
from gcdp.errors import CheckpointError, ConfigError
from gcdp.evaluation.referees.segmenter import Reading, image_batches, load_segmenter

PUBLISHED = {
    "segformer-b5": "nvidia/segformer-b5-finetuned-cityscapes-1024-1024",
    "mask2former": "facebook/mask2former-swin-large-cityscapes-semantic",
}
HEIGHT = 1024  # of Cityscapes' images, on which both were trained
STRIDE = 32  # both divide their input by this
BATCH = 4  # images read at once; they are large once brought to HEIGHT


class Referee(Protocol):
    """What every measure asks of a referee."""

    name: str
    classes: ClassTable

    def read(self, images: np.ndarray) -> Reading:
        """Images uint8 (N, H, W, 3) -> labels uint8 (N, H, W) and features float32 (N, D)."""
        ...


def load_referee(
    name: str,
    folder: str | Path | None = None,
    classes: ClassTable | None = None,
    device: str | None = None,
    *,
    height: int = HEIGHT,
) -> Referee:
    """Load a referee by name.

    * ``"segmenter"``: the network that `gcdp.experiments.referee_training` wrote to ``folder``.
    * ``"segformer-b5"``, ``"mask2former"``: fine-tuned on Cityscapes, from the hub or a local copy in ``folder``.
    * the hub name, or the folder, of any other network for semantic segmentation that transformers knows and that
      takes images of any size.

    Args:
        classes: the table its labels are mapped onto, by name; default Cityscapes' (the segmenter brings its own).
        device: "cpu", "cuda", ...; by default CUDA where there is one.
        height: published networks see images enlarged to this many rows, at their aspect ratio up to multiples of
            32 pixels, because objects must have about the size at which the network learned them. The segmenter
            sees images as they are.

    Published networks never answer with the unlabeled class. Their features are the mean over positions of the
    last hidden state: of SegFormer's encoder (D = 512 for B5), of Mask2Former's backbone (D = 1536 for Swin-L).

    Raises ConfigError where the classes of network and table differ, a setting is out of range or the network is
    not for segmentation, CheckpointError where files are missing, damaged, or the hub cannot be reached.
    """
    if name == "segmenter":
        return _own_segmenter(folder, classes, device)
    if height < STRIDE:
        raise ConfigError(f"height must be at least {STRIDE}, got {height}")
    local = folder is not None or (name not in PUBLISHED and Path(name).is_dir())
    source = str(folder) if folder is not None else PUBLISHED.get(name, name)
    network, facts = _load(source, local)
    columns = match_labels(network.config.id2label, classes or CITYSCAPES, source)
    facts |= {"height": height}
    published = _PublishedNet(network.to(default_device(device)), _Preprocessing.read(source, local), columns, height)
    return PublishedReferee(name.rstrip("/").rsplit("/", 1)[-1], published, classes or CITYSCAPES, facts)


def _own_segmenter(folder: str | Path | None, classes: ClassTable | None, device: str | None) -> Referee:
    if folder is None:
        raise ConfigError("referee 'segmenter' needs the folder that its training wrote: give `folder`")
    referee = load_segmenter(folder, device)
    if classes is not None and (classes.names, classes.unlabeled) != (referee.classes.names, referee.classes.unlabeled):
        raise ConfigError(
            f"the segmenter in {folder} was trained for the classes of {referee.classes.name!r}, not for those of "
            f"{classes.name!r}: train one on this data"
        )
    return referee


class PublishedReferee:
    """A published segmentation network as a referee. Made by `load_referee`.

    `facts` tells what it is: source, commit of the hub's copy (None for a folder), architecture, height.
    """

    def __init__(self, name: str, network: _PublishedNet, classes: ClassTable, facts: dict[str, Any]):
        self.name, self.network, self.classes, self.facts = name, network.eval(), classes, facts

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> Reading:
        """Images uint8 (N, H, W, 3) -> labels uint8 (N, H, W), never unlabeled, and features float32 (N, D).

        Scores are brought to the size of the images before the best class of a pixel is taken.
        """
        table = np.array(self.classes.labeled, np.uint8)
        device = next(self.network.parameters()).device
        layouts, features = [], []
        for batch in image_batches(images, BATCH):
            scores, feature = self.network(torch.from_numpy(np.array(batch)).to(device))
            layouts.append(table[scores.argmax(1).cpu().numpy()])
            features.append(feature.float().cpu().numpy())
        return Reading(np.concatenate(layouts), np.concatenate(features))


class _PublishedNet(nn.Module):
    """Images uint8 (B, H, W, 3) -> scores of the labeled classes (B, C, H, W), in the table's order, and (B, D)."""

    def __init__(self, network: nn.Module, preprocessing: _Preprocessing, columns: Sequence[int], height: int):
        super().__init__()
        self.network, self.preprocessing, self.height = network, preprocessing, height
        self.columns = list(columns)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        size = tuple(images.shape[1:3])
        x = self.preprocessing.apply(images.permute(0, 3, 1, 2).float(), _working_size(size, self.height))
        if self.network.config.model_type == "mask2former":
            scores, hidden = _read_masks(self.network(pixel_values=x), size)
        else:
            out = self.network(pixel_values=x, output_hidden_states=True)
            scores, hidden = _resize(out.logits, size), out.hidden_states[-1]
        return scores[:, self.columns], hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)


def _read_masks(out, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Class scores of masks, as Mask2Former's authors sum them: over queries, p(class | query) p(pixel in mask).

    The query's last class, "no object", takes no part.
    """
    chance = out.class_queries_logits.softmax(-1)[..., :-1]
    masks = _resize(out.masks_queries_logits, size).sigmoid()
    return torch.einsum("bqc,bqhw->bchw", chance, masks), out.encoder_last_hidden_state


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _working_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    """(H, W) the network sees: `height` rows and the width of the same aspect ratio, in multiples of STRIDE."""
    rows = max(1, round(height / STRIDE))
    columns = max(1, round(height * size[1] / size[0] / STRIDE))
    return rows * STRIDE, columns * STRIDE


@dataclass(frozen=True)
class _Preprocessing:
    """How pixels 0..255 become what a network was trained on; ImageNet's mean and deviation where it does not say."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    scale: float = 1 / 255
    bgr: bool = False

    def apply(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = _resize(x, size) * self.scale
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        x = (x - mean) / std
        return x.flip(1) if self.bgr else x

    @classmethod
    def read(cls, source: str, local: bool) -> _Preprocessing:
        """From preprocessor_config.json; its sizes are not used, which would squeeze wide streets into squares."""
        from transformers.utils import cached_file

        with _loading(source, local):
            path = cached_file(
                source, "preprocessor_config.json", local_files_only=local,
                _raise_exceptions_for_missing_entries=False,
            )  # fmt: skip
            said = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
            normal = ("image_mean", cls.mean), ("image_std", cls.std)
            mean, std = (tuple(float(v) for v in said.get(key, default)) for key, default in normal)
            if len(mean) != 3 or len(std) != 3 or not all(std):
                raise ValueError("preprocessor_config.json needs three numbers each in image_mean and image_std")
            if not said.get("do_normalize", True):
                mean, std = (0.0,) * 3, (1.0,) * 3
            scale = float(said.get("rescale_factor", cls.scale)) if said.get("do_rescale", True) else 1.0
        return cls(mean, std, scale, bool(said.get("do_flip_channel_order", False)))


def match_labels(id2label: dict[int, str], classes: ClassTable, source: str) -> list[int]:
    """The network's index of every labeled class of the table, in the table's order; names decide, case does not.

    A label called like the table's unlabeled class is dropped. Raises ConfigError, with the names, where network
    or table lack a class of the other.
    """
    void = None if classes.unlabeled is None else _plain(classes.names[classes.unlabeled])
    index = {_plain(label): int(i) for i, label in id2label.items() if _plain(label) != void}
    wanted = [_plain(classes.names[i]) for i in classes.labeled]
    lacks = [name for name in wanted if name not in index]
    foreign = [name for name in index if name not in wanted]
    if lacks or foreign:
        sides = ((f"network {source}", lacks), (f"class table {classes.name!r}", foreign))
        problem = " and ".join(f"{side} lacks {_listed(names)}" for side, names in sides if names)
        raise ConfigError(f"{problem}: use a network and a table of the same classes, or correct their names")
    return [index[name] for name in wanted]


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _listed(names: Sequence[str], most: int = 10) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _load(source: str, local: bool) -> tuple[nn.Module, dict[str, Any]]:
    """Network of a folder (local) or hub name, and facts about it."""
    from transformers import AutoConfig, AutoModelForSemanticSegmentation, Mask2FormerForUniversalSegmentation
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as KNOWN

    where = {"local_files_only": local, "trust_remote_code": False}
    if local and not (Path(source) / "config.json").is_file():
        raise CheckpointError(f"{source} holds no config.json: give the folder of a saved segmentation network")
    with _loading(source, local):
        config = AutoConfig.from_pretrained(source, **where)
    if config.model_type != "mask2former" and config.model_type not in KNOWN:
        raise ConfigError(
            f"{source} holds a {config.model_type} model, which does not segment images: "
            f"use {', '.join(PUBLISHED)} or another network for semantic segmentation"
        )
    masks = config.model_type == "mask2former"
    loader = Mask2FormerForUniversalSegmentation if masks else AutoModelForSemanticSegmentation
    with _loading(source, local):
        network, info = loader.from_pretrained(source, use_safetensors=True, output_loading_info=True, **where)
    if info["missing_keys"]:  # they would be drawn at random, and the reading with them
        raise CheckpointError(f"{source} lacks {len(info['missing_keys'])} weights of the network: fetch it again")
    commit = getattr(config, "_commit_hash", None)
    facts = {"source": source, "commit": commit, "architecture": config.model_type}
    return network.float().requires_grad_(False), facts


@contextmanager
def _loading(source: str, local: bool) -> Iterator[None]:
    """Turn failures of the model libraries into one CheckpointError; no progress bars, which fill notebooks."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ImportError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        remedy = "check that the folder holds config.json and model.safetensors, or fetch them again"
        if not local:
            remedy = "check the name and the network, or give `folder`, a local copy with model.safetensors"
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise CheckpointError(f"referee {source} cannot be loaded ({reason}): {remedy}") from error
    finally:
        if enabled:
            logging.enable_progress_bar()
