"""Super-resolution: pairs enlarged by a second network, and both networks as one generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcdp.data.enlarging import FACTOR
from gcdp.data.images import to_tensor
from gcdp.diffusion.enlarging import SAMPLING_LEVEL, condition
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import FINALS, Guidance, Noise, ReverseProcess
from gcdp.errors import ConfigError, DataError
from gcdp.generators.composed import Composed
from gcdp.generators.guided import GuidedNetwork
from gcdp.generators.pipeline import (
    Pipeline,
    arrays,
    batches_shown,
    checked_captions,
    reverse_settings,
    seeds_of_call,
)
from gcdp.generators.samples import Samples
from gcdp.network.unet import LowResolution, UNet
from gcdp.training.checkpoint import ModelCard
from gcdp.validation import require_one_of, require_range

ENLARGING_STREAM = (
    0xE17A  # mixed into a sample's seed: enlarging must not reuse the random numbers of the first network
)


@dataclass(frozen=True)
class CascadeConfig:
    """How drawn pairs are enlarged.

    Args:
        level: of the noise that they get, 0..1.
        guidance, final: of the second network, as in `Enlarger.enlarge`.
    """

    level: float = SAMPLING_LEVEL
    guidance: float = 1.0
    final: str = "mode"

    def __post_init__(self) -> None:
        require_one_of("final", self.final, FINALS)
        require_range(self, "level", 0, 1)
        require_range(self, "guidance", 0)


class Enlarger:
    """A network that draws pairs twice as large as those it is given. Arguments as in `Pipeline`.

    Raises ConfigError for a network that takes no smaller pair.
    """

    def __init__(self, unet: UNet, process: GaussianCategoricalDiffusion, card: ModelCard, encode, dtype: str = "auto"):
        if not unet.config.low_resolution:
            raise ConfigError("this network takes no smaller pair (unet.low_resolution): draw with it by a Pipeline")
        self.unet, self.process, self.card = unet, process, card
        self.network = GuidedNetwork(unet, encode, dtype, math.prod(card.size))

    @property
    def classes(self):
        """The class table of the layouts."""
        return self.card.classes

    @property
    def dtype(self) -> str:
        """What the network computes in."""
        return self.network.dtype

    def sample(self, captions: str | Sequence[str], **settings: Any) -> Samples:
        """Always raises ConfigError, which says how such a network is used: it draws nothing from captions alone."""
        raise ConfigError(
            "this network enlarges pairs: call `enlarge` with them, or load a folder that holds a first network in "
            "base/ and this one in enlarger/"
        )

    @torch.inference_mode()
    def enlarge(
        self,
        captions: str | Sequence[str],
        images: np.ndarray | None,
        layouts: np.ndarray | None,
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 1.0,
        seed: int | Sequence[int] = 0,
        level: float = SAMPLING_LEVEL,
        *,
        progress: bool = False,
        **reverse: Any,
    ) -> Samples:
        """Draw a pair twice as large for each of the given ones.

        Args:
            captions: one for each pair.
            images, layouts: uint8 (B, h, w, 3) and (B, h, w); None for a half that the network lacks.
            level: of the noise that they get, 0..1; with more of it the network keeps less of them.
            num_steps, guidance, seed, progress, reverse: as in `Pipeline.sample`.

        Equal pair, caption and seed give an equal result on the same machine, whatever else is enlarged beside it.
        Raises DataError for halves of another size or type than the network was trained for, ConfigError for settings
        out of range.
        """
        captions, guidance = checked_captions(captions), Guidance.of(guidance)
        settings = reverse_settings(num_steps, reverse)
        seeds = seeds_of_call(seed, len(captions))
        if not 0 <= level <= 1:
            raise ConfigError(f"level must lie in 0..1, got {level!r}")
        x, y = self._given(images, layouts, len(captions))
        walk, drawn, size = ReverseProcess(self.process, settings), [], self.network.batch_size(guidance)
        for start in batches_shown(range(0, len(captions), size), progress):
            rows = [min(row, len(captions) - 1) for row in range(start, start + size)]  # the last one fills a batch up
            part = (None if half is None else half[rows] for half in (x, y))
            texts, own = [captions[row] for row in rows], [seeds[row] for row in rows]
            drawn.append(self._batch(texts, own, guidance, walk, level, *part))
        halves = (None if parts[0] is None else torch.cat(parts)[: len(captions)] for parts in zip(*drawn, strict=True))
        facts = {"guidance_image": guidance.image, "guidance_layout": guidance.layout, "level": level}
        network = {"dtype": self.dtype, "card": self.card.hash(), "network_calls": num_steps}
        return Samples(*arrays(*halves), captions, seeds, {**asdict(settings), **facts, **network})

    def _batch(self, captions, seeds, guidance, walk, level, x, y) -> tuple[Tensor | None, Tensor | None]:
        noise, device = Noise(seeds, self.network.device), self.network.device
        low = condition(self.process, x, y, torch.full((len(seeds),), level), self.card.size, noise.generators)
        low = LowResolution(low.x, low.y, low.log_snr.to(device))
        denoise = self.network.denoiser(self.network.context(captions), guidance, low)
        x, y = walk.run(denoise, self.card.size, noise, channels=self.card.unet.image_channels)
        return None if x is None else x.cpu(), None if y is None else y.cpu()

    def _given(self, images, layouts, count: int) -> tuple[Tensor | None, Tensor | None]:
        """The given halves as tensors on the device."""
        height, width = (side // FACTOR for side in self.card.size)
        halves = {"images": (images, self.process.gaussian, (count, height, width, 3))}
        halves["layouts"] = (layouts, self.process.categorical, (count, height, width))
        for name, (array, there, shape) in halves.items():
            if (array is not None) != (there is not None):
                verb = "leave them out" if there is None else "give them"
                raise DataError(f"this network has {'no' if there is None else 'a half of'} {name}: {verb}")
            if array is not None and (np.shape(array) != shape or np.asarray(array).dtype != np.uint8):
                raise DataError(f"{name} must be uint8 {shape}, got {np.asarray(array).dtype} {np.shape(array)}")
        if layouts is not None and count and int(layouts.max()) >= self.card.classes.num_classes:
            raise DataError(f"layouts hold a class id outside 0..{self.card.classes.num_classes - 1}: map them first")
        device = self.network.device
        x = None if images is None else to_tensor(np.asarray(images), device)
        return x, None if layouts is None else torch.from_numpy(np.asarray(layouts).astype(np.int64)).to(device)


class Cascade(Composed):
    """A first network and one that enlarges what it draws, used one after the other as one generator.

    `config` says how it enlarges where `sample` is not told.

    Raises ConfigError where the two do not fit: other classes, halves or sizes.
    """

    def __init__(self, base: Pipeline, enlarger: Enlarger, config: CascadeConfig = CascadeConfig()):
        size = tuple(FACTOR * side for side in base.card.size)
        if size != tuple(enlarger.card.size) or base.classes != enlarger.classes:
            raise ConfigError(
                f"the networks must share classes and differ {FACTOR} times in size, got {base.card.size} of "
                f"{base.classes.name!r} and {enlarger.card.size} of {enlarger.classes.name!r}: train both on one domain"
            )
        first, second = ((each.gaussian is None, each.categorical is None) for each in (base.process, enlarger.process))
        if first != second:
            raise ConfigError(
                "one network has a half that the other lacks: train both with the same `image` and `layout`"
            )
        super().__init__(base, enlarger)
        self.base, self.enlarger, self.config = base, enlarger, config

    def sample(
        self,
        captions: str | Sequence[str],
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 2.0,
        seed: int | Sequence[int] = 0,
        *,
        level: float | None = None,
        enlarging_guidance: float | Sequence[float] | Guidance | None = None,
        progress: bool = False,
        on_step=None,
        **reverse: Any,
    ) -> Samples:
        """Draw one pair for each caption at the larger size; arguments as in `Pipeline.sample`, without known halves.

        The first network draws what `base.sample` does with the same arguments. Each takes `num_steps` jumps, and
        `on_step` sees those of the first. `level` and `enlarging_guidance` are those of `Enlarger.enlarge`, by default
        those of `config`; so is `final` of the second network, unless it is named here for both.

        Raises ConfigError and DataError as `Pipeline.sample` and `Enlarger.enlarge` do.
        """
        known = [name for name in ("images", "layouts", "mask_images", "mask_layouts") if reverse.get(name) is not None]
        if known:
            raise ConfigError(f"a cascade draws both halves: leave {', '.join(known)} out, or ask its base")
        common = {"num_steps": num_steps, "progress": progress, **reverse}
        first = self.base.sample(captions, guidance=guidance, seed=seed, on_step=on_step, **common)
        return self.enlarged(first, level, enlarging_guidance, **common)

    def enlarged(
        self,
        first: Samples,
        level: float | None = None,
        guidance: float | Sequence[float] | Guidance | None = None,
        **common: Any,
    ) -> Samples:
        """Pairs of the first network enlarged by the second, as `sample` does.

        `common`: num_steps, progress and the settings of the reverse process.
        """
        seeds = [enlarging_seed(each) for each in first.seeds]
        level = self.config.level if level is None else level
        scale = self.config.guidance if guidance is None else guidance
        given = first.captions, first.images, first.layouts
        second = self.enlarger.enlarge(
            *given, guidance=scale, seed=seeds, level=level, **{"final": self.config.final, **common}
        )
        named = {f"enlarging_{key}": value for key, value in second.settings.items()}
        return Samples(second.images, second.layouts, first.captions, first.seeds, {**first.settings, **named})


def enlarging_seed(seed: int) -> int:
    """Seed of the second network of a cascade, from the sample's own seed."""
    return int(np.random.SeedSequence([seed, ENLARGING_STREAM]).generate_state(1)[0])
