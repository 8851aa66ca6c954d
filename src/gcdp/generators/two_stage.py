"""The two-stage rival: a layout is drawn from the text, then an image given that layout and the text.

Where the joint model walks both chains together, this one factorizes p(x, y | text) = p(y | text) p(x | y, text)
into two networks. The second stage never revises the layout that the first one chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.diffusion.sampling import Guidance
from gcdp.errors import ConfigError
from gcdp.generators.composed import Composed
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.samples import Samples

IMAGE_STREAM = 0x1A6E  # mixed into a sample's seed: its image must not reuse the random numbers of its layout


class TwoStagePipeline(Composed):
    """A layout-only model and a joint network that is told a clean layout, used one after the other.

    Args:
        layouts: model of the layout half alone.
        images: model of both halves; it draws the image with the layout given (its layout time is 0).

    Raises ConfigError where a stage has other halves than these, or the two differ in size or classes.
    """

    def __init__(self, layouts: Pipeline, images: Pipeline):
        if layouts.process.gaussian is not None or layouts.process.categorical is None:
            raise ConfigError("layouts must be a layout-only model: train one with image: false")
        if images.process.gaussian is None or images.process.categorical is None:
            raise ConfigError("images must be a model of both halves, which can be given a layout: train a joint one")
        if layouts.card.size != images.card.size or layouts.classes != images.classes:
            raise ConfigError(
                f"the stages must share size and classes, got {layouts.card.size} of {layouts.classes.name!r} and "
                f"{images.card.size} of {images.classes.name!r}: train both on the same pairs"
            )
        super().__init__(layouts, images)
        self.layouts, self.images = layouts, images

    def sample(
        self,
        captions: str | Sequence[str],
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 2.0,
        seed: int | Sequence[int] = 0,
        **settings: Any,
    ) -> Samples:
        """Draw one pair for each caption; arguments as in `Pipeline.sample`, without a known half.

        `num_steps` are the jumps of each stage, so that a pair costs two walks; `on_step` sees both, first the layouts
        alone. Of `guidance` (image, layout) each stage takes its own part. The layouts are those of
        `self.layouts.sample` with the same seeds; image seeds derive from them. Equal caption and seed give an equal
        pair on the same machine.

        Raises ConfigError and DataError as `Pipeline.sample` does.
        """
        guidance, settings = Guidance.of(guidance), {**settings, "num_steps": num_steps}
        if settings.get("images") is not None or settings.get("layouts") is not None:
            raise ConfigError("a two-stage model draws both halves: leave `images` and `layouts` out")
        first = self.layouts.sample(captions, guidance=Guidance(1.0, guidance.layout), seed=seed, **settings)
        seeds, only_image = [image_seed(s) for s in first.seeds], Guidance(guidance.image, 1.0)
        settings["layouts"] = first.layouts
        second = self.images.sample(first.captions, guidance=only_image, seed=seeds, **settings)
        described = {
            **second.settings,
            "guidance_layout": guidance.layout,
            "card_layouts": first.settings["card"],
        }
        return Samples(second.images, first.layouts, first.captions, first.seeds, described)


def image_seed(seed: int) -> int:
    """Seed of the image stage of a sample, from the sample's own seed."""
    return int(np.random.SeedSequence([seed, IMAGE_STREAM]).generate_state(1)[0])
