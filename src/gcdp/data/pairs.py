"""Stores of pairs, resized once and memory-mapped, and the torch dataset that reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gcdp.data.attributes import AttributeTable
from gcdp.data.augmentation import Augmentation, View, cut, mirror_pair
from gcdp.data.captions import mirror_caption, with_mirrors
from gcdp.data.classes import ClassTable
from gcdp.data.images import resize_larger, to_tensor
from gcdp.errors import ConfigError, DataError
from gcdp.processes import in_shares
from gcdp.storage import atomic_folder, fingerprint, read_json, sha256
from gcdp.validation import to_dict

VERSION = 2
_REBUILD = "run the data stage (notebook 01_data) again to rebuild it"
# Keeps the permutation of subsets apart from the streams of epochs and of single pairs.
_SUBSET = 0x5B5E7
_STILL = Augmentation((1.0, 1.0), flip=False)


def build_store(
    source, split: str, size: tuple[int, int], folder: str | Path, rescale: tuple[float, float] = (1.0, 1.0)
) -> PairStore:
    """Resize every pair of ``split`` to ``size`` (H, W) and write the store ``folder``, replacing any there.

    ``rescale``: the zooms at which training will look at these pairs. With any above 1 each pair is kept a second
    time, ``Augmentation(rescale).oversample`` times as large, for zoomed views to be cut from.

    The folder appears only when complete. Raises DataError for any defect of the source, ConfigError for a
    size < 1 or an impossible ``rescale``. The attributes of a source that knows them are stored beside the arrays.
    """
    size = (int(size[0]), int(size[1]))
    if min(size) < 1:
        raise ConfigError(f"size is {size}: give height and width of at least one pixel.")
    oversample = Augmentation(rescale).oversample
    folder, keys = Path(folder), source.keys(split)
    if not keys:
        raise DataError(f"split {split!r} is empty: add pairs, or choose one of {', '.join(source.splits())}.")
    table = getattr(source, "attribute_table", None)
    with atomic_folder(folder) as unfinished:
        scales = sorted({1, oversample})
        for scale in scales:
            _arrays_of(unfinished, len(keys), size, scale, "w+")
        noted = in_shares(partial(_store, source, split, keys, size, scales, unfinished), len(keys))
        captions, attributes = ([row[k] for row in noted] for k in (0, 1))
        if table is not None:
            np.save(unfinished / "attributes.npy", np.asarray(attributes, dtype=np.uint8), allow_pickle=False)
        index = {
            "version": VERSION,
            "split": split,
            "size": list(size),
            "oversample": oversample,
            "source_version": getattr(source, "version", None),
            "keys": keys,
            "classes": source.classes.to_dict(),
            "captions": captions if any(captions) else None,
            "files": {path.name: _describe(path) for path in sorted(unfinished.glob("*.npy"))},
        }
        index |= {"attributes": table.to_dict()} if table is not None else {}
        (unfinished / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1), encoding="utf-8")
    return PairStore.open(folder)


def _arrays(count: int, size: tuple[int, int], scale: int) -> list[tuple[str, tuple[int, ...]]]:
    """Files and shapes of the arrays that hold ``count`` pairs at ``scale`` times ``size``: images, layouts."""
    prefix, shape = "large_" if scale > 1 else "", (count, size[0] * scale, size[1] * scale)
    return [(f"{prefix}images.npy", (*shape, 3)), (f"{prefix}layouts.npy", shape)]


def _arrays_of(folder: Path, count: int, size: tuple[int, int], scale: int, mode: str) -> list[np.memmap]:
    named = _arrays(count, size, scale)
    return [np.lib.format.open_memmap(folder / name, mode, np.uint8, shape) for name, shape in named]


def _store(source, split, keys, size, scales, folder: Path, share: range) -> list[tuple[list[str] | None, Any]]:
    """Resize a share of the pairs into the arrays in ``folder``; captions and attributes of each pair."""
    arrays = {scale: _arrays_of(folder, len(keys), size, scale, "r+") for scale in scales}
    known, noted = getattr(source, "attribute_table", None) is not None, []
    for position in share:
        key = keys[position]  # all of a pair at once: a source may have drawn it for the purpose
        noted.append((source.captions(split, key), _attributes(source, split, key) if known else None))
        image, layout = source.load(split, key)
        for scale, (images, layouts) in arrays.items():
            images[position], layouts[position] = resize_larger(image, layout, size, scale)
    for images, layouts in arrays.values():
        images.flush()
        layouts.flush()
    return noted


def _attributes(source, split: str, key: str) -> tuple[int, ...]:
    """Attributes 0/1 of a pair; raises DataError where they do not fit the table."""
    row, count = source.attributes(split, key), source.attribute_table.num_attributes
    if len(row) != count or not set(row) <= {0, 1}:
        raise DataError(f"pair {split}/{key} needs {count} attributes of 0 or 1: correct the attribute list.")
    return row


def draw_subset(length: int, count: int, seed: int | Sequence[int]) -> np.ndarray:
    """``count`` of ``length`` rows, int64 and sorted: the first of a permutation that depends on (length, seed)
    alone, so that smaller subsets lie inside larger ones. Raises ConfigError for a count outside 1..length."""
    if not 1 <= count <= length:
        raise ConfigError(f"a subset of {count} pairs cannot be drawn from {length}: ask for 1 to {length}.")
    return np.sort(np.random.default_rng([_SUBSET, *np.atleast_1d(seed).tolist()]).permutation(length)[:count]).astype(
        np.int64
    )


def _describe(path: Path) -> dict:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _table(kind: type, data: dict, path: Path):
    try:
        return kind.from_dict(data)
    except DataError as error:
        raise DataError(f"{path}: {error} {_REBUILD.capitalize()}.") from error


class PairStore:
    """N pairs on disk: ``images`` uint8 (N, H, W, 3) and ``layouts`` uint8 (N, H, W), read-only memory maps.

    ``keys`` are their names, ``classes`` their class table, ``captions`` the lists that came with the source
    or None, ``split`` and ``size`` (H, W) what they were built as. ``attributes`` uint8 (N, A) of 0 and 1 and
    ``attribute_table`` are None where the source knew none. ``large_images`` uint8 (N, nH, nW, 3) and
    ``large_layouts`` uint8 (N, nH, nW) are the pairs n = ``oversample`` times as large, out of which :meth:`view` cuts;
    where n is 1 they are those above. ``source_version`` tells drawn pairs of other drawing code apart, None for files.
    """

    def __init__(self, folder: Path, index: dict):
        self.folder = folder
        self.split: str = index["split"]
        self.size: tuple[int, int] = tuple(index["size"])
        self.oversample: int = index["oversample"]
        self.source_version: str | None = index["source_version"]
        self.keys: list[str] = index["keys"]
        self.classes = _table(ClassTable, index["classes"], folder / "index.json")
        self.captions: list[list[str]] | None = index["captions"]
        self._files: dict[str, dict] = index["files"]
        self.images, self.layouts = self._pairs(1)
        self.large_images, self.large_layouts = self._pairs(self.oversample)
        self.attribute_table: AttributeTable | None = None
        self.attributes: np.ndarray | None = None
        if index.get("attributes") is not None:
            self.attribute_table = _table(AttributeTable, index["attributes"], folder / "index.json")
            self.attributes = self._map("attributes.npy", (len(self), self.attribute_table.num_attributes))

    @classmethod
    def open(cls, folder: str | Path) -> PairStore:
        """Open a store, checking index, sizes and shapes (contents: :meth:`verify`); raises DataError."""
        folder = Path(folder)
        index = read_json(folder / "index.json", "build the store of this split first")
        if not isinstance(index, dict) or index.get("version") != VERSION:
            raise DataError(f"{folder / 'index.json'} is not of store version {VERSION}: {_REBUILD}.")
        try:
            return cls(folder, index)
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / 'index.json'} is incomplete ({error!r}): {_REBUILD}.") from error

    def _pairs(self, scale: int) -> list[np.ndarray]:
        return [self._map(name, shape) for name, shape in _arrays(len(self), self.size, scale)]

    def _map(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / name
        if not path.is_file() or path.stat().st_size != self._files[name]["bytes"]:
            raise DataError(f"{path} is missing or not of the size noted in index.json: {_REBUILD}.")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable array ({error}): {_REBUILD}.") from error
        if array.shape != shape or array.dtype != np.uint8:
            raise DataError(f"{path} holds {array.dtype} {array.shape}, its index uint8 {shape}: {_REBUILD}.")
        return array

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of every array as noted in the index."""
        return {name: noted["sha256"] for name, noted in self._files.items()}

    def verify(self) -> None:
        """Compare the SHA-256 of the arrays with the index, reading them whole; raises DataError."""
        for name, noted in self._files.items():
            if sha256(self.folder / name) != noted["sha256"]:
                raise DataError(f"{self.folder / name} has changed since it was built: {_REBUILD}.")

    def require_oversample(self, oversample: int) -> None:
        """Raise DataError unless the pairs are kept ``oversample`` times as large, as an augmentation needs them."""
        if self.oversample < oversample:
            raise DataError(
                f"{self.folder} keeps its pairs {self.oversample} times as large and zoomed views need them "
                f"{oversample} times as large: {_REBUILD}."
            )

    def view(self, row: int, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and layout uint8 (H, W) of one pair as seen by ``view``, as copies.

        A view of the whole pair is the stored pair to the bit; any other is cut from the larger one and reduced once.
        A mirrored layout has its left-right twins exchanged. Raises DataError for a zoom without larger pairs.
        """
        image, layout = self.images[row], self.layouts[row]
        if not view.is_whole(self.size):
            self.require_oversample(2)
            image, layout = cut(self.large_images[row], self.large_layouts[row], view.box, self.size)
        if view.mirrored:
            image, layout = mirror_pair(image, layout, self.classes)
        # Copies: maps and Pillow's arrays are read-only, and torch wants writable ones without negative strides.
        return np.array(image, order="C"), np.array(layout, order="C")

    def __len__(self) -> int:
        return len(self.keys)

    def __reduce__(self):
        # Worker processes map the files again instead of receiving a copy of the arrays.
        return type(self).open, (self.folder,)


class PairDataset(Dataset):
    """Pairs of a store with one of their captions each, augmented.

    ``captions``: a non-empty list for each pair of the store; ``text``: the cache that holds them (None: not
    checked). ``rows`` restricts the dataset to these rows of the store (:func:`draw_subset`), ``labeled`` names those
    of them whose layouts may be learned from (None: all). Item (i, draw) is a function of (seed, row i, draw) alone.
    Raises DataError where the captions do not fit the store or the cache, or the augmentation zooms further than the
    store allows, ConfigError for rows that the store lacks.
    """

    def __init__(
        self,
        store: PairStore,
        captions: list[list[str]],
        text=None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        rows: np.ndarray | None = None,
        labeled: np.ndarray | None = None,
    ):
        if len(captions) != len(store) or not all(captions):
            raise DataError(
                f"{len(captions)} lists of captions for the {len(store)} pairs of {store.folder}: "
                "write the captions again from this store, at least one a pair."
            )
        if augmentation is not None:
            store.require_oversample(augmentation.oversample)
        self.store, self.captions, self.text = store, captions, text
        self.augmentation, self.seed = augmentation, seed
        self.rows = np.arange(len(store)) if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(self.rows) or self.rows.min() < 0 or self.rows.max() >= len(store):
            raise ConfigError(f"rows must be some of 0..{len(store) - 1} of {store.folder}: draw them from this store.")
        self.labeled = None if labeled is None else frozenset(np.asarray(labeled).tolist())
        self._check_text()

    def _check_text(self) -> None:
        if self.text is None:
            return
        mirrored = self.augmentation is not None and self.augmentation.flip
        groups = [self.captions[row] for row in self.rows]
        flat = [caption for group in groups for caption in group]
        needed = with_mirrors(groups, self.store.classes) if mirrored else flat
        absent = [caption for caption in needed if caption not in self.text]
        if absent:
            raise DataError(
                f"{len(absent)} captions are missing in text cache {self.text.folder}, first {absent[0]!r}: "
                "build the cache again with every split's captions (with_mirrors where classes have twins)."
            )

    @property
    def fingerprint(self) -> str:
        """Short hash of all that decides the items: arrays, classes, captions, text, augmentation, rows and seed."""
        return fingerprint({"decisive": self.decisive})

    @property
    def decisive(self) -> list:
        """What `fingerprint` is made of, as JSON types."""
        text = None if self.text is None else self.text.fingerprint
        views = None if self.augmentation is None else to_dict(self.augmentation)
        store, classes = self.store.checksums, self.store.classes.to_dict()
        decisive = [store, classes, self.captions, text, views, self.rows.tolist(), self.seed]
        return decisive if self.labeled is None else [*decisive, sorted(self.labeled)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> dict:
        """{"x": float32 (3, H, W) in [-1, 1], "y": int64 (H, W), "caption": str, "index": int, the row}.

        Also "attributes" float32 (A,) of 0 and 1 where the store has them, "labeled" bool where some layouts are not.
        """
        position, draw = item
        row = int(self.rows[position])
        rng = np.random.default_rng([self.seed, row, draw])
        caption = self.captions[row][int(rng.integers(len(self.captions[row])))]
        arrays, mirrored = self.look(row, rng)
        caption = mirror_caption(caption, self.store.classes) if mirrored else caption
        pair = {**arrays, "caption": caption, "index": row}
        if self.store.attributes is not None:
            pair["attributes"] = torch.from_numpy(np.array(self.store.attributes[row])).float()
        return pair if self.labeled is None else {**pair, "labeled": row in self.labeled}

    def look(self, row: int, rng: np.random.Generator) -> tuple[dict[str, Tensor], bool]:
        """{"x", "y"} of one pair as its augmentation shows it, and whether that is mirrored."""
        view = (self.augmentation or _STILL).draw(self.store.size, rng)
        return as_tensors(*self.store.view(row, view)), view.mirrored


def as_tensors(image: np.ndarray, layout: np.ndarray, prefix: str = "") -> dict[str, Tensor]:
    """Image uint8 (H, W, 3) and layout (H, W) -> {"x": float32 (3, H, W) in [-1, 1], "y": int64 (H, W)}."""
    return {f"{prefix}x": to_tensor(image).contiguous(), f"{prefix}y": torch.from_numpy(layout).long()}
