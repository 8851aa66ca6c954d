"""Pictures after colored strokes: SDEdit, loopback, ILVR, GradOP and GradOP+ on any of our diffusions.

All take a walker, the strokes (colors as the known image, and their mask) and a `strength` in (0, 1]: from the time
strength * T on a run is free of the strokes. With more of it the picture is more realistic and less faithful. A joint
model draws its layout along in every method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gcdp.diffusion.outpainting import Known, RePaint
from gcdp.diffusion.paths import Times, along
from gcdp.diffusion.sampling import Pair, Walker, draw_labels
from gcdp.errors import ConfigError

Loss = Callable[[Tensor], Tensor]  # clean estimates (B, C, H, W) -> distance from the strokes (B,), differentiable
Descend = Callable[[Tensor, Loss], Tensor]  # (z, loss) -> z after some steps down the gradient of loss(z)
FIRST_INJECTION = 0.9  # share of T; before it the estimate is a mean over all that the caption may be


def sdedit(walker: Walker, strokes: Known, strength: float) -> Pair:
    """Noise the strokes to strength * T and draw from there (Meng et al. 2022).

    The layout, and pixels without a stroke, are drawn from T on, beside the strokes at the noise level of each state,
    as RePaint does. Where there is neither, the run begins at strength * T.
    """
    until = free_time(walker, strength)
    if walker.process.categorical is None and bool(strokes.image_mask.all()):
        return _drawn_again(walker, Pair(strokes.image, None), until)
    repaint = RePaint(walker.process, walker.settings, strokes, until=until)
    return _from_noise(repaint.walker(walker.denoise, walker.noise), strokes)


def loopback(walker: Walker, strokes: Known, strength: float, rounds: int = 3) -> Pair:
    """SDEdit, whose result is noised and drawn again, `rounds` times in all."""
    pair = sdedit(walker, strokes, strength)
    for _ in range(rounds - 1):
        pair = _drawn_again(walker, pair, free_time(walker, strength))
    return pair


def ilvr(walker: Walker, strokes: Known, strength: float, low_pass: Callable[[Tensor], Tensor]) -> Pair:
    """Low frequencies of every state down to strength * T are those of the noised strokes (Choi et al. 2021)."""
    until, mask = free_time(walker, strength), strokes.image_mask[:, None]

    def pulled(at: Times, state: Pair) -> Pair:
        if at.x < until:
            return state
        low = low_pass(_noised(walker, Pair(strokes.image, None), at.x).x) - low_pass(state.x)
        return state._replace(x=torch.where(mask, state.x + low, state.x))

    return _from_noise(walker, strokes, pulled)


def gradop(walker: Walker, strokes: Known, strength: float, loss: Loss, descend: Descend, penalty: float = 0.1) -> Pair:
    """GradOP (Singh et al. 2023): a pair of the caption, whose image x_0 descends on the loss and
    penalty * mean (x - x_0)^2, is noised to strength * T and drawn from there. Two runs of the network."""
    x, y = _from_noise(walker, strokes)
    moved = descend(x, lambda z: loss(z) + penalty * (z - x).square().mean((1, 2, 3)))
    return _drawn_again(walker, Pair(moved, y), free_time(walker, strength))


def gradop_plus(
    walker: Walker, strokes: Known, strength: float, loss: Loss, descend: Descend, injections: int = 3
) -> Pair:
    """GradOP+ (Singh et al. 2023): the descent inside one run, at `injections` times from 0.9 T to strength * T.

    At such a time the clean estimate descends and is noised to the next time. (The authors' code lets the *noisy* state
    descend, as if it were clean.)
    """
    times = injection_times(walker, free_time(walker, strength), injections)
    return _from_noise(_Injector(walker, loss, descend, times), strokes)


def gradop_network(
    walker: Walker, strokes: Known, strength: float, loss: Loss, descend: Descend, injections: int = 3
) -> Pair:
    """`gradop_plus` in which the state x_t descends, by the gradient of the loss of the estimate that the network makes
    of it: each step of the descent runs the network twice and back, and keeps no activations between the two."""
    times = injection_times(walker, free_time(walker, strength), injections)

    def moved(at: Times, state: Pair) -> Pair:
        return state._replace(x=descend(state.x, estimate_loss(walker, loss, state.y, at))) if at.x in times else state

    return _from_noise(walker, strokes, moved)


def free_time(walker: Walker, strength: float) -> int:
    """The visited time above 0 that is nearest to strength * T. Raises ConfigError unless 0 < strength <= 1."""
    if not isinstance(strength, Real) or not 0 < strength <= 1:
        raise ConfigError(f"strength must lie above 0 and at most at 1, got {strength!r}")
    return min(_times(walker)[:-1], key=lambda t: abs(t - strength * walker.process.T))


def injection_times(walker: Walker, last: int, count: int) -> list[int]:
    """At most `count` visited times, evenly spread from 0.9 T down to the `last` one."""
    first = max(free_time(walker, FIRST_INJECTION), last)
    wanted = [last + (first - last) * i / max(1, count - 1) for i in range(count)]
    return sorted({min(_times(walker)[:-1], key=lambda t: abs(t - time)) for time in wanted}, reverse=True)


class _Injector(Walker):
    """A walker whose clean estimate descends at some times."""

    def __init__(self, walker: Walker, loss: Loss, descend: Descend, times: Sequence[int]):
        super().__init__(walker.process, walker.settings, walker.denoise, walker.noise)
        self.loss, self.descend, self.at = loss, descend, frozenset(times)

    def _jump_image(self, output: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        if int(t[0]) not in self.at:
            return super()._jump_image(output, x, t, s)
        x0 = self.clamped(self.descend(self.clean_image(output, x, t), self.loss))
        return _noised(self, Pair(x0, None), int(s[0])).x


def estimate_loss(walker: Walker, loss: Loss, y: Tensor | None, now: Times) -> Loss:
    """x_t -> loss of the clean estimate that the network makes of it."""
    t_x, t_y = (torch.full((walker.noise.count,), t) for t in now)
    levels = tuple(level.to(walker.noise.device) for level in walker.process.log_snr(t_x, t_y))

    def of_state(x: Tensor) -> Tensor:
        output = checkpoint(lambda x: walker.denoise(x, y, *levels)[0], x, use_reentrant=False)
        return loss(walker.clean_image(output, x, t_x))

    return of_state


def _times(walker: Walker, first: int | None = None) -> list[int]:
    times = walker.process.gaussian.schedule.steps(walker.settings.num_steps)
    return [t for t in times if first is None or t <= first]


def _from_noise(walker: Walker, strokes: Known, change: Callable[[Times, Pair], Pair] | None = None) -> Pair:
    """A whole run; `change(times, state)` gives the state to go on with, at every time but 0."""
    _, channels, *size = strokes.image.shape
    state = walker.start(tuple(size), channels, None, None)
    for now, then in pairwise(along(_times(walker))):
        state = walker.jump(state if change is None else change(now, state), now, then)
    return state


def _noised(walker: Walker, pair: Pair, t: int) -> Pair:
    at, (x, y), p, noise = torch.full((walker.noise.count,), t), pair, walker.process, walker.noise
    x = p.gaussian.q_sample(x, at, noise.normal(*x.shape[1:]))
    return Pair(x, None if y is None else draw_labels(p.categorical.q_probs(y, at), noise.uniform(*y.shape[1:])))


def _drawn_again(walker: Walker, pair: Pair, t: int) -> Pair:
    return walker.walk(_noised(walker, pair, t), along(_times(walker, t)))
