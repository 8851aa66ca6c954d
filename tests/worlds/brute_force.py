"""Explicit float64 transition matrices and enumeration: slow, literal, sharing no formula with the library.

Everything is built from one-step matrices Q_r = a_r I + (1 - a_r) / K, a_r = ab_r / ab_{r-1}; longer jumps
are products of them, posteriors are Bayes' rule on them, and layouts of several pixels Kronecker products.
"""

from __future__ import annotations

from functools import cache, reduce

import torch
from torch import Tensor

from gcdp.diffusion.schedules import NoiseSchedule


@cache
def transition(schedule: NoiseSchedule, K: int, t: int, s: int = 0) -> Tensor:
    """Q_{t|s}, (K, K) from row y_s to column y_t: the product of the one-step matrices s+1..t."""
    Q, ab = torch.eye(K, dtype=torch.float64), schedule.alpha_bar.tolist()
    for r in range(s + 1, t + 1):
        keep = ab[r] / ab[r - 1]
        Q = Q @ (keep * torch.eye(K, dtype=torch.float64) + (1 - keep) / K)
    return Q


def posterior(schedule: NoiseSchedule, K: int, y0: Tensor, y_t: Tensor, t: int, s: int) -> Tensor:
    """q(y_s | y_t, y_0) by Bayes' rule for flat labels y0, y_t (N,): (N, K)."""
    joint = transition(schedule, K, s)[y0] * transition(schedule, K, t, s)[:, y_t].T
    return joint / transition(schedule, K, t)[y0, y_t][:, None]


def plug_in(schedule: NoiseSchedule, K: int, p0: Tensor, y_t: Tensor, t: int, s: int) -> Tensor:
    """p(y_s | y_t) when y_0 ~ p0 (N, K) before y_t (N,) is seen: (N, K), summed over every y_0."""
    likelihood = transition(schedule, K, t)[:, y_t].T
    weight = p0 * likelihood
    weight = weight / weight.sum(1, keepdim=True)
    every_y0 = torch.arange(K).repeat(len(y_t))
    each = posterior(schedule, K, every_y0, y_t.repeat_interleave(K), t, s).view(len(y_t), K, K)
    return (weight[:, :, None] * each).sum(1)


def kl(q: Tensor, p: Tensor) -> Tensor:
    """KL(q || p) summed over the last axis, with 0 log 0 = 0."""
    return (q.xlogy(q) - q.xlogy(p)).sum(-1)


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """Half the L1 distance over the last axis."""
    return (p - q).abs().sum(-1) / 2


def configurations(K: int, pixels: int) -> Tensor:
    """All label configurations, (K**pixels, pixels), the first pixel slowest as in Kronecker products."""
    return torch.cartesian_prod(*[torch.arange(K)] * pixels).view(-1, pixels)


def kron(matrices: list[Tensor]) -> Tensor:
    """Transition matrix of a whole layout whose pixels move by `matrices`."""
    return reduce(torch.kron, (m.contiguous() for m in matrices))


def coupled_prior(K: int, pixels: int, seed: int, sharpness: float = 1.5) -> Tensor:
    """An arbitrary distribution over configurations, (K**pixels,): no symmetry, no independence."""
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(K**pixels, generator=generator, dtype=torch.float64)).softmax(0)


class EnumeratedLayout:
    """A layout of few pixels with a known prior over configurations, noised by `schedule`."""

    def __init__(self, schedule: NoiseSchedule, K: int, pixels: int, prior: Tensor):
        self.schedule, self.K, self.pixels, self.prior = schedule, K, pixels, prior
        self.configs = configurations(K, pixels)

    def jump(self, t: int, s: int = 0) -> Tensor:
        """Transition matrix between configurations, (C, C)."""
        return kron([transition(self.schedule, self.K, t, s)] * self.pixels)

    def marginal(self, t: int) -> Tensor:
        """p(y_t) over configurations, (C,)."""
        return self.prior @ self.jump(t)

    def reverse(self, t: int, s: int) -> Tensor:
        """True p(y_s | y_t) over configurations: rows y_t, columns y_s."""
        joint = self.marginal(s)[:, None] * self.jump(t, s)
        return (joint / joint.sum(0)).T

    def per_pixel(self, rows: Tensor) -> Tensor:
        """Marginals of each pixel of distributions over configurations (R, C): (R, K, 1, pixels)."""
        onehot = torch.nn.functional.one_hot(self.configs, self.K).to(rows.dtype)  # (C, pixels, K)
        return torch.einsum("rc,cpk->rkp", rows, onehot)[:, :, None]

    def leave_one_out(self, t: int) -> Tensor:
        """p(y_0^i | y_t without pixel i) for every y_t, (C, K, 1, pixels): i's transition is dropped."""
        Q, blind = transition(self.schedule, self.K, t), torch.ones(self.K, self.K, dtype=torch.float64)
        columns = []
        for i in range(self.pixels):
            likelihood = kron([blind if j == i else Q for j in range(self.pixels)])
            rows = (self.prior[:, None] * likelihood).T
            columns.append(self.per_pixel(rows / rows.sum(1, keepdim=True))[..., i])
        return torch.stack(columns, -1)

    def labels(self) -> Tensor:
        """Every configuration as a batch of layouts, (C, 1, pixels)."""
        return self.configs[:, None]

    def product(self, probs: Tensor) -> Tensor:
        """Configurations of independent pixels with `probs` (R, K, 1, pixels): (R, C)."""
        index = self.configs.T[None].expand(len(probs), -1, -1)  # (R, pixels, C)
        return probs[:, :, 0].transpose(1, 2).gather(2, index).prod(1)
