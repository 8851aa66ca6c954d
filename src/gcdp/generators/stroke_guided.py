"""Pictures after colored strokes, by any trained model: `paint`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gcdp.data.enlarging import FACTOR
from gcdp.data.images import to_tensor
from gcdp.diffusion import strokes as methods
from gcdp.diffusion.outpainting import Known
from gcdp.diffusion.sampling import Guidance, Noise, Pair, Walker
from gcdp.errors import ConfigError, DataError
from gcdp.generators.cascade import Cascade
from gcdp.generators.painting import Blur, Distance, Painting, descend, masked_mse
from gcdp.generators.pipeline import (
    Pipeline,
    arrays,
    batches_shown,
    checked_captions,
    reverse_settings,
    seeds_of_call,
)
from gcdp.generators.samples import Samples
from gcdp.generators.stroke_names import context_with_names, told_names
from gcdp.generators.strokes import UNNAMED, Strokes
from gcdp.validation import require_one_of, require_range

METHODS = ("sdedit", "loopback", "ilvr", "gradop", "gradop_plus", "gradop_network")
NAMINGS = ("auto", "layout", "attention", "both", "none")


@dataclass(frozen=True)
class Guide:
    """How pictures follow strokes.

    Args:
        method: one of METHODS, see `gcdp.diffusion.strokes`.
        strength: share of T from which on a run is free of the strokes, in (0, 1].
        steps, rate: of the descent of GradOP and GradOP+, by Adam.
        injections: how often GradOP+ descends in a run.
        penalty: of GradOP, for leaving the picture that it starts from.
        rounds: of loopback.
        naming: what names do. "layout": the classes that the layout half predicts are multiplied by the likelihood of
            the name; "attention": pixels of a named stroke attend to its name as well, a construction of ours; "both";
            "none"; "auto": the layout where there is one, else attention.
        certainty: of a name in its likelihood; 1 says that the layout is what it is named.
        boost: times as much as to a token of the caption is attended to a token of the name.

    Raises ConfigError for settings out of range.
    """

    method: str = "gradop_plus"
    strength: float = 0.8
    steps: int = 12
    rate: float = 0.1
    injections: int = 3
    penalty: float = 0.1
    rounds: int = 3
    naming: str = "auto"
    certainty: float = 1.0
    boost: float = 10.0

    def __post_init__(self) -> None:
        require_one_of("method", self.method, METHODS)
        require_one_of("naming", self.naming, NAMINGS)
        require_range(self, "strength certainty", 0, 1)
        require_range(self, "steps injections rounds", 1)
        require_range(self, "rate penalty boost", 0)
        for name in ("steps", "injections", "rounds"):
            if not isinstance(getattr(self, name), Integral):
                raise ConfigError(f"{name} must be a whole number, got {getattr(self, name)!r}")


@torch.no_grad()
def paint(
    model: Pipeline | Cascade,
    captions: str | Sequence[str],
    strokes: Strokes,
    guide: Guide | None = None,
    *,
    seed: int | Sequence[int] = 0,
    num_steps: int = 50,
    guidance: float | Sequence[float] | Guidance = 2.0,
    painting: Painting | None = None,
    distance: Distance = masked_mse,
    progress: bool = False,
    **reverse: Any,
) -> Samples:
    """Draw one picture for each caption that follows its strokes.

    Args:
        model: of any kind that draws images: joint, image-only, latent, or a cascade, whose first network follows the
            strokes, given at its size or at that of the result.
        strokes: one picture of them for each caption, or one for all.
        guide: by default GradOP+ with the authors' numbers.
        painting, distance: what GradOP and GradOP+ hold against the strokes, and ILVR's low-pass filter; by default the
            authors' blur at the model's size (`Blur.at`).
        seed, num_steps, guidance, progress, reverse: as in `Pipeline.sample`.

    Equal caption, strokes and seed give an equal picture on the same machine, whatever else is drawn beside it.

    Raises DataError for strokes of another size or number, or classes that the model has not; ConfigError for settings
    out of range, and models without an image half, or without the layout half that is to be told names.
    """
    guide, common = guide or Guide(), {"num_steps": num_steps, "progress": progress, **reverse}
    how = {"seed": seed, "guidance": guidance, "painting": painting, "distance": distance}
    if isinstance(model, Cascade):
        first = paint(model.base, captions, _for_base(model, strokes), guide, **how, **common)
        return model.enlarged(first, **common)
    captions, guidance = checked_captions(captions), Guidance.of(guidance)
    seeds = seeds_of_call(seed, len(captions))
    strokes, ways = _checked(model, strokes, len(captions)), _ways(model, strokes, guide.naming)
    settings = reverse_settings(num_steps, {**reverse, **model.fixed_settings})
    batch = _Batch(model, guide, ways, settings, guidance, painting or Blur.at(model.card.size[0]), distance)
    size, drawn = model.network.batch_size(guidance), []
    for start in batches_shown(range(0, len(captions), size), progress):
        rows = [min(row, len(captions) - 1) for row in range(start, start + size)]  # the last one fills a batch up
        drawn.append(batch([captions[row] for row in rows], [seeds[row] for row in rows], strokes.rows(rows)))
    x, y = (None if part[0] is None else torch.cat(part)[: len(captions)] for part in zip(*drawn, strict=True))
    facts = {"guidance_image": guidance.image, "guidance_layout": guidance.layout, "network_calls": batch.calls}
    network = {"dtype": model.dtype, "card": model.card.hash(), "painting": _name(batch.painting)}
    told = {"guide": asdict(guide), "naming": "+".join(ways) or "none", "distance": _name(distance)}
    return Samples(*arrays(x, y), captions, seeds, {**asdict(settings), **told, **facts, **network})


class StrokePainter:
    """A model as a generator of pictures after strokes: `sample` takes the strokes, and their guide as JSON has it."""

    def __init__(self, model: Pipeline | Cascade):
        self.model = model

    @property
    def dtype(self) -> str:
        """What the network computes in."""
        return self.model.dtype

    def sample(self, captions, *, images, masks, labels, guide: dict[str, Any], sigma: float, **settings) -> Samples:
        """See `paint`; `images`, `masks` and `labels` are those of `Strokes`, `sigma` is that of the blur in pixels."""
        strokes = Strokes(images, masks, labels)
        return paint(self.model, captions, strokes, Guide(**guide), painting=Blur(sigma), **settings)


class _Batch:
    """Paints one network batch; `calls` is how often the network was called for each pair, guidance or not."""

    def __init__(self, model, guide: Guide, ways, settings, guidance, painting: Painting, distance: Distance):
        self.model, self.guide, self.ways = model, guide, ways
        self.settings, self.guidance, self.painting, self.distance = settings, guidance, painting, distance
        self.calls = 0

    def __call__(self, captions: list[str], seeds: list[int], strokes: Strokes) -> tuple[Tensor, Tensor | None]:
        """Images (B, 3, H, W) and labels (B, H, W) on the CPU."""
        model, device = self.model, self.model.device
        pixels, mask = to_tensor(strokes.images, device), torch.from_numpy(np.array(strokes.masks)).to(device)
        walker = Walker(model.process, self.settings, self._denoiser(captions, strokes.labels), Noise(seeds, device))
        known = Known(image=model.encoded(pixels), image_mask=mask_at(mask, model.map_size))

        def loss(x0: Tensor) -> Tensor:
            return self.distance(self.painting(model.pixels(x0), pixels), pixels, mask)

        x, y = method_of(self.guide, loss, lambda x: self.painting(x, known.image))(walker, known)
        return model.pixels(x).cpu(), None if y is None else y.cpu()

    def _denoiser(self, captions: list[str], labels: np.ndarray | None):
        model, guide = self.model, self.guide
        context = model.network.context(captions)
        if self.ways:
            labels = torch.from_numpy(np.array(labels, np.int64)).to(model.device)
        if "attention" in self.ways:
            context = context_with_names(model.network, context, labels, model.classes, guide.boost)
        denoise, self.calls = model.network.denoiser(context, self.guidance), 0
        if "layout" in self.ways:
            denoise = told_names(denoise, labels, model.classes.num_classes, guide.certainty)

        def counted(*inputs):
            self.calls += 1
            return denoise(*inputs)

        return counted


def method_of(guide: Guide, loss: methods.Loss, low_pass: Callable) -> Callable[[Walker, Known], Pair]:
    """The method of a guide as a function of walker and strokes."""
    down = partial(descend, steps=guide.steps, rate=guide.rate)
    injected = {"loss": loss, "descend": down, "injections": guide.injections}
    own = {
        "sdedit": {},
        "loopback": {"rounds": guide.rounds},
        "ilvr": {"low_pass": low_pass},
        "gradop": {"loss": loss, "descend": down, "penalty": guide.penalty},
        "gradop_plus": injected,
        "gradop_network": injected,
    }[guide.method]
    return partial(getattr(methods, guide.method), strength=guide.strength, **own)


def _ways(model: Pipeline, strokes: Strokes, naming: str) -> tuple[str, ...]:
    """The ways in which names are told. Raises ConfigError where the model has no such way."""
    has_layout = model.process.categorical is not None
    if naming in ("layout", "both") and not has_layout:
        raise ConfigError("this model has no layout half to be told names: use naming='attention'")
    if strokes.labels is None or naming == "none":
        return ()
    if naming == "auto":
        return ("layout",) if has_layout else ("attention",)
    return ("layout", "attention") if naming == "both" else (naming,)


def _checked(model: Pipeline, strokes: Strokes, count: int) -> Strokes:
    """The strokes of so many captions. Raises DataError where they do not fit the model."""
    if model.process.gaussian is None:
        raise ConfigError("this model draws no images, so strokes have nothing to color")
    size, labels, last = tuple(model.card.size), strokes.labels, model.classes.num_classes - 1
    if np.shape(strokes.masks)[1:] != size:
        given = np.shape(strokes.masks)[1:]
        raise DataError(f"strokes must have the size of the model's pictures, {size}, got {given}: resize them")
    strokes = strokes.for_each(count)
    if labels is not None and not UNNAMED <= labels.min() <= labels.max() <= last:
        raise DataError(f"labels of strokes must lie in 0..{last}, or be {UNNAMED} where there is no name")
    return strokes


def _for_base(cascade: Cascade, strokes: Strokes) -> Strokes:
    """Strokes for the first network of a cascade: of those at the size of the result every second pixel."""
    if np.shape(strokes.masks)[1:] != tuple(cascade.card.size):
        return strokes
    return Strokes(*(None if part is None else part[:, ::FACTOR, ::FACTOR] for part in vars(strokes).values()))


def mask_at(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (B, H, W) on a map of another size: True where more than half of a cell is covered."""
    return adaptive_avg_pool2d(mask[:, None].float(), size)[:, 0] > 0.5


def _name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))
