"""The Cityscapes tree: ``leftImg8bit/<split>/<city>/`` and ``gtFine/<split>/<city>/``, K = 20."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_ID
from gcdp.data.sources.files import check_same_size, read_image, read_layout, require_folder, split_order, subfolders
from gcdp.errors import DataError

IMAGE_SUFFIX = "_leftImg8bit.png"
LAYOUT_SUFFIX = "_gtFine_labelIds.png"


class CityscapesSource:
    """Pairs of a Cityscapes tree, official or generated; keys are file names without suffix.

    Label ids 0..33 become the 19 train ids, everything void becomes 19. The license plate, id -1, is never
    drawn into ``labelIds`` files, so 255 is an error and not a disguised -1. The official test split carries
    dummy labels: it opens, but its layouts are unlabeled throughout.
    Raises DataError where ``root`` lacks ``leftImg8bit`` or ``gtFine``.
    """

    classes = CITYSCAPES

    def __init__(self, root: str | Path):
        self.root = Path(root)
        remedy = "unpack Cityscapes' leftImg8bit and gtFine archives there, or generate the toy streets"
        self._images = require_folder(self.root / "leftImg8bit", remedy)
        self._layouts = require_folder(self.root / "gtFine", remedy)
        # A listing per instance and split: sorting thousands of names for every pair would dominate loading.
        self._cities = cache(self._list)

    def __reduce__(self):
        return type(self), (self.root,)

    def splits(self) -> list[str]:
        """Splits that have both an image and a layout folder, ``train`` first."""
        images = {folder.name for folder in subfolders(self._images)}
        return split_order([folder.name for folder in subfolders(self._layouts) if folder.name in images])

    def keys(self, split: str) -> list[str]:
        """Sorted keys of a split; raises DataError where it is unknown or empty."""
        return sorted(self._cities(split))

    def load(self, split: str, key: str) -> tuple[Image.Image, np.ndarray]:
        """Image (RGB) and layout uint8 (H, W) of train ids; raises DataError for a defect of either file."""
        image_path, layout_path = self._paths(split, key)
        image, labels = read_image(image_path), read_layout(layout_path)
        check_same_size(image, labels, image_path, layout_path)
        table = np.asarray(CITYSCAPES_TRAIN_ID, dtype=np.uint8)
        outside = np.unique(labels[(labels < 0) | (labels >= len(table))])
        if outside.size:
            raise DataError(
                f"{layout_path} holds label id {outside[0]}, but Cityscapes has ids 0..33: "
                "give the labelIds files, not trainIds or instanceIds."
            )
        return image, table[labels]

    def captions(self, split: str, key: str) -> None:
        """None: Cityscapes has no captions, they are composed from the layout."""
        return None

    def _list(self, split: str) -> dict[str, str]:
        folder = require_folder(self._images / split, f"use one of {', '.join(self.splits())}")
        found = {
            path.name.removesuffix(IMAGE_SUFFIX): path.parent.name
            for path in folder.glob(f"*/*{IMAGE_SUFFIX}")
            if not path.name.startswith(".")
        }
        if not found:
            raise DataError(f"split folder {folder} is empty: it needs <city>/*{IMAGE_SUFFIX} files.")
        return found

    def _paths(self, split: str, key: str) -> tuple[Path, Path]:
        city = self._cities(split).get(key)
        if city is None:
            raise DataError(f"{self._images / split} has no {key}{IMAGE_SUFFIX}: use one of keys({split!r}).")
        return (
            self._images / split / city / f"{key}{IMAGE_SUFFIX}",
            self._layouts / split / city / f"{key}{LAYOUT_SUFFIX}",
        )
