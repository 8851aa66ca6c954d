"""Token states of a fixed set of captions, encoded once and memory-mapped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcdp.errors import DataError
from gcdp.storage import atomic_folder, read_json
from gcdp.text.encoder import TextEncoder, similar_lengths

VERSION = 1


_REBUILD = "delete the folder and build the cache again"


class TextCache:
    """Token states of a fixed set of captions: ``states.npy`` float16 (total tokens, D), memory-mapped, and
    ``index.json`` with captions and offsets. ``caption in cache`` tells whether it is held."""

    def __init__(self, folder: Path, index: dict):
        self.folder = folder
        self.encoder_name: str = index["encoder"]
        self.fingerprint: str = index["fingerprint"]
        self.width: int = index["width"]
        self.captions: list[str] = index["captions"]
        self._offsets: list[int] = index["offsets"]
        self._position = {caption: position for position, caption in enumerate(self.captions)}
        path = folder / "states.npy"
        try:
            self._states = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable array ({error}): {_REBUILD}.") from error
        fits = len(self._offsets) == len(self.captions) + 1
        if not fits or self._states.shape != (self._offsets[-1], self.width):
            raise DataError(f"{path} does not fit its index.json: {_REBUILD}.")

    @classmethod
    def open(cls, folder: str | Path) -> TextCache:
        """Open a cache; raises DataError where it is missing or damaged."""
        folder = Path(folder)
        index = read_json(folder / "index.json", "encode the captions first")
        if not isinstance(index, dict) or index.get("version") != VERSION:
            raise DataError(f"{folder / 'index.json'} is not of cache version {VERSION}: {_REBUILD}.")
        try:
            return cls(folder, index)
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(f"{folder / 'index.json'} is incomplete ({error!r}): {_REBUILD}.") from error

    @classmethod
    def build(cls, encoder: TextEncoder, captions: list[str], folder: str | Path, batch_size: int = 64) -> TextCache:
        """Encode the distinct ``captions`` into ``folder``; an equal cache (captions, weights) is kept.

        The folder appears only when complete. Raises DataError for no captions or one that is too long.
        """
        folder, captions = Path(folder), list(dict.fromkeys(captions))
        if not captions:
            raise DataError(f"there are no captions to encode into {folder}: write the captions first.")
        fingerprint = encoder.fingerprint
        kept = cls._kept(folder, captions, fingerprint)
        if kept is not None:
            return kept
        rows = _encode_all(encoder, captions, batch_size)
        offsets = np.cumsum([0] + [len(row) for row in rows])
        index = {
            "version": VERSION,
            "encoder": encoder.name,
            "fingerprint": fingerprint,
            "width": encoder.width,
            "captions": captions,
            "offsets": offsets.tolist(),
        }
        with atomic_folder(folder) as partial:
            np.save(partial / "states.npy", np.concatenate(rows))
            (partial / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
        return cls.open(folder)

    @classmethod
    def _kept(cls, folder: Path, captions: list[str], fingerprint: str) -> TextCache | None:
        try:
            cache = cls.open(folder)
        except DataError:
            return None
        return cache if cache.captions == captions and cache.fingerprint == fingerprint else None

    @property
    def longest(self) -> int:
        """Tokens of the longest caption."""
        return max(b - a for a, b in zip(self._offsets, self._offsets[1:], strict=False))

    def __contains__(self, caption: str) -> bool:
        return caption in self._position

    def __len__(self) -> int:
        return len(self.captions)

    def batch(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions (B) -> states float32 (B, L, D), zero padded to the longest, and mask bool (B, L).

        Raises DataError for a caption that was not encoded.
        """
        rows = [self._row(caption) for caption in captions]
        longest = max((len(row) for row in rows), default=0)
        states = np.zeros((len(rows), longest, self.width), dtype=np.float32)
        mask = np.zeros((len(rows), longest), dtype=bool)
        for position, row in enumerate(rows):
            states[position, : len(row)] = row
            mask[position, : len(row)] = True
        return torch.from_numpy(states), torch.from_numpy(mask)

    def _row(self, caption: str) -> np.ndarray:
        position = self._position.get(caption)
        if position is None:
            raise DataError(f"caption {caption!r} is not in the text cache {self.folder}: encode it first.")
        return self._states[self._offsets[position] : self._offsets[position + 1]]

    def __reduce__(self):
        # Worker processes map the file again instead of receiving a copy of the states.
        return type(self).open, (self.folder,)


def _encode_all(encoder: TextEncoder, captions: list[str], batch_size: int) -> list[np.ndarray]:
    """float16 states (L_i, D) of every caption, in order."""
    rows: list[np.ndarray | None] = [None] * len(captions)
    for positions in similar_lengths(captions, batch_size):
        states, mask = encoder.encode([captions[position] for position in positions])
        for position, state, valid in zip(positions, states, mask, strict=True):
            rows[position] = state[valid].to(torch.float16).numpy()
            if not np.isfinite(rows[position]).all():
                raise DataError(f"states of {captions[position]!r} exceed half precision: use another encoder.")
    return rows
