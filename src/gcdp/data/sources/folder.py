"""Pairs of your own: a plain folder of images, layouts, a class table and, if there are any, captions.

images/<split>/<key>.jpg (or .jpeg, .png)      layouts/<split>/<key>.png, one class id a pixel
classes.json                                   captions.jsonl (optional), {"key", "captions"} a line
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.captions import read_rows
from gcdp.data.classes import ClassTable
from gcdp.data.sources.files import check_same_size, read_image, read_layout, require_folder, split_order, subfolders
from gcdp.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderSource:
    """Pairs of a plain folder; keys are image file names without suffix.

    ``classes.json`` is read by :meth:`gcdp.data.classes.ClassTable.from_json`. A line of ``captions.jsonl``
    may carry ``"split"`` where two splits share a key. Raises DataError for a missing or malformed root.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        require_folder(self.root, "give a folder with images/, layouts/ and classes.json")
        for name in ("images", "layouts"):
            require_folder(self.root / name, f"put the {name} there, one folder a split")
        self.classes = ClassTable.from_json(self.root / "classes.json")
        self._captions = self._read_captions()
        # A listing per instance and split: scanning the folder for every pair would dominate loading.
        self._files = cache(self._list)

    def __reduce__(self):
        return type(self), (self.root,)

    def splits(self) -> list[str]:
        """Folders of ``images/``, ``train`` first."""
        return split_order([folder.name for folder in subfolders(self.root / "images")])

    def keys(self, split: str) -> list[str]:
        """Sorted keys of a split; raises DataError where it is unknown, empty or has one key twice."""
        return sorted(self._files(split))

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB) and layout uint8 (H, W) of class ids; raises DataError for a defect of either file."""
        image_path = self._files(split).get(key)
        if image_path is None:
            raise DataError(f"{self.root / 'images' / split} has no image {key}: use one of keys({split!r}).")
        layout_path = self.root / "layouts" / split / f"{key}.png"
        image, layout = read_image(image_path), read_layout(layout_path)
        check_same_size(image, layout, image_path, layout_path)
        outside = np.unique(layout[(layout < 0) | (layout >= self.classes.num_classes)])
        if outside.size:
            raise DataError(
                f"{layout_path} holds class id {outside[0]}, but classes.json has ids "
                f"0..{self.classes.num_classes - 1}: add the class or relabel the pixels."
            )
        return image, layout.astype(np.uint8)

    def captions(self, split: str, key: str) -> list[str] | None:
        """Captions from ``captions.jsonl``, None without such a file; raises DataError for a gap in it."""
        if self._captions is None:
            return None
        found = self._captions.get((split, key)) or self._captions.get((None, key))
        if not found:
            raise DataError(f"{self.root / 'captions.jsonl'} lacks captions for {split}/{key}: add a line.")
        return found

    def _read_captions(self) -> dict[tuple[str | None, str], list[str]] | None:
        path = self.root / "captions.jsonl"
        if not path.exists():
            return None
        captions: dict[tuple[str | None, str], list[str]] = {}
        for row in read_rows(path):
            place = (row.get("split"), row["key"])
            if place in captions:
                raise DataError(f"{path} lists {row['key']!r} twice: put all its captions on one line.")
            captions[place] = row["captions"]
        return captions

    def _list(self, split: str) -> dict[str, Path]:
        folder = require_folder(self.root / "images" / split, f"use one of {', '.join(self.splits())}")
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
                continue
            if path.stem in found:
                raise DataError(f"{path} and {found[path.stem].name} share one key: rename or remove one.")
            found[path.stem] = path
        if not found:
            raise DataError(f"split folder {folder} is empty: add .jpg or .png files, or remove the folder.")
        return found
