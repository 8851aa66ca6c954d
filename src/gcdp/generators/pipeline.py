"""A trained model ready to use: captions in, pairs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcdp.data.images import to_tensor, to_uint8
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import Guidance, Noise, ReverseProcess, ReverseSettings, sample_seeds
from gcdp.errors import ConfigError, DataError
from gcdp.generators.guided import GuidedNetwork
from gcdp.generators.samples import Samples
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import ModelCard


class Pipeline:
    """Network, process and text encoder of one checkpoint. Made by `load_pipeline`; arguments as in `GuidedNetwork`."""

    def __init__(self, unet: UNet, process: GaussianCategoricalDiffusion, card: ModelCard, encode, dtype: str = "auto"):
        self.unet, self.process, self.card = unet, process, card
        self.network = GuidedNetwork(unet, encode, dtype, math.prod(card.size))
        self.device = self.network.device

    @property
    def classes(self):
        """The class table of the layouts."""
        return self.card.classes

    @property
    def dtype(self) -> str:
        """What the network computes in, "float32" or "bfloat16"."""
        return self.network.dtype

    @property
    def known_halves(self) -> tuple[str, ...]:
        """Which of "images" and "layouts" `sample` may be given: those that the network met clean in training.

        That is both for a network trained at independent times (`train.diagonal` below 1), the layout for one trained
        with `times: image_given_layout`, and none for one trained on the diagonal or that has one half only. A card
        without settings of training, as of a network that was not trained here, is trusted: both.
        """
        if self.process.gaussian is None or self.process.categorical is None:
            return ()
        if self._trained("times", "joint") == "image_given_layout":
            return ("layouts",)
        return ("images", "layouts") if self._trained("diagonal", 1.0) < 1 else ()

    def _trained(self, setting: str, default):
        # times came later than the first released models, which are joint
        return self.card.training.get("settings", {"diagonal": 0.0}).get(setting, default)

    @torch.inference_mode()
    def sample(
        self,
        captions: str | Sequence[str],
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 2.0,
        seed: int | Sequence[int] = 0,
        *,
        images: np.ndarray | None = None,
        layouts: np.ndarray | None = None,
        progress: bool = False,
        on_step: Callable[[slice, int, np.ndarray | None, np.ndarray | None], None] | None = None,
        **reverse: Any,
    ) -> Samples:
        """Draw one pair for each caption.

        Args:
            captions: one string or several.
            num_steps: jumps of the reverse process, 1..T.
            guidance: one scale for both halves, or (image, layout); 1 is the plain model, 0 ignores the text.
            seed: one number for the whole call, or one a caption. Equal caption and seed give an equal pair on the
                same machine, whatever else is drawn beside it.
            images, layouts: a known half, uint8 (B, H, W, 3) or (B, H, W); the other half is then drawn given it. The
                network must have been trained for that, see `known_halves`.
            progress: show a progress bar over batches.
            on_step: called as on_step(rows, s, images, layouts) after every jump to time s, for one network batch
                at a time: `rows` says which captions it holds, the arrays are their noisy pairs, in the form of
                `Samples`. It only looks on; the pairs drawn are the same without it.
            reverse: eta, threshold, final, order of `ReverseSettings`.

        Raises ConfigError for settings out of range and for a known half, or the lack of one, that the network was not
        trained for; DataError for captions that the encoder cannot take or known halves of the wrong shape.
        """
        captions = _checked_captions(captions)
        seeds = _seeds(seed, len(captions))
        guidance = Guidance.of(guidance)
        settings = ReverseSettings(num_steps, **reverse)
        walk = ReverseProcess(self.process, settings)
        if images is not None and layouts is not None:
            raise ConfigError("images and layouts are both given, so nothing is left to draw: leave one of them out")
        known = self._known_image(images, len(captions)), self._known_layout(layouts, len(captions))
        self._check_training(images, layouts)
        drawn, size = [], self.network.batch_size(guidance)
        for start in _bar(range(0, len(captions), size), progress):
            rows = slice(start, start + size)
            part = [None if half is None else half[rows] for half in known]
            look = None if on_step is None else partial(on_step, slice(start, start + len(captions[rows])))
            drawn.append(self._sample_batch(captions[rows], seeds[rows], part, guidance, walk, look))
        x, y = (None if part[0] is None else np.concatenate(part) for part in zip(*drawn, strict=True))
        scales = {"guidance_image": guidance.image, "guidance_layout": guidance.layout}
        network = {"dtype": self.network.dtype, "card": self.card.hash()}
        described = {**asdict(settings), "num_steps": int(num_steps), **scales, **network}
        return Samples(x, y, captions, seeds, described)

    def _sample_batch(self, captions, seeds, known, guidance, walk, look=None):
        """At most one network batch, padded with repeats of the last sample to its full size."""
        count, padding = len(captions), self.network.batch_size(guidance) - len(captions)
        captions, seeds = captions + captions[-1:] * padding, seeds + seeds[-1:] * padding
        known = [None if h is None else torch.cat([h, h[-1:].expand(padding, *h.shape[1:])]) for h in known]
        denoise = self.network.denoiser(self.network.context(captions), guidance)
        hook = None if look is None else lambda s, x, y: look(s, *self._arrays(x, y, count))
        size, channels = self._map_size, self.card.unet.image_channels
        drawn = walk.run(denoise, size, Noise(seeds, self.device), *known, on_step=hook, channels=channels)
        return self._arrays(*drawn, count)

    @property
    def _map_size(self) -> tuple[int, int]:
        """Height and width of what the network draws."""
        return self.card.size

    def _arrays(self, x: Tensor | None, y: Tensor | None, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The first `count` pairs of a network batch as uint8 images (B, H, W, 3) and layouts (B, H, W)."""
        images = None if x is None else to_uint8(self._pixels(x)[:count])
        return images, None if y is None else y[:count].byte().cpu().numpy()

    def _pixels(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] of what the network draws, one network batch at a time."""
        return x

    def _check_training(self, images, layouts) -> None:
        """Refuse what the network would answer in a regime it never met."""
        for half, value in (("images", images), ("layouts", layouts)):
            if value is not None and half not in self.known_halves:
                raise ConfigError(
                    f"{half} are given, but this network never met them clean in training: leave them out, or train a "
                    "model of both halves with train.diagonal below 1, e.g. 0.8"
                )
        if layouts is None and self.known_halves == ("layouts",):
            raise ConfigError(
                "this network was trained with the layout given (times: image_given_layout): give `layouts`, or draw "
                "both halves with a model of kind two_stage"
            )

    def _known_image(self, images, count: int) -> Tensor | None:
        if images is None:
            return None
        if self.process.gaussian is None:
            raise DataError("this model has no image half: leave `images` out")
        images = np.asarray(images)
        if images.shape != (count, *self.card.size, 3) or images.dtype != np.uint8:
            raise DataError(f"images must be uint8 {(count, *self.card.size, 3)}, got {images.dtype} {images.shape}")
        return to_tensor(images, self.device)

    def _known_layout(self, layouts, count: int) -> Tensor | None:
        if layouts is None:
            return None
        if self.process.categorical is None:
            raise DataError("this model has no layout half: leave `layouts` out")
        y = torch.as_tensor(np.asarray(layouts).astype(np.int64))
        classes = self.classes.num_classes
        if tuple(y.shape) != (count, *self.card.size):
            raise DataError(f"layouts must have shape {(count, *self.card.size)}, got {tuple(y.shape)}")
        if count and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise DataError(f"layouts hold a class id outside 0..{classes - 1}: map it to the model's classes first")
        return y.to(self.device)


def _checked_captions(captions: str | Sequence[str]) -> list[str]:
    captions = [captions] if isinstance(captions, str) else list(captions)
    if not captions or not all(isinstance(caption, str) for caption in captions):
        raise DataError("captions must be one string or a list of at least one string")
    return captions


def _seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed a caption. Raises ConfigError for another number of them, or one that is no integer >= 0."""
    if isinstance(seed, Integral):
        return sample_seeds(int(seed), count)
    seeds = list(seed) if isinstance(seed, Iterable) else [seed]
    if not all(isinstance(s, Integral) and s >= 0 for s in seeds):
        raise ConfigError(f"seed must be an integer of at least 0, or one for each caption, got {seed!r}")
    if len(seeds) != count:
        raise ConfigError(f"seed holds {len(seeds)} numbers for {count} captions: give one for each")
    return [int(s) for s in seeds]


def _bar(batches, progress: bool):
    if not progress:
        return batches
    from tqdm import tqdm

    return tqdm(batches, "sampling", unit="batch", mininterval=5)
