"""The rival of super-resolution that learns nothing: drawn pairs brought to the larger size by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from gcdp.data.enlarging import FACTOR
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.samples import Samples
from gcdp.training.checkpoint import ModelCard


def resized(samples: Samples) -> Samples:
    """Pairs at twice the size: images by bicubic interpolation, each label repeated; everything else as it was."""
    images, layouts = samples.images, samples.layouts
    if images is not None:
        size = (images.shape[2] * FACTOR, images.shape[1] * FACTOR)
        larger = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in images]
        images = np.stack(larger) if larger else np.zeros((0, size[1], size[0], 3), np.uint8)
    if layouts is not None:
        layouts = layouts.repeat(FACTOR, 1).repeat(FACTOR, 2)
    return replace(samples, images=images, layouts=layouts)


class Resized:
    """A network whose pairs are enlarged by interpolation: `resized(base.sample(...))`."""

    known_halves: tuple[str, ...] = ()  # see `Pipeline.known_halves`

    def __init__(self, base: Pipeline):
        self.base = base

    @property
    def classes(self):
        """The class table of the layouts."""
        return self.base.classes

    @property
    def dtype(self) -> str:
        """What the network computes in."""
        return self.base.dtype

    @property
    def card(self) -> ModelCard:
        """The card of the network, with the size of what is drawn."""
        return replace(self.base.card, size=tuple(FACTOR * side for side in self.base.card.size))

    def sample(self, captions: str | Sequence[str], *arguments: Any, **settings: Any) -> Samples:
        """As `base.sample` with the same arguments, and raises what it does; `on_step` sees the smaller pairs."""
        return resized(self.base.sample(captions, *arguments, **settings))
