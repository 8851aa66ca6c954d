"""Aligned CelebA photographs with their attributes, from which the attribute classifier of the paper's scale learns.

No pretrained classifier of the 40 attributes is published by a name one could rely on, so one is trained here, on
the faces of CelebA that are not in CelebA-HQ: it has seen none of the faces that any generator learns or is held to.

list_attr_celeba.txt                                      img_align_celeba/<file>.jpg, 178 wide and 218 high
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.attributes import AttributeList, AttributeTable, read_attribute_list
from gcdp.data.classes import CELEBA
from gcdp.data.sources.celeba import MAPPING, _read_table
from gcdp.data.sources.files import read_image, require_folder
from gcdp.errors import DataError

IMAGES, ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
SPLIT = "train"


class CelebAImages:
    """Source of CelebA's aligned faces without those of CelebA-HQ; keys are file names without suffix.

    Args:
        root: folder of CelebA, with ``img_align_celeba`` and ``list_attr_celeba.txt``.
        exclude: ``CelebA-HQ-to-CelebA-mapping.txt``, the files that became CelebA-HQ.

    It knows attributes but no layouts: those that ``load`` returns are background throughout, for a store to hold.
    Raises DataError where images or the mapping are missing.
    """

    classes = CELEBA

    def __init__(self, root: str | Path, exclude: str | Path):
        self.root, self.exclude = Path(root), Path(exclude)
        self._images = require_folder(self.root / IMAGES, "unpack CelebA's img_align_celeba.zip there")
        if not self.exclude.is_file():
            raise DataError(
                f"{self.exclude} does not exist: give the {MAPPING} of CelebAMask-HQ, or the classifier would learn "
                "from faces that it is to read."
            )

    def __reduce__(self):
        return type(self), (self.root, self.exclude)

    def splits(self) -> list[str]:
        """The only split, ``train``: the classifier is held to pairs of CelebA-HQ."""
        return [SPLIT]

    def keys(self, split: str) -> list[str]:
        """Sorted keys; raises DataError for another split, or where list or mapping are malformed."""
        self._check(split)
        return sorted(self._files)

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """The largest centered square of the image (RGB), and a layout uint8 (H, H) of background.

        Raises DataError for an unknown key or a defect of the file.
        """
        image = read_image(self._images / self._file(split, key))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side)), np.zeros((side, side), np.uint8)

    def captions(self, split: str, key: str) -> None:
        """None: CelebA has no captions."""
        return None

    @property
    def attribute_table(self) -> AttributeTable:
        """The columns of the attribute list; raises DataError for a malformed list."""
        return self._list.table

    def attributes(self, split: str, key: str) -> tuple[int, ...]:
        """0/1 of each attribute of the table; raises DataError for an unknown key."""
        return tuple(self._list.values[self._list.rows[self._file(split, key)]].tolist())

    def _file(self, split: str, key: str) -> str:
        self._check(split)
        if key not in self._files:
            raise DataError(f"{self._images} has no face {key!r} to learn from: use one of keys({split!r}).")
        return self._files[key]

    def _check(self, split: str) -> None:
        if split != SPLIT:
            raise DataError(f"CelebA's faces have no split {split!r} here: use {SPLIT!r}.")

    # Read once an instance: the list has 202,599 rows.
    @cached_property
    def _list(self) -> AttributeList:
        return read_attribute_list(self.root / ATTRIBUTES)

    @cached_property
    def _files(self) -> dict[str, str]:
        """File names by key, those of CelebA-HQ left out."""
        excluded = {row[-1] for row in _read_table(self.exclude, 3)[1:]}
        unknown = sorted(excluded - self._list.rows.keys())
        if unknown or not excluded:
            named = f"{unknown[0]}, which {self.root / ATTRIBUTES} lacks" if unknown else "no face"
            raise DataError(f"{self.exclude} names {named}: give the list and the mapping of the same CelebA.")
        files = {Path(file).stem: file for file in self._list.rows if file not in excluded}
        if not files:
            raise DataError(f"{self.exclude} names every face of {self.root / ATTRIBUTES}: copy all of CelebA there.")
        return files
