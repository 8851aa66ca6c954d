"""A trained model ready to use: captions in, pairs out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcdp.data.images import to_uint8
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.outpainting import ImageJump
from gcdp.diffusion.sampling import Guidance, Noise, ReverseProcess, ReverseSettings, sample_seeds
from gcdp.errors import ConfigError, DataError
from gcdp.generators.guided import GuidedNetwork
from gcdp.generators.known import Given, Route, find_route, read_given
from gcdp.generators.samples import Samples
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import ModelCard


class Pipeline:
    """Network, process and text encoder of one checkpoint. Made by `load_pipeline`; arguments as in `GuidedNetwork`."""

    fixed_settings: dict[str, Any] = {}  # of `ReverseSettings`, which nobody may change

    def __init__(self, unet: UNet, process: GaussianCategoricalDiffusion, card: ModelCard, encode, dtype: str = "auto"):
        self.unet, self.process, self.card = unet, process, card
        self.network = GuidedNetwork(unet, encode, dtype, math.prod(card.size))
        self.device = self.network.device
        self._warned = False

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
        """Which of "images" and "layouts" the network may be told as clean: those that it met clean in training.

        That is both for a network trained at independent times (`train.diagonal` below 1), the layout or the image for
        one trained with `times: image_given_layout` or `layout_given_image`, and none for one trained on the diagonal
        or that has one half only. A card without settings of training, as of a network that was not trained here, is
        trusted: both.
        """
        if self.process.gaussian is None or self.process.categorical is None:
            return ()
        if self._required:
            return (self._required,)
        return ("images", "layouts") if self._trained("diagonal", 1.0) < 1 else ()

    @property
    def _required(self) -> str | None:
        """The half that the network was always given in training."""
        return {"image_given_layout": "layouts", "layout_given_image": "images"}.get(self._trained("times", "joint"))

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
        mask_images: np.ndarray | None = None,
        mask_layouts: np.ndarray | None = None,
        path: str | float | Sequence[Sequence[int]] = "diagonal",
        resamplings: int | None = None,
        image_jump: ImageJump = GaussianDiffusion.q_jump,
        batch_size: int | None = None,
        progress: bool = False,
        on_step: Callable[[slice, int, np.ndarray | None, np.ndarray | None], None] | None = None,
        **reverse: Any,
    ) -> Samples:
        """Draw one pair for each caption; with a known part, the rest of it.

        A half given without a mask is known everywhere. A network that met it clean in training (`known_halves`) is
        told it as clean and answers directly; any other goes by RePaint (`gcdp.diffusion.outpainting`), and warns once.
        A half given with a mask always goes by RePaint, as no noise level is told pixel by pixel. The settings of the
        samples say which it was, and how often the network was called for each pair.

        Args:
            captions: one string or several.
            num_steps: jumps of the reverse process, 1..T.
            guidance: one scale for both halves, or (image, layout); 1 is the plain model, 0 ignores the text.
            seed: one number for the whole call, or one a caption. Equal caption and seed give an equal pair on the
                same machine, whatever else is drawn beside it.
            images, layouts: known halves, uint8 (B, H, W, 3) and (B, H, W).
            mask_images, mask_layouts: where they are known, bool (B, H, W).
            path: in which order both times fall: "diagonal" together, "layout_first" or "image_first" one after the
                other, a number in -1..1 between these (`gcdp.diffusion.paths.led`), or pairs of times (t_x, t_y), whose
                number then takes the place of `num_steps`. "image_alone" and "layout_alone" leave the other half out.
            resamplings: how often RePaint takes each jump; by default as in the paper, 5 where pixels of the image are
                drawn, else 1.
            image_jump: how RePaint takes an image back to the time it came from, see `gcdp.diffusion.outpainting`.
            batch_size: captions in one call of the network. By default the number that suits the device, filled up, so
                that a pair is the same whatever else is drawn; a number is not filled up, which is faster for a few
                captions and gives pairs that may differ from these, as other batches round differently.
            progress: show a progress bar over batches.
            on_step: called as on_step(rows, s, images, layouts) after every jump to time s, for one network batch
                at a time: `rows` says which captions it holds, the arrays are their noisy pairs, in the form of
                `Samples`. It only looks on; the pairs drawn are the same without it. Where the times of the halves that
                are drawn differ, s is the later one.
            reverse: eta, threshold, final, order of `ReverseSettings`.

        Raises ConfigError for settings out of range, a path that the network was not trained for or that does not fit
        what is known, and where nothing is left to draw; DataError for captions that the encoder cannot take, known
        halves or masks of the wrong shape, of a half that the model has not, and masks without their half.
        """
        captions = checked_captions(captions)
        seeds = seeds_of_call(seed, len(captions))
        guidance = Guidance.of(guidance)
        settings = reverse_settings(num_steps, reverse)
        halves = {"images": images, "layouts": layouts, "mask_images": mask_images, "mask_layouts": mask_layouts}
        given = read_given(self.card, self.process, self.device, len(captions), halves)
        route = self._route(given, num_steps, path, resamplings)
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}: leave it out for that of the device")
        drawn, size = [], batch_size or self.network.batch_size(guidance)
        for start in batches_shown(range(0, len(captions), size), progress):
            rows = slice(start, start + size)
            filled = len(captions[rows]) if batch_size else size
            part = given.rows(rows, filled)
            walk = route.reverse(self.process, settings, part, image_jump)
            look = None if on_step is None else partial(on_step, slice(start, start + len(captions[rows])))
            call = captions[rows], seeds[rows], filled
            drawn.append(self._sample_batch(*call, guidance, walk, route.keywords(part), look))
        x, y = (None if part[0] is None else np.concatenate(part) for part in zip(*drawn, strict=True))
        facts = {"guidance_image": guidance.image, "guidance_layout": guidance.layout, **route.facts}
        if route.replaced and image_jump is not GaussianDiffusion.q_jump:
            facts["image_jump"] = image_jump.__name__
        network = {"dtype": self.network.dtype, "card": self.card.hash()}
        network |= {"batch_size": batch_size} if batch_size else {}
        return Samples(
            x, y, captions, seeds, {**asdict(settings), "num_steps": len(route.path) - 1, **facts, **network}
        )

    def _route(self, given: Given, num_steps: int, path, resamplings: int | None) -> Route:
        """How to draw what is not given. Refuses paths that the network never met, and warns of halves."""
        route = find_route(given, self.known_halves, self.process, num_steps, path, resamplings)
        both = self.process.gaussian is not None and self.process.categorical is not None
        if self._required and self._required.removesuffix("s") not in route.direct:
            other = "two_stage" if self._required == "layouts" else "diffusion"
            raise ConfigError(
                f"this network was trained with the {self._required.removesuffix('s')} given: give `{self._required}` "
                f"without a mask, or draw both halves with a model of kind {other}"
            )
        if route.described != "diagonal" and (not both or self._trained("diagonal", 1.0) >= 1):
            raise ConfigError(
                f"path {route.described!r} needs a model of both halves trained at independent times (train.diagonal "
                "below 1, e.g. 0.5): leave path out"
            )
        for name in route.replaced:
            if both and getattr(given, f"{name}_mask") is None and not self._warned:
                self._warned = True
                warnings.warn(
                    f"this network never met clean {name}s in training, so the known half goes by RePaint; a model "
                    "with train.diagonal below 1, e.g. 0.5, answers directly and in fewer calls",
                    stacklevel=4,  # the caller of `sample`
                )
        return route

    def _sample_batch(self, captions, seeds, filled, guidance, walk: ReverseProcess, known: dict[str, Any], look=None):
        """At most one network batch, padded with repeats of the last sample to `filled` rows."""
        count, padding = len(captions), filled - len(captions)
        captions, seeds = captions + captions[-1:] * padding, seeds + seeds[-1:] * padding
        denoise = self.network.denoiser(self.network.context(captions), guidance)
        hook = None if look is None else lambda s, x, y: look(s, *self._arrays(x, y, count))
        size, channels = self.map_size, self.card.unet.image_channels
        drawn = walk.run(denoise, size, Noise(seeds, self.device), **known, on_step=hook, channels=channels)
        return self._arrays(*drawn, count)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of what the network draws."""
        return self.card.size

    def _arrays(self, x: Tensor | None, y: Tensor | None, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The first `count` pairs of a network batch as uint8 images (B, H, W, 3) and layouts (B, H, W)."""
        return arrays(None if x is None else self.pixels(x)[:count], None if y is None else y[:count])

    def pixels(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] of what the network draws, one network batch at a time."""
        return x

    def encoded(self, pixels: Tensor) -> Tensor:
        """What the network draws of images (B, 3, H, W) in [-1, 1]."""
        return pixels


def arrays(x: Tensor | None, y: Tensor | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Images (B, 3, H, W) in [-1, 1] and labels (B, H, W) -> uint8 (B, H, W, 3) and (B, H, W), None where None."""
    return None if x is None else to_uint8(x), None if y is None else y.byte().cpu().numpy()


def reverse_settings(num_steps: int, given: dict[str, Any]) -> ReverseSettings:
    """The settings of a call of `sample`. Raises ConfigError for a keyword that is none of them."""
    known = [field.name for field in fields(ReverseSettings)]
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(
            f"sample has no setting '{unknown[0]}': those of the reverse process are {', '.join(known)}; device and "
            "dtype are settings of load_pipeline"
        )
    return ReverseSettings(num_steps, **given)


def checked_captions(captions: str | Sequence[str]) -> list[str]:
    """Captions as a list. Raises DataError for anything but one string or several."""
    captions = [captions] if isinstance(captions, str) else list(captions)
    if not captions or not all(isinstance(caption, str) for caption in captions):
        raise DataError("captions must be one string or a list of at least one string")
    return captions


def seeds_of_call(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed a caption. Raises ConfigError for another number of them, or one that is no integer >= 0."""
    if isinstance(seed, Integral):
        return sample_seeds(int(seed), count)
    seeds = list(seed) if isinstance(seed, Iterable) else [seed]
    if not all(isinstance(s, Integral) and s >= 0 for s in seeds):
        raise ConfigError(f"seed must be an integer of at least 0, or one for each caption, got {seed!r}")
    if len(seeds) != count:
        raise ConfigError(f"seed holds {len(seeds)} numbers for {count} captions: give one for each")
    return [int(s) for s in seeds]


def batches_shown(batches, progress: bool):
    """An iterable of batches, under a bar where progress is asked for."""
    if not progress:
        return batches
    from tqdm import tqdm

    return tqdm(batches, "sampling", unit="batch", mininterval=5)
