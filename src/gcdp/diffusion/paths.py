"""Paths through the square of times: which (t_x, t_y) a sampling run visits on its way from noise to a pair.

Each chain has its own time, so a run may lower them in any order. The diagonal t_x = t_y is the paper's; on the edges
one half is known (its time is 0), left out (its time stays T), or drawn before the other is begun. A path is a list of
pairs of times; the network is called once in each but the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import NamedTuple

from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError


class Times(NamedTuple):
    """Time of the image and time of the layout, each in 0..T."""

    x: int
    y: int


Path = list[Times]
LEADS = {"image_first": -1.0, "diagonal": 0.0, "layout_first": 1.0}  # names of members of the family `led`
ALONE = ("image_alone", "layout_alone")  # the other half stays noise, and is not drawn


def along(times: Sequence[int], x: int | None = None, y: int | None = None) -> Path:
    """Both halves at the same falling times, but for a half that is held at `x` or `y`: 0 known, T left out."""
    return [Times(t if x is None else x, t if y is None else y) for t in times]


def led(T: int, num_steps: int, lead: float) -> Path:
    """A path of `num_steps` jumps in which the layout is ahead of the image by `lead`, or behind it where negative.

    At the share u of the way, for lead >= 0:

        t_y = T clip(1 - (1 + lead) u),    t_x = T clip((1 + lead) (1 - u)),    clip to 0..1,

    and the two exchanged below 0. The ends of the family are the edges of the square, lead = 1 draws the whole layout
    first and lead = -1 the whole image, with half of the jumps each; 0 is the diagonal. All members call the network
    equally often, so a lead leaves each half fewer jumps, num_steps / (1 + |lead|).

    Raises ConfigError unless -1 <= lead <= 1, or where there are more jumps than times.
    """
    if not isinstance(lead, Real) or not -1 <= lead <= 1:
        raise ConfigError(f"the lead of the layout must lie in -1..1, got {lead!r}")
    way = [(1 + abs(lead)) * T * i / num_steps for i in range(num_steps + 1)]
    ahead = [round(max(0.0, T - gone)) for gone in way]
    behind = [round(min(T, left)) for left in reversed(way)]
    return checked([Times(*pair) for pair in zip(*((behind, ahead) if lead >= 0 else (ahead, behind)))], T)


def find_path(path: str | float | Sequence[Sequence[int]], schedule: NoiseSchedule, num_steps: int) -> Path:
    """A path from its name (of LEADS or ALONE), its lead, or the pairs of times themselves.

    Raises ConfigError for an unknown name, pairs that are no path (see `checked`), or steps outside 1..T.
    """
    T, steps = schedule.T, schedule.steps(num_steps)
    if isinstance(path, str):
        if path in ALONE:
            return along(steps, y=T) if path == "image_alone" else along(steps, x=T)
        if path not in LEADS:
            raise ConfigError(f"path '{path}' is unknown: choose one of {', '.join([*LEADS, *ALONE])}, or give a lead")
        path = LEADS[path]
    if isinstance(path, Real):
        return led(T, num_steps, path) if path else along(steps)
    return checked(path, T)


def checked(path: Sequence[Sequence[int]], T: int) -> Path:
    """Pairs of times as a path from (T, T).

    Raises ConfigError unless no time rises, one of them falls in every jump, and each half ends at 0 or stays at T.
    """
    try:
        found = [Times(*pair) for pair in path]
        whole = all(isinstance(t, Integral) for times in found for t in times)
    except TypeError:
        found, whole = [], False
    if not whole or len(found) < 2 or found[0] != (T, T):
        raise ConfigError(f"a path must be a sequence of two or more pairs of whole times (t_x, t_y) from ({T}, {T})")
    for now, then in pairwise(found):
        if then.x > now.x or then.y > now.y or then == now:
            raise ConfigError(
                f"on a path no time may rise and one must fall in every jump, got {tuple(now)} to {tuple(then)}: "
                "take fewer jumps, or give other times"
            )
    last = found[-1]
    if not set(last) <= {0, T} or last == (T, T):
        raise ConfigError(f"each half must end at time 0, or stay at {T} to be left out, got {tuple(last)} at the end")
    return found
