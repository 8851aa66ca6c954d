"""The reverse process: from noise to pairs, at any stride, with guidance for each half.

Noise comes from one CPU generator per sample, and the network always runs on batches of one fixed size, so a
sample depends on its caption and its seed only, never on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.paths import Path, Times, along
from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError

# (x_t, y_t, log-SNR of x, log-SNR of y) -> (image output, layout logits), guided
Denoiser = Callable[[Tensor | None, Tensor | None, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance scales: 1 is the plain conditional model, 0 ignores the text (Sec. 3.3)."""

    image: float = 1.0
    layout: float = 1.0

    def __post_init__(self) -> None:
        for scale in (self.image, self.layout):
            if not isinstance(scale, Real) or not 0 <= scale < math.inf:
                raise ConfigError(f"guidance must be one scale or (image, layout), each at least 0, got {scale!r}")

    @classmethod
    def of(cls, value: float | Sequence[float] | Guidance) -> Guidance:
        """Accept one scale for both halves, or (image, layout). Raises ConfigError unless each is finite and >= 0."""
        if isinstance(value, Guidance):
            return value
        scales = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(scales) != 2:
            raise ConfigError(f"guidance must be one scale or (image, layout), got {value!r}")
        return cls(*(float(scale) if isinstance(scale, Real) else scale for scale in scales))

    def needs_null(self) -> bool:
        """Whether the network also has to run without text."""
        return self.image != 1 or self.layout != 1

    def ignores_text(self) -> bool:
        """Whether the network need not run with text."""
        return self.image == 0 and self.layout == 0

    def mix(self, scale: float, null: Tensor | None, conditional: Tensor | None) -> Tensor | None:
        """null + scale (conditional - null)."""
        return None if conditional is None else torch.lerp(null, conditional, scale)


class Noise:
    """One CPU generator a sample: the draws of a sample do not depend on its neighbors or the device."""

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.device = device

    @property
    def count(self) -> int:
        """Number of samples B."""
        return len(self.generators)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (B, *shape)."""
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), (B, *shape)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(self.device)


def sample_seeds(seed: int, count: int) -> list[int]:
    """`count` independent seeds from one; the first n do not depend on count. Raises ConfigError if negative."""
    if seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")
    return [int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) for i in range(count)]


def draw_labels(probs: Tensor, uniform: Tensor) -> Tensor:
    """Labels (B, H, W) from probabilities (B, K, H, W) by inverting the cumulative sum at uniform (B, H, W)."""
    below = probs.cumsum(1) <= uniform[:, None] * probs.sum(1, keepdim=True)
    return below.sum(1).clamp(max=probs.shape[1] - 1)


def dynamic_threshold(x0: Tensor, quantile: float) -> Tensor:
    """Clamp a clean estimate (B, C, H, W) to the given quantile of its size, at least 1, and rescale to [-1, 1]."""
    limit = torch.quantile(x0.abs().flatten(1).float(), quantile, dim=1).clamp(min=1).to(x0.dtype)
    limit = limit.view(-1, 1, 1, 1)
    return x0.clamp(-limit, limit) / limit


FINALS = ("mode", "sample", "estimate")


@dataclass(frozen=True)
class ReverseSettings:
    """How the reverse process is walked.

    Args:
        num_steps: jumps, 1..T; the network runs once in each, twice with guidance.
        eta: 1 is ancestral sampling of the image, 0 is DDIM; labels are always drawn from their posterior.
        threshold: quantile of dynamic thresholding of x_0; 0 only clamps to [-limit, limit].
        final: "mode" takes the likeliest label at the last step, "sample" draws it, and "estimate" takes the likeliest
            by the network alone, so that a label that is left of the noise does not speak for itself once more.
        order: 2 extrapolates the clean image from the last two estimates (`MultistepEstimate`); it needs eta = 0.
        limit: of the size of what the chain holds: 1 for images, infinite for latents of any scale.
    """

    num_steps: int = 50
    eta: float = 1.0
    threshold: float = 0.95
    final: str = "mode"
    order: int = 1
    limit: float = 1.0

    def __post_init__(self) -> None:
        if self.final not in FINALS:
            raise ConfigError(f"final must be one of {', '.join(FINALS)}, got '{self.final}'")
        if not 0 <= self.eta <= 1 or not 0 <= self.threshold <= 1:
            raise ConfigError(f"eta and threshold must lie in 0..1, got {self.eta} and {self.threshold}")
        if self.order not in (1, 2) or (self.order == 2 and self.eta > 0):
            raise ConfigError(f"order must be 1, or 2 together with eta = 0, got {self.order} and eta {self.eta}")
        if not isinstance(self.num_steps, Integral):
            raise ConfigError(f"num_steps must be an integer, got {self.num_steps!r}")


class MultistepEstimate:
    """Clean estimates extrapolated along half the log-SNR, lambda = log(sqrt(ab) / sqrt(1 - ab)).

    With h the step in lambda and r = h_before / h, x_0 + (x_0 - x_0_before) / 2r in place of x_0 makes a DDIM step
    the second-order multistep solver DPM-Solver++(2M). The first step and the one to s = 0, where lambda is
    infinite, stay as they are.
    """

    def __init__(self, schedule: NoiseSchedule):
        self.half_log_snr = torch.logit(schedule.alpha_bar) / 2
        self.before: tuple[Tensor, Tensor] | None = None

    def __call__(self, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The estimate to use for the jump t -> s; all examples share t and s."""
        h = self.half_log_snr[s[0]] - self.half_log_snr[t[0]]
        better = x0
        if self.before is not None and s[0] > 0:
            x0_before, h_before = self.before
            better = x0 + (x0 - x0_before) * float(h / h_before / 2)
        self.before = x0, h
        return better


class Pair(NamedTuple):
    """The state of a run: x (B, C, H, W) and y (B, H, W), each None where the process lacks that half."""

    x: Tensor | None
    y: Tensor | None


class Walker:
    """One run of the reverse process: where it starts, and its jumps. Made by `ReverseProcess.walker`."""

    def __init__(
        self, process: GaussianCategoricalDiffusion, settings: ReverseSettings, denoise: Denoiser, noise: Noise
    ):
        self.process, self.settings, self.denoise, self.noise = process, settings, denoise, noise
        gaussian = process.gaussian
        self.estimate = MultistepEstimate(gaussian.schedule) if gaussian and settings.order == 2 else None

    def start(self, size: tuple[int, int], channels: int, image: Tensor | None, layout: Tensor | None) -> Pair:
        """Pure noise, or the halves that are known."""
        p, noise = self.process, self.noise
        x = y = None
        if p.gaussian:
            x = noise.normal(channels, *size) if image is None else image
        if p.categorical:
            classes = torch.full((noise.count, p.categorical.num_classes, *size), 1.0, device=noise.device)
            y = draw_labels(classes, noise.uniform(*size)) if layout is None else layout
        return Pair(x, y)

    def jump(self, state: Pair, now: Times, then: Times) -> Pair:
        """Call the network at the times `now` and move to `then`; a half whose time stays is left as it is."""
        (x, y), p = state, self.process
        t_x, t_y, s_x, s_y = (torch.full((self.noise.count,), t) for t in (*now, *then))
        levels = (level.to(self.noise.device) for level in p.log_snr(t_x, t_y))
        output, logits = self.denoise(x, y, *levels)
        if p.gaussian and then.x < now.x:
            x = self._jump_image(output, x, t_x, s_x)
        if p.categorical and then.y < now.y:
            y = self._jump_layout(logits, y, t_y, s_y)
        return Pair(x, y)

    def walk(self, state: Pair, path: Path, on_step: Callable[[Times, Pair], None] | None = None) -> Pair:
        """All jumps of a path, whose first times are those of the state; `on_step(times, state)` follows each."""
        for now, then in pairwise(path):
            state = self.jump(state, now, then)
            if on_step is not None:
                on_step(then, state)
        return state

    def clean_image(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The clean estimate behind what the network says of x_t, in the range of clean images, (B, C, H, W)."""
        x0, threshold = self.process.gaussian.predict_x0(output.to(x.dtype), x, t), self.settings.threshold
        return dynamic_threshold(x0, threshold) if threshold else self.clamped(x0)

    def clamped(self, x0: Tensor) -> Tensor:
        """x_0 within the limits of what the chain holds."""
        return x0.clamp(-self.settings.limit, self.settings.limit)

    def _jump_image(self, output: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        x0 = self.clean_image(output, x, t)
        x0 = x0 if self.estimate is None else self.estimate(x0, t, s)
        mean, std = self.process.gaussian.reverse(x0, x, t, s, self.settings.eta)
        return mean + std * self.noise.normal(*x.shape[1:])

    def _jump_layout(self, logits: Tensor, y: Tensor, t: Tensor, s: Tensor) -> Tensor:
        uniform, last = self.noise.uniform(*y.shape[1:]), int(s[0]) == 0
        if last and self.settings.final == "estimate":
            return logits.argmax(1)
        posterior = self.process.categorical.q_posterior(logits.float().softmax(1), y, t, s)
        return posterior.argmax(1) if last and self.settings.final == "mode" else draw_labels(posterior, uniform)


class ReverseProcess:
    """Walks both chains from pure noise to a pair, along any path through the square of times.

    Either half may be given clean and then stays so. It is told to the network as clean (its time is 0), which is exact
    conditioning for a network trained with independent times.
    """

    def __init__(self, process: GaussianCategoricalDiffusion, settings: ReverseSettings):
        self.process, self.settings = process, settings

    def walker(self, denoise: Denoiser, noise: Noise) -> Walker:
        """What one run is made of."""
        return Walker(self.process, self.settings, denoise, noise)

    @torch.no_grad()
    def run(
        self,
        denoise: Denoiser,
        size: tuple[int, int],
        noise: Noise,
        image: Tensor | None = None,
        layout: Tensor | None = None,
        on_step: Callable[[int, Tensor | None, Tensor | None], None] | None = None,
        channels: int = 3,
        path: Path | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Pairs x (B, channels, H, W) in [-1, 1] and y (B, H, W); either is None where the process lacks that half, or
        the path leaves it at T.

        `image` and `layout` are known halves. `path` is one of `gcdp.diffusion.paths` from (T, T) on; by default both
        times fall together, from T in `num_steps` jumps, and that of a known half is 0. `on_step(s, x_s, y_s)` is
        called after every jump, s the later of the times of the halves that are drawn.
        """
        if path is None:
            schedule = (self.process.gaussian or self.process.categorical).schedule
            times = schedule.steps(self.settings.num_steps)
            path = along(times, None if image is None else 0, None if layout is None else 0)
        drawn = [half for half, known in enumerate((image, layout)) if known is None and path[-1][half] == 0]
        walker = self.walker(denoise, noise)
        look = None if on_step is None else lambda then, state: on_step(max(then[half] for half in drawn), *state)
        state = walker.walk(walker.start(size, channels, image, layout), path, look)
        return tuple(half if end == 0 else None for half, end in zip(state, path[-1], strict=True))
