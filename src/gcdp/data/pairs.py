"""Stores of pairs, resized once and memory-mapped, and the torch dataset that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from gcdp.data.attributes import AttributeTable
from gcdp.data.augmentation import Augmentation
from gcdp.data.batches import EpochBatches
from gcdp.data.captions import mirror_caption, with_mirrors
from gcdp.data.classes import ClassTable
from gcdp.errors import ConfigError, DataError
from gcdp.storage import atomic_folder, fingerprint, read_json, sha256
from gcdp.validation import to_dict

__all__ = [
    "Augmentation",
    "EpochBatches",
    "PairDataset",
    "PairStore",
    "build_store",
    "collate",
    "draw_subset",
    "resize_pair",
]

VERSION = 1
_REBUILD = "delete the folder and build the store again"
# Keeps the permutation of subsets apart from the streams of epochs and of single pairs.
_SUBSET = 0x5B5E7


def _center_box(width: int, height: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Largest centered box (left, top, right, bottom) with the aspect ratio of ``size`` (H, W)."""
    box_width = min(width, height * size[1] / size[0])
    box_height = min(height, width * size[0] / size[1])
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, min(left + box_width, width), min(top + box_height, height)


def resize_pair(image: Image.Image, layout: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image and layout (h, w) -> uint8 (H, W, 3) and uint8 (H, W) at ``size`` (H, W).

    Both are first cropped, centered, to the aspect ratio of ``size``. The image is resized with Pillow's
    LANCZOS, whose kernel widens with the reduction (antialiased); the layout takes the nearest label.
    """
    box = _center_box(*image.size, size)
    target = (size[1], size[0])
    pixels = image.resize(target, Image.Resampling.LANCZOS, box=box)
    labels = Image.fromarray(layout).resize(target, Image.Resampling.NEAREST, box=box)
    return np.asarray(pixels), np.asarray(labels)


def build_store(source, split: str, size: tuple[int, int], folder: str | Path) -> PairStore:
    """Resize every pair of ``split`` to ``size`` (H, W) and write the store ``folder``, replacing any there.

    The folder appears only when complete. Raises DataError for any defect of the source, ConfigError for a
    size < 1. The attributes of a source that knows them are stored beside the arrays.
    """
    size = (int(size[0]), int(size[1]))
    if min(size) < 1:
        raise ConfigError(f"size is {size}: give height and width of at least one pixel.")
    folder, keys = Path(folder), source.keys(split)
    if not keys:
        raise DataError(f"split {split!r} is empty: add pairs, or choose one of {', '.join(source.splits())}.")
    captions, attributes = [], []
    table = getattr(source, "attribute_table", None)
    with atomic_folder(folder) as partial:
        images = np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, (len(keys), *size, 3))
        layouts = np.lib.format.open_memmap(partial / "layouts.npy", "w+", np.uint8, (len(keys), *size))
        for position, key in enumerate(keys):  # all of a pair at once: a source may have drawn it for the purpose
            captions.append(source.captions(split, key))
            attributes += [] if table is None else [_attributes(source, split, key)]
            images[position], layouts[position] = resize_pair(*source.load(split, key), size)
        images.flush()
        layouts.flush()
        if table is not None:
            np.save(partial / "attributes.npy", np.asarray(attributes, dtype=np.uint8), allow_pickle=False)
        index = {
            "version": VERSION,
            "split": split,
            "size": list(size),
            "keys": keys,
            "classes": source.classes.to_dict(),
            "captions": captions if any(captions) else None,
            "files": {path.name: _describe(path) for path in sorted(partial.glob("*.npy"))},
        }
        # No entry without attributes: such stores stay equal to the byte to those built before there were any.
        index |= {"attributes": table.to_dict()} if table is not None else {}
        (partial / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1), encoding="utf-8")
    return PairStore.open(folder)


def _attributes(source, split: str, key: str) -> tuple[int, ...]:
    """Attributes 0/1 of a pair; raises DataError where they do not fit the table."""
    row, count = source.attributes(split, key), source.attribute_table.num_attributes
    if len(row) != count or not set(row) <= {0, 1}:
        raise DataError(f"pair {split}/{key} needs {count} attributes of 0 or 1: correct the attribute list.")
    return row


def draw_subset(length: int, count: int, seed: int) -> np.ndarray:
    """``count`` of ``length`` rows, int64 and sorted: the first of a permutation that depends on (length, seed)
    alone, so that smaller subsets lie inside larger ones. Raises ConfigError for a count outside 1..length."""
    if not 1 <= count <= length:
        raise ConfigError(f"a subset of {count} pairs cannot be drawn from {length}: ask for 1 to {length}.")
    return np.sort(np.random.default_rng([_SUBSET, seed]).permutation(length)[:count]).astype(np.int64)


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
    ``attribute_table`` are None where the source knew none.
    """

    def __init__(self, folder: Path, index: dict, count: int | None = None):
        self.folder, self._count = folder, count
        self.split: str = index["split"]
        self.size: tuple[int, int] = tuple(index["size"])
        self.keys: list[str] = index["keys"]
        self.classes = _table(ClassTable, index["classes"], folder / "index.json")
        self.captions: list[list[str]] | None = index["captions"]
        self._files: dict[str, dict] = index["files"]
        self.images = self._map("images.npy", (len(self.keys), *self.size, 3))[:count]
        self.layouts = self._map("layouts.npy", (len(self.keys), *self.size))[:count]
        self.attribute_table: AttributeTable | None = None
        self.attributes: np.ndarray | None = None
        if index.get("attributes") is not None:
            self.attribute_table = _table(AttributeTable, index["attributes"], folder / "index.json")
            shape = (len(self.keys), self.attribute_table.num_attributes)
            self.attributes = self._map("attributes.npy", shape)[:count]
        self.keys = self.keys[:count]
        self.captions = self.captions[:count] if self.captions else self.captions

    @classmethod
    def open(cls, folder: str | Path, count: int | None = None) -> PairStore:
        """Open a store, checking index, sizes and shapes (contents: :meth:`verify`); raises DataError.

        ``count`` takes the first pairs only, so that smaller subsets lie inside larger ones.
        """
        folder = Path(folder)
        index = read_json(folder / "index.json", "build the store of this split first")
        if not isinstance(index, dict) or index.get("version") != VERSION:
            raise DataError(f"{folder / 'index.json'} is not of store version {VERSION}: {_REBUILD}.")
        try:
            if count is not None and not 1 <= count <= len(index["keys"]):
                raise DataError(f"{folder} holds {len(index['keys'])} pairs, not {count}: ask for 1 to that many.")
            return cls(folder, index, count)
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / 'index.json'} is incomplete ({error!r}): {_REBUILD}.") from error

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

    def __len__(self) -> int:
        return len(self.keys)

    def __reduce__(self):
        # Worker processes map the files again instead of receiving a copy of the arrays.
        return type(self).open, (self.folder, self._count)


class PairDataset(Dataset):
    """Pairs of a store with one of their captions each, augmented.

    ``captions``: a non-empty list for each pair of the store; ``text``: the cache that holds them (None: not
    checked). ``rows`` restricts the dataset to these rows of the store (:func:`draw_subset`). Item (i, draw) is a
    function of (seed, row i, draw) alone. Raises DataError where the captions do not fit the store or the cache,
    ConfigError for rows that the store lacks.
    """

    def __init__(
        self,
        store: PairStore,
        captions: list[list[str]],
        text=None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        rows: np.ndarray | None = None,
    ):
        if len(captions) != len(store) or not all(captions):
            raise DataError(
                f"{len(captions)} lists of captions for the {len(store)} pairs of {store.folder}: "
                "write the captions again from this store, at least one a pair."
            )
        self.store, self.captions, self.text = store, captions, text
        self.augmentation, self.seed = augmentation, seed
        self.rows = np.arange(len(store)) if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(self.rows) or self.rows.min() < 0 or self.rows.max() >= len(store):
            raise ConfigError(f"rows must be some of 0..{len(store) - 1} of {store.folder}: draw them from this store.")
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
        text = None if self.text is None else self.text.fingerprint
        views = None if self.augmentation is None else to_dict(self.augmentation)
        store, classes = self.store.checksums, self.store.classes.to_dict()
        decisive = [store, classes, self.captions, text, views, self.rows.tolist(), self.seed]
        return fingerprint({"decisive": decisive})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> dict:
        """{"x": float32 (3, H, W) in [-1, 1], "y": int64 (H, W), "caption": str, "index": int, the row}.

        Also "attributes" float32 (A,) of 0 and 1 where the store has them.
        """
        position, draw = item
        row = int(self.rows[position])
        rng = np.random.default_rng([self.seed, row, draw])
        caption = self.captions[row][int(rng.integers(len(self.captions[row])))]
        image, layout = np.array(self.store.images[row]), np.array(self.store.layouts[row])
        if self.augmentation is not None:
            view = self.augmentation.draw(layout.shape, rng)
            image, layout = self.augmentation.apply(image, layout, view, self.store.classes)
            caption = mirror_caption(caption, self.store.classes) if view.mirrored else caption
        x = torch.from_numpy(image).permute(2, 0, 1).float().div_(127.5).sub_(1)
        pair = {"x": x.contiguous(), "y": torch.from_numpy(layout).long(), "caption": caption, "index": row}
        if self.store.attributes is not None:
            pair["attributes"] = torch.from_numpy(np.array(self.store.attributes[row])).float()
        return pair


def collate(items: list[dict], text=None) -> dict:
    """Stack items into "x" float32 (B, 3, H, W), "y" int64 (B, H, W), "captions" and "index" int64 (B,).

    Where the items have attributes also "attributes" float32 (B, A). With a text cache also "tokens" float32
    (B, L, D) and "mask" bool (B, L), zero and False where padded.
    Raises DataError for a caption that the cache does not hold.
    """
    captions = [item["caption"] for item in items]
    batch = {
        "x": torch.stack([item["x"] for item in items]),
        "y": torch.stack([item["y"] for item in items]),
        "captions": captions,
        "index": torch.tensor([item["index"] for item in items]),
    }
    if "attributes" in items[0]:
        batch["attributes"] = torch.stack([item["attributes"] for item in items])
    if text is not None:
        batch["tokens"], batch["mask"] = text.batch(captions)
    return batch
