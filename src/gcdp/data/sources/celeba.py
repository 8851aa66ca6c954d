"""The tree of CelebAMask-HQ with the captions of Multi-Modal CelebA-HQ, K = 19.

CelebA-HQ-img/<i>.jpg                                     CelebAMask-HQ-mask-anno/<i // 2000>/<i:05d>_<part>.png
CelebAMask-HQ-attribute-anno.txt                          celeba-caption/<i>.txt (or text/celeba-caption/<i>.txt)
CelebA-HQ-to-CelebA-mapping.txt (optional)                list_eval_partition.txt (optional, of CelebA)
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.attributes import AttributeList, AttributeTable, read_attribute_list
from gcdp.data.classes import CELEBA
from gcdp.data.sources.files import read_image, require_folder, subfolders
from gcdp.errors import DataError

PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip",
    "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""Mask files of a face in the order in which they are merged: part n of this list is class n + 1."""

IMAGES, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
CAPTIONS = ("celeba-caption", "text/celeba-caption")
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
SPLITS = ("train", "val", "test")
PER_FOLDER = 2000


def merge_parts(masks: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Masks, bool (H, W) by part -> layout uint8 (H, W) of ``size`` (H, W); a later part paints over an earlier.

    What no part covers is background, 0. Raises DataError for an unknown part or a mask of another size.
    """
    layout = np.zeros(size, dtype=np.uint8)
    for part, mask in masks.items():
        if part not in PARTS:
            raise DataError(f"there is no face part {part!r}: use {', '.join(PARTS)}.")
        if mask.shape != layout.shape:
            raise DataError(f"the mask of part {part} is {mask.shape}, not {layout.shape}: draw all at one size.")
    for index, part in enumerate(PARTS, start=1):
        if part in masks:
            layout[masks[part] != 0] = index
    return layout


class CelebASource:
    """Pairs of a CelebAMask-HQ tree, original or generated; keys are the numbers of the images, five digits.

    With both the mapping to CelebA and CelebA's partition, the splits are the official ones. Without the
    partition they are ours: the first 8/10 of the numbers train, the next 1/10 val, the rest test.
    Raises DataError where ``root`` lacks images, masks, captions or the attribute list.
    """

    classes = CELEBA

    def __init__(self, root: str | Path):
        self.root = Path(root)
        remedy = "unpack CelebAMask-HQ there, or generate the toy faces"
        self._images = require_folder(self.root / IMAGES, remedy)
        self._masks = require_folder(self.root / MASKS, remedy)
        folders = [self.root / name for name in CAPTIONS]
        texts = next((folder for folder in folders if folder.is_dir()), folders[0])
        self._captions = require_folder(texts, "unpack the text of Multi-Modal CelebA-HQ there")

    def __reduce__(self):
        return type(self), (self.root,)

    def splits(self) -> list[str]:
        """Splits that hold at least one image, ``train`` first."""
        return [split for split in SPLITS if self._numbers[split]]

    def keys(self, split: str) -> list[str]:
        """Sorted keys of a split; raises DataError where it is unknown or empty."""
        if split not in self.splits():
            raise DataError(f"{self._images} has no images of split {split!r}: use one of {', '.join(self.splits())}.")
        return [f"{number:05d}" for number in self._numbers[split]]

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB) and layout uint8 (H, W) at the size of the masks; raises DataError for any defect of a file.

        The images of the original are larger than its masks; they are reduced with LANCZOS.
        """
        number = self._number(split, key)
        image_path = self._images / f"{number}.jpg"
        image, layout = read_image(image_path), self._layout(number)
        height, width = layout.shape
        if image.width * height != image.height * width or image.width < width:
            raise DataError(
                f"{image_path} is {image.width}x{image.height} but its masks are {width}x{height} (width x height): "
                "give an image of the same proportions that is at least as large."
            )
        return image.resize((width, height), Image.Resampling.LANCZOS), layout

    def captions(self, split: str, key: str) -> list[str]:
        """All captions of the image; raises DataError where there is none."""
        path = self._captions / f"{self._number(split, key)}.txt"
        remedy = "restore it from the text of Multi-Modal CelebA-HQ"
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is missing or not UTF-8 text: {remedy}.") from error
        captions = [line for line in lines if line]
        if not captions:
            raise DataError(f"{path} has no captions: {remedy}.")
        return captions

    @property
    def attribute_table(self) -> AttributeTable:
        """The columns of the attribute list; raises DataError for a malformed list."""
        return self._attributes.table

    def attributes(self, split: str, key: str) -> tuple[int, ...]:
        """0/1 of each attribute of the table; raises DataError where the list lacks the image."""
        file = f"{self._number(split, key)}.jpg"
        if file not in self._attributes.rows:
            raise DataError(f"{self.root / ATTRIBUTES} has no row for {file}: copy the complete list there.")
        return tuple(self._attributes.values[self._attributes.rows[file]].tolist())

    def _number(self, split: str, key: str) -> int:
        number = int(key) if key.isascii() and key.isdigit() else -1
        if self._split_of.get(number) != split or key != f"{number:05d}":
            raise DataError(f"{self._images} has no image {key!r} in split {split!r}: use one of keys({split!r}).")
        return number

    def _layout(self, number: int) -> np.ndarray:
        """Merged masks of one face."""
        folder = self._masks / str(number // PER_FOLDER)
        masks, size = {}, None
        for part in self._parts.get(number, ()):
            path = folder / f"{number:05d}_{part}.png"
            if part not in PARTS:
                raise DataError(f"{path} is no known face part: remove it, or rename it to one of {', '.join(PARTS)}.")
            masks[part] = _read_mask(path)
            size = size or masks[part].shape
            if masks[part].shape != size:
                raise DataError(f"{path} differs in size from the face's other masks: export all at one size.")
        if size is None:
            raise DataError(f"{folder} has no mask {number:05d}_<part>.png: restore the masks of this face.")
        return merge_parts(masks, size)

    # The lists below are read once an instance: scanning 400,000 file names for every pair would dominate loading.
    @cached_property
    def _attributes(self) -> AttributeList:
        return read_attribute_list(self.root / ATTRIBUTES)

    @cached_property
    def _parts(self) -> dict[int, list[str]]:
        """Parts of each face; files that lie in another folder than <i // 2000> are not seen."""
        found: dict[int, list[str]] = {}
        for folder in subfolders(self._masks):
            for name in sorted(name for name in os.listdir(folder) if name.endswith(".png")):
                digits, _, part = name.removesuffix(".png").partition("_")
                if digits.isdecimal() and str(int(digits) // PER_FOLDER) == folder.name:
                    found.setdefault(int(digits), []).append(part)
        return found

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        """Sorted numbers of each split."""
        numbers = sorted(int(path.stem) for path in self._images.glob("*.jpg") if path.stem.isdecimal())
        if not numbers:
            raise DataError(f"{self._images} is empty: it needs <number>.jpg files.")
        if (self.root / PARTITION).is_file():
            return self._official(numbers)
        first, second = len(numbers) * 8 // 10, len(numbers) * 9 // 10
        return dict(zip(SPLITS, (numbers[:first], numbers[first:second], numbers[second:]), strict=True))

    @cached_property
    def _split_of(self) -> dict[int, str]:
        return {number: split for split, numbers in self._numbers.items() for number in numbers}

    def _official(self, numbers: list[int]) -> dict[str, list[int]]:
        mapping, partition = self.root / MAPPING, self.root / PARTITION
        files = {row[0]: row[-1] for row in _read_table(mapping, 3)[1:]}
        parts = dict(_read_table(partition, 2))
        splits: dict[str, list[int]] = {split: [] for split in SPLITS}
        for number in numbers:
            part = parts.get(files.get(str(number), ""), "")
            if part not in ("0", "1", "2"):
                raise DataError(
                    f"{mapping} and {partition.name} name no split (0, 1, 2) for {number}.jpg: "
                    "copy both complete files, or remove the partition."
                )
            splits[SPLITS[int(part)]].append(number)
        return splits


def _read_mask(path: Path) -> np.ndarray:
    """Bool (H, W), True where any channel is not zero; palettes are resolved first. Raises DataError."""
    red, green, blue = np.moveaxis(np.asarray(read_image(path)), -1, 0)
    return (red | green | blue) != 0


def _read_table(path: Path, columns: int) -> list[list[str]]:
    """Rows of fields separated by blanks; raises DataError for a missing file or a row of another length."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is missing or not UTF-8 text: copy it there, or remove {PARTITION}.") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise DataError(f"{path} row {number} has {len(row)} fields, not {columns}: copy the file again.")
    return rows
