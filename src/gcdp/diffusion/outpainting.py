"""Outpainting on pairs: any part of either half is known, the rest is drawn (paper Sec. 4.6).

RePaint (Lugmayr et al. 2022) for both chains at once. In every state of a run the known part is replaced by a draw of
q(x_t | x_0) and q(y_t | y_0), so a network that was trained on pairs of one time can be used as it is. What was drawn
and what was put in then need to be brought together: each jump t -> s is followed by its way back, q(x_t | x_s) and
q(y_t | y_s), and taken again.

The known part has the noise level of the state that it is put into, t_x for pixels and t_y for labels. The paper prints
the level t for the state t - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.paths import Times
from gcdp.diffusion.sampling import Denoiser, Noise, Pair, ReverseProcess, ReverseSettings, Walker, draw_labels
from gcdp.diffusion.schedules import placed
from gcdp.errors import ConfigError

# (chain, x_s, s, t, noise) -> x_t, the way back to a noisier image
ImageJump = Callable[[GaussianDiffusion, Tensor, Tensor, Tensor, Tensor], Tensor]
BOTH = Times(True, True)


def authors_jump(gaussian: GaussianDiffusion, x_s: Tensor, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The way back as in the authors' code, in place of `GaussianDiffusion.q_jump`, to show what it costs.

    With signal a_t = sqrt(ab_t) and noise sigma_t = sqrt(1 - ab_t) it adds noise of standard deviation
    sigma_t - sigma_s a_t / a_s, where the variances should be subtracted: sqrt(sigma_t^2 - (sigma_s a_t / a_s)^2). The
    state is left with too little noise for its time.
    """
    ab_t, ab_s, a = gaussian.schedule.jump(t, s, x_s)
    std = (1 - ab_t).sqrt() - ((1 - ab_s) * a).sqrt()
    return placed(a.sqrt(), x_s) * x_s + placed(std, x_s) * noise


@dataclass(frozen=True)
class Known:
    """The known part of B pairs: a half and where it is known, both None where nothing of that half is.

    Args:
        image: x_0 (B, C, H, W) in [-1, 1].
        image_mask: bool (B, H, W), True where it is known.
        layout: y_0, labels (B, H, W).
        layout_mask: bool (B, H, W).

    Raises ConfigError for a half without its mask, or the reverse.
    """

    image: Tensor | None = None
    image_mask: Tensor | None = None
    layout: Tensor | None = None
    layout_mask: Tensor | None = None

    def __post_init__(self) -> None:
        for half in ("image", "layout"):
            if (getattr(self, half) is None) != (getattr(self, f"{half}_mask") is None):
                raise ConfigError(f"a known {half} and its mask belong together: give both or neither")


class RePaint(ReverseProcess):
    """The reverse process with a known part.

    Args:
        process, settings: as of `ReverseProcess`. A half that `run` is given is told to the network as clean, whatever
            its mask; what is known here goes by replacement.
        known: the part, with one row for each sample of a run.
        resamplings: n, how often every jump is taken; the paper has 5 for images and 1 for layouts. The network is
            called n times as often.
        image_jump: how an image goes back to the time that it came from.
        until: the known part is put into states of this time and later ones alone; from there on the run is free.

    Raises ConfigError unless n is a whole number of at least 1, or where the second-order step, which extrapolates over
    jumps, would meet jumps taken twice.
    """

    def __init__(
        self,
        process: GaussianCategoricalDiffusion,
        settings: ReverseSettings,
        known: Known,
        resamplings: int = 1,
        image_jump: ImageJump = GaussianDiffusion.q_jump,
        until: int = 0,
    ):
        super().__init__(process, settings)
        if not isinstance(resamplings, Integral) or resamplings < 1:
            raise ConfigError(f"resamplings must be a whole number of at least 1, got {resamplings!r}")
        if settings.order == 2 and resamplings > 1:
            raise ConfigError(f"order 2 takes every jump once, got {resamplings} resamplings: set order to 1")
        self.known, self.resamplings, self.image_jump, self.until = known, resamplings, image_jump, until

    def walker(self, denoise: Denoiser, noise: Noise) -> RePaintWalker:
        """What one run is made of."""
        return RePaintWalker(self, denoise, noise)


class RePaintWalker(Walker):
    """A walker that puts the known part into every state and repeats its jumps. Made by `RePaint.walker`."""

    def __init__(self, reverse: RePaint, denoise: Denoiser, noise: Noise):
        super().__init__(reverse.process, reverse.settings, denoise, noise)
        self.known, self.resamplings, self.image_jump = reverse.known, reverse.resamplings, reverse.image_jump
        self.until = reverse.until

    def start(self, size: tuple[int, int], channels: int, image: Tensor | None, layout: Tensor | None) -> Pair:
        """Pure noise with the known part in it, as far as that shows at T."""
        T = self.process.T
        return self._with_known(super().start(size, channels, image, layout), Times(T, T))

    def jump(self, state: Pair, now: Times, then: Times) -> Pair:
        """The jump, n times, each but the first after the way back; it calls the network n times."""
        falls = Times(then.x < now.x, then.y < now.y)
        for repeat in range(self.resamplings):
            if repeat:
                state = self._with_known(self._back(state, then, now), now, falls)
            state = self._with_known(super().jump(state, now, then), then, falls)
        return state

    def _back(self, state: Pair, s: Times, t: Times) -> Pair:
        """From times s to the later times t, in the halves where these differ."""
        (x, y), p, noise = state, self.process, self.noise
        if p.gaussian and s.x < t.x:
            x = self.image_jump(p.gaussian, x, self._all(s.x), self._all(t.x), noise.normal(*x.shape[1:]))
        if p.categorical and s.y < t.y:
            probs = p.categorical.q_jump_probs(y, self._all(s.y), self._all(t.y))
            y = draw_labels(probs, noise.uniform(*y.shape[1:]))
        return Pair(x, y)

    def _with_known(self, state: Pair, at: Times, halves: Times = BOTH) -> Pair:
        """The state with its known part drawn anew at its own times, in these halves alone."""
        (x, y), known, p, noise = state, self.known, self.process, self.noise
        if known.image is not None and halves.x and at.x >= self.until:
            x_t = known.image
            if at.x:
                x_t = p.gaussian.q_sample(x_t, self._all(at.x), noise.normal(*x.shape[1:]))
            x = torch.where(known.image_mask[:, None], x_t, x)
        if known.layout is not None and halves.y and at.y >= self.until:
            y_t = known.layout
            if at.y:
                y_t = draw_labels(p.categorical.q_probs(y_t, self._all(at.y)), noise.uniform(*y.shape[1:]))
            y = torch.where(known.layout_mask, y_t, y)
        return Pair(x, y)

    def _all(self, t: int) -> Tensor:
        return torch.full((self.noise.count,), t)
