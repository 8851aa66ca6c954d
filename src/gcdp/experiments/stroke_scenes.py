"""Strokes made from held-out scenes: every scene flattened to a few colored regions, each named by its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter

from gcdp.data.classes import ClassTable
from gcdp.generators.strokes import UNNAMED, Strokes, class_id

WINDOW = 3  # pixels on a side in which the largest class takes all


def flattened(
    images: np.ndarray, layouts: np.ndarray, classes: ClassTable, regions: int, always: Sequence[str] = ()
) -> Strokes:
    """Strokes that cover whole pictures, and their names.

    A scene keeps the `regions` classes with the most pixels; every pixel takes the one of these with the most pixels
    around it, which rounds outlines and fills in what is left out. Classes of `always` are painted on top, where they
    are. A region has one color, the mean over the pixels of its class. Nothing is random.

    Args:
        images, layouts: uint8 (N, H, W, 3) and (N, H, W).

    Raises DataError for names of `always` that are no classes.
    """
    on_top = [class_id(name, classes) for name in always]
    painted = [_flat(image, layout, classes, regions, on_top) for image, layout in zip(images, layouts, strict=True)]
    colors, labels = (np.stack(part) for part in zip(*painted, strict=True))
    return Strokes(colors, np.ones(labels.shape, bool), labels)


def _flat(image, layout, classes: ClassTable, regions: int, on_top: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    areas = np.bincount(layout.ravel(), minlength=classes.num_classes)
    if classes.unlabeled is not None:
        areas[classes.unlabeled] = 0
    kept = [k for k in np.argsort(-areas, kind="stable")[:regions] if areas[k]]
    if not kept:  # nothing is labeled: one stroke without a name
        return np.full_like(image, image.mean((0, 1)).round()), np.full(layout.shape, UNNAMED)
    nearby = np.stack([uniform_filter((layout == k).astype(np.float64), WINDOW, mode="nearest") for k in kept])
    labels = np.array(kept)[nearby.argmax(0)]
    empty = nearby.max(0) == 0  # none of the kept classes is near: the largest one
    labels[empty] = kept[0]
    for k in on_top:
        labels[layout == k] = k
    colors = np.zeros_like(image)
    for k in np.unique(labels):
        colors[labels == k] = image[layout == k].mean(0).round()
    return colors, labels


def renamed(strokes: Strokes, names: Mapping[str, str], classes: ClassTable) -> Strokes:
    """The same strokes with other names for some classes, {class: class}, and with none for the others.

    Raises DataError for names that are no classes.
    """
    labels = np.full_like(strokes.labels, UNNAMED)
    for before, after in names.items():
        labels[strokes.labels == class_id(before, classes)] = class_id(after, classes)
    return replace(strokes, labels=labels)
