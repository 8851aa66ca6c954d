"""Augmentation of a pair: rescale, crop and mirror image and layout together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from gcdp.data.classes import ClassTable
from gcdp.errors import ConfigError


@dataclass(frozen=True)
class View:
    """What an augmentation looks at: box (left, top, right, bottom) in pixels, mirrored or not."""

    box: tuple[float, float, float, float]
    mirrored: bool


@dataclass(frozen=True)
class Augmentation:
    """Rescale by a uniform factor in ``rescale``, crop back to size (random or centered), mirror one in two.

    Both modalities are cut from the same box in one resize: bilinear (antialiased by Pillow) for the image,
    nearest for the layout. Raises ConfigError unless 1 <= rescale[0] <= rescale[1].
    """

    rescale: tuple[float, float] = (1.0, 1.2)
    crop: bool = True
    flip: bool = True

    def __post_init__(self):
        if len(self.rescale) != 2 or not 1 <= self.rescale[0] <= self.rescale[1]:
            raise ConfigError(f"rescale is {self.rescale}: give two factors with 1 <= lowest <= highest.")

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> View:
        """A random view of a pair of ``size`` (H, W); always takes four numbers from ``rng``."""
        scale, down, across, mirror = rng.random(4)
        factor = self.rescale[0] + (self.rescale[1] - self.rescale[0]) * scale
        height, width = size[0] / factor, size[1] / factor
        top = (size[0] - height) * (down if self.crop else 0.5)
        left = (size[1] - width) * (across if self.crop else 0.5)
        # Rounding may put the far edge a hair outside the picture, which Pillow refuses.
        box = (left, top, min(left + width, size[1]), min(top + height, size[0]))
        return View(box, bool(self.flip and mirror < 0.5))

    def apply(
        self, image: np.ndarray, layout: np.ndarray, view: View, classes: ClassTable | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and layout uint8 (H, W) as seen by ``view``, at their own size.

        A mirrored layout has the left-right twins of ``classes`` exchanged.
        """
        height, width = layout.shape
        if view.box != (0.0, 0.0, float(width), float(height)):
            picture, labels = Image.fromarray(image), Image.fromarray(layout)
            image = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=view.box))
            layout = np.asarray(labels.resize((width, height), Image.Resampling.NEAREST, box=view.box))
        if view.mirrored:
            image, layout = image[:, ::-1], layout[:, ::-1]
            layout = classes.swap_twins(layout) if classes else layout
        # Copies: Pillow hands out read-only arrays, and torch wants writable ones without negative strides.
        return np.array(image, order="C"), np.array(layout, order="C")

    def __call__(
        self,
        image: np.ndarray,
        layout: np.ndarray,
        rng: np.random.Generator,
        classes: ClassTable | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random view of the pair: :meth:`draw`, then :meth:`apply`."""
        return self.apply(image, layout, self.draw(layout.shape, rng), classes)
