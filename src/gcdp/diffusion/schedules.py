"""Noise schedules: one table of `alpha_bar`, shared by the Gaussian and the categorical chain.

Index t runs over 0..T. `alpha_bar[0] = 1` is clean data and `alpha_bar[T]` is close to 0. Everything else
(jump factors, log-SNR, sub-sequences of steps) is read off this one table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gcdp.errors import ConfigError

WITHOUT_FLOAT64 = ("mps",)  # Apple's GPUs
FLOOR = 1e-5  # smallest alpha_bar: keeps the clean estimate of an eps-prediction finite at t = T


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A strictly decreasing table `alpha_bar` (float64, shape (T+1,)) with `alpha_bar[0] == 1`.

    Raises ConfigError where the table breaks these identities.
    """

    alpha_bar: Tensor
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        table = self.alpha_bar
        if table.ndim != 1 or len(table) < 2 or table.dtype != torch.float64:
            raise ConfigError("alpha_bar must be a float64 vector of T + 1 >= 2 entries")
        if table[0] != 1 or not bool((table[1:] < table[:-1]).all()) or not table[-1] > 0:
            raise ConfigError("alpha_bar must start at 1, decrease strictly and stay above 0")

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return len(self.alpha_bar) - 1

    @classmethod
    def _from_signal(cls, signal: Tensor) -> NoiseSchedule:
        """Squeeze a decreasing curve from 1 to about 0 into (FLOOR, 1], keeping it strictly decreasing."""
        return cls(FLOOR + (1 - FLOOR) * signal)

    @classmethod
    def cosine(cls, T: int = 1000) -> NoiseSchedule:
        """alpha_bar_t = cos^2(pi t / 2T), the cosine schedule without its offset."""
        return cls._from_signal(_cosine_curve(T))

    @classmethod
    def linear(cls, T: int = 1000) -> NoiseSchedule:
        """beta_t rises linearly from 1e-4 to 0.02 at T = 1000, and is scaled by 1000 / T otherwise."""
        beta = torch.linspace(1e-4, 0.02, _checked(T), dtype=torch.float64) * (1000 / T)
        return cls._from_signal(torch.cat([torch.ones(1), torch.cumprod(1 - beta.clamp(max=0.999), 0)]))

    @classmethod
    def shifted(cls, T: int = 1000, shift: float = 0.0) -> NoiseSchedule:
        """The cosine schedule with its log-SNR moved by `shift` nats; a negative shift is noisier.

        A uniform region of many pixels stays readable far into the noise, more so for many classes, so large
        pictures and layouts want a negative shift. `shift = 2 log(64 / d)` moves a schedule tuned at 64 pixels
        to pictures of d pixels.
        """
        logit = torch.logit(_cosine_curve(T)[1:-1]) + shift
        curve = torch.cat([torch.ones(1), torch.sigmoid(logit), torch.zeros(1)])
        return cls._from_signal(curve.double())

    @classmethod
    def by_name(cls, name: str, T: int = 1000, shift: float = 0.0) -> NoiseSchedule:
        """Look a schedule up by its configured name. Raises ConfigError for an unknown name."""
        makers = {"cosine": cls.cosine, "linear": cls.linear, "shifted": lambda T: cls.shifted(T, shift)}
        if name not in makers:
            raise ConfigError(f"schedule '{name}' is unknown: choose one of {', '.join(makers)}")
        return makers[name](T)

    def at(self, t: Tensor, like: Tensor) -> Tensor:
        """alpha_bar at integer times t (B,), float64, shaped (B, 1, ..) to broadcast over `like`.

        Coefficients are computed in float64 and `placed` last: 1 - alpha_bar loses its digits in float32. Times live
        on the CPU, where their range is checked: ValueError for t outside 0..T. Those of a CUDA device stay there
        unchecked, since a check would wait for the device and cannot be recorded in a graph.
        """
        t = on_host(t)
        if t.is_floating_point() or t.ndim != 1 or len(t) not in (1, len(like)):
            raise ValueError(f"t must hold one integer per example, got {t.dtype} of shape {tuple(t.shape)}")
        if t.is_cuda:
            return self._table(t.device)[t].view(-1, *(1,) * (like.ndim - 1))
        if len(t) and not (0 <= int(t.min()) and int(t.max()) <= self.T):
            raise ValueError(f"t must lie in 0..{self.T}, got {int(t.min())}..{int(t.max())}")
        return self.alpha_bar[t].view(-1, *(1,) * (like.ndim - 1))

    def jump(self, t: Tensor, s: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha_bar_t, alpha_bar_s, alpha_bar_t / alpha_bar_s) for a jump t -> s, each as `at` returns it.

        Raises ValueError unless 0 <= s < t <= T in every example.
        """
        if not torch.as_tensor(t).is_cuda and not bool((on_host(s) < on_host(t)).all()):
            raise ValueError("a reverse jump needs s < t in every example")
        ab_t, ab_s = self.at(t, like), self.at(s, like)
        return ab_t, ab_s, ab_t / ab_s

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha_bar / (1 - alpha_bar)) at t (B,), float32 (B,), limited to +-15 (t = 0 is infinite).

        Raises ValueError for t outside 0..T.
        """
        t = on_host(t)
        return torch.logit(self.at(t, t)).clamp(-15, 15).float()

    def _table(self, device: torch.device) -> Tensor:
        """The table on a CUDA device, copied there once."""
        if device not in self._copies:
            self._copies[device] = self.alpha_bar.to(device)
        return self._copies[device]

    def steps(self, num_steps: int) -> list[int]:
        """`num_steps` jumps from T down to 0: a list of num_steps + 1 strictly decreasing times.

        Raises ConfigError unless 1 <= num_steps <= T.
        """
        if not 1 <= num_steps <= self.T:
            raise ConfigError(f"num_steps must lie in 1..{self.T}, got {num_steps}")
        return [round(self.T * i / num_steps) for i in range(num_steps, -1, -1)]


def on_host(t: Tensor) -> Tensor:
    """Times on the CPU, where all coefficients are computed; those of a CUDA device stay where they are."""
    t = torch.as_tensor(t)
    return t if t.is_cuda else t.cpu()


def placed(coefficient: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A coefficient, cast (to the dtype of `like` by default) and moved to the device of `like`."""
    return moved(coefficient.to(dtype or like.dtype), like.device)


def moved(values: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. CUDA copies in the order of its queue, so that a training loop need not wait for it."""
    large = device.type == "cuda" and not values.is_cuda and values.nbytes > 2**16  # from pages, these may wait
    return (values.pin_memory() if large else values).to(device, non_blocking=device.type == "cuda")


def exact_dtype(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device without it."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def _checked(T: int) -> int:
    if not isinstance(T, int) or T < 1:
        raise ConfigError(f"the number of diffusion steps T must be a positive integer, got {T!r}")
    return T


def _cosine_curve(T: int) -> Tensor:
    angle = torch.arange(_checked(T) + 1, dtype=torch.float64) * (math.pi / (2 * T))
    curve = torch.cos(angle) ** 2
    curve[0], curve[-1] = 1, 0
    return curve
