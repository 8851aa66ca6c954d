"""A street world drawn by program, written as a Cityscapes tree so that the Cityscapes reader reads it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.toy.drawing import Dice
from gcdp.toy.streets.picture import SIZE, paint
from gcdp.toy.tree import SPLITS, Tree, write_once

TREE = Tree(("leftImg8bit", "gtFine"), Path(__file__).parent, grows=True)
_CITY = "toyville"


def generate(root: Path, counts: dict[str, int], seed: int = 0, extra_classes: int = 0) -> None:
    """Write a drawn world as a Cityscapes tree (leftImg8bit and gtFine with label ids).

    Scenes of a split depend on (seed, split, index) alone, so splits are disjoint, a larger count continues a
    smaller one, and a stopped run resumes: pairs already complete are left as they are. `world.json` notes what
    was asked for; another world, smaller counts or changed drawing code start the tree anew.

    Args:
        root: folder to write into.
        counts: scenes per split; splits are "train", "val" and "test".
        seed: non-negative integer of the world.
        extra_classes: as in `draw_scene`.

    Raises:
        ConfigError: a split is unknown, a count is negative, or extra_classes cannot be drawn.
        DataError: `root` holds a tree that was not drawn by this function.
    """
    settings = {"seed": seed, "extra_classes": extra_classes}
    TREE.fill(Path(root), counts, settings, partial(_write_pair, Path(root), seed, extra_classes))


def _write_pair(root: Path, seed: int, extra_classes: int, number: int, split: str, index: int) -> None:
    stem = f"{_CITY}_{index:06d}_000019"
    image_path = root / "leftImg8bit" / split / _CITY / f"{stem}_leftImg8bit.png"
    label_path = root / "gtFine" / split / _CITY / f"{stem}_gtFine_labelIds.png"
    if image_path.exists() and label_path.exists():
        return
    image, labels = paint(Dice(seed, SPLITS[split], index), SIZE, extra_classes)
    for path, array in ((label_path, labels), (image_path, image)):
        write_once(path, partial(_save_png, array))


def _save_png(array: np.ndarray, path: Path) -> None:
    Image.fromarray(array).save(path, format="PNG", compress_level=4)
