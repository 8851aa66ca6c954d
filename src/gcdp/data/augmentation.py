"""Augmentation of a pair: zoom, window and mirror, of image and layout together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gcdp.data.classes import ClassTable
from gcdp.data.images import resize_pair
from gcdp.errors import ConfigError


@dataclass(frozen=True)
class View:
    """What an augmentation looks at: box (left, top, right, bottom) in pixels of a pair, mirrored or not."""

    box: tuple[float, float, float, float]
    mirrored: bool

    def is_whole(self, size: tuple[int, int]) -> bool:
        """Whether the box is all of a pair of ``size`` (H, W)."""
        return self.box == (0, 0, size[1], size[0])


@dataclass(frozen=True)
class Augmentation:
    """Zoom by a uniform factor in ``rescale``, look at a random window of that zoom, mirror one view in two.

    Raises ConfigError unless 1 <= rescale[0] <= rescale[1].
    """

    rescale: tuple[float, float] = (1.0, 1.2)
    flip: bool = True

    def __post_init__(self):
        if len(self.rescale) != 2 or not 1 <= self.rescale[0] <= self.rescale[1]:
            raise ConfigError(f"rescale is {self.rescale}: give two factors with 1 <= lowest <= highest.")

    @property
    def oversample(self) -> int:
        """How many times its size a store must keep pairs, so that each view is cut down and none enlarged.

        1 where nothing zooms. Otherwise at least 2: below, reducing twice would soften the views.
        """
        return 1 if self.rescale[1] == 1 else max(2, math.ceil(self.rescale[1]))

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> View:
        """A random view of a pair of ``size`` (H, W); always takes four numbers from ``rng``."""
        scale, down, across, mirror = rng.random(4)
        factor = self.rescale[0] + (self.rescale[1] - self.rescale[0]) * scale
        height, width = size[0] / factor, size[1] / factor
        top, left = (size[0] - height) * down, (size[1] - width) * across
        # Rounding may put the far edge a hair outside the picture, which Pillow refuses.
        box = (left, top, min(left + width, size[1]), min(top + height, size[0]))
        return View(box, bool(self.flip and mirror < 0.5))


def cut(
    image: np.ndarray, layout: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What lies in ``box`` of a pair of ``size`` (H, W), taken from the same pair n times as large and reduced once.

    Image uint8 (nH, nW, 3) and layout uint8 (nH, nW) -> uint8 (H, W, 3) and uint8 (H, W), the image antialiased.
    """
    factor = layout.shape[0] // size[0]
    left, top, right, bottom = (factor * edge for edge in box)
    return resize_pair(Image.fromarray(image), layout, size, (left, top, right, bottom))


def mirror_pair(
    image: np.ndarray, layout: np.ndarray, classes: ClassTable | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and layout (H, W) turned over from left to right; the layout's left-right twins of ``classes``
    are exchanged."""
    layout = layout[:, ::-1]
    return image[:, ::-1], classes.swap_twins(layout) if classes else layout
