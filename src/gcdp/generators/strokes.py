"""Strokes painted by a user: colors, where they are, and what some of them are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError

UNNAMED = -1


@dataclass(frozen=True)
class Strokes:
    """What was painted on B pictures.

    Args:
        images: colors, uint8 (B, H, W, 3); those outside the mask do not matter.
        masks: bool (B, H, W), True where there is a stroke.
        labels: int (B, H, W), the class of each pixel of a named stroke, -1 elsewhere; None: no stroke has a name.

    Raises DataError for arrays of other shapes or types, and pictures without any stroke.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.images)[:3]
        fits = np.ndim(self.images) == 4 and np.shape(self.images)[3] == 3 and np.asarray(self.images).dtype == np.uint8
        if not fits:
            given = f"{np.asarray(self.images).dtype} {np.shape(self.images)}"
            raise DataError(f"images of strokes must be uint8 (B, H, W, 3), got {given}")
        if np.shape(self.masks) != shape or np.asarray(self.masks).dtype != bool:
            given = "none" if self.masks is None else f"{np.asarray(self.masks).dtype} {np.shape(self.masks)}"
            raise DataError(f"masks of strokes must be bool {shape}, True where there is a stroke, got {given}")
        empty = np.flatnonzero(~np.asarray(self.masks).any((1, 2)))
        if len(empty):
            raise DataError(f"picture {empty[0]} has no stroke at all: paint something, or draw from text by `sample`")
        if self.labels is not None and np.shape(self.labels) != shape:
            raise DataError(f"labels of strokes must have shape {shape}, got {np.shape(self.labels)}")
        if self.labels is not None and (np.asarray(self.labels)[~np.asarray(self.masks)] != UNNAMED).any():
            raise DataError(f"labels name pixels outside the mask: only strokes have names, give {UNNAMED} elsewhere")

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen) -> Strokes:
        """Some of the pictures."""
        return Strokes(*(None if part is None else part[chosen] for part in vars(self).values()))

    def for_each(self, count: int, texts: str = "captions") -> Strokes:
        """One picture for each of so many `texts`; a single one serves all. Raises DataError for another number."""
        if len(self) not in (1, count):
            raise DataError(f"{len(self)} pictures of strokes are given for {count} {texts}: give one for each")
        return self if len(self) == count else self.rows([0] * count)

    def without_names(self) -> Strokes:
        """The same strokes, none of them named."""
        return Strokes(self.images, self.masks)


def read_strokes(
    path: str | Path, size: tuple[int, int], classes: ClassTable, names: Mapping[str, str] | None = None
) -> Strokes:
    """One picture of strokes from a PNG file, at `size` (H, W): a pixel that is mostly transparent has no stroke.

    Args:
        names: {color, as "#rrggbb": class name}, for the strokes that have a name.

    Raises DataError for a file that cannot be read, one without transparency or strokes, a color that no stroke has,
    and unknown class names.
    """
    path = Path(path)
    try:
        with Image.open(path) as file:
            if "A" not in file.getbands() and "transparency" not in file.info:
                raise DataError(f"{path} has no transparency to tell strokes from the rest: save it as RGBA")
            picture = file.convert("RGBA").resize((size[1], size[0]), Image.Resampling.NEAREST)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a picture: {error}") from error
    pixels = np.asarray(picture)
    mask, colors = pixels[..., 3] > 127, pixels[..., :3]
    labels = np.full(size, UNNAMED)
    for color, name in (names or {}).items():
        same = mask & (colors == _color(color)).all(-1)
        if not same.any():
            raise DataError(f"{path} has no stroke of color {color}, which is named '{name}'")
        labels[same] = class_id(name, classes)
    return Strokes(colors[None].copy(), mask[None], labels[None] if names else None)


def class_id(name: str, classes: ClassTable) -> int:
    """The class of a stroke's name. Raises DataError for an unknown one."""
    known = {each.lower(): number for number, each in enumerate(classes.names)}
    if name.lower() not in known:
        raise DataError(f"'{name}' names no class of {classes.name}: choose from {', '.join(classes.names)}")
    return known[name.lower()]


def _color(text: str) -> np.ndarray:
    try:
        return np.array([int(text.removeprefix("#")[i : i + 2], 16) for i in (0, 2, 4)], np.uint8)
    except ValueError as error:
        raise DataError(f"'{text}' is no color: write it as #rrggbb") from error
