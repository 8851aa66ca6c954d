"""How much a noised layout still tells: of one pixel in nats, and of a region by the vote of its pixels."""

from __future__ import annotations

from functools import reduce

import numpy as np
from scipy.special import xlogy
from scipy.stats import binom, poisson


def own_share(alpha_bar: np.ndarray, K: int) -> np.ndarray:
    """Probability that a pixel shows its own label at these levels of signal: ab + (1 - ab) / K."""
    alpha_bar = np.asarray(alpha_bar, np.float64)
    return alpha_bar + (1 - alpha_bar) / K


def information(alpha_bar: np.ndarray, K: int) -> np.ndarray:
    """Mutual information of a noised label with the clean one, nats, where all K labels are as likely: ln K at 1."""
    own = own_share(alpha_bar, K)
    return np.log(K) + xlogy(own, own) + xlogy(1 - own, (1 - own) / (K - 1))


def readability(n: int, K: int, alpha_bar: np.ndarray) -> np.ndarray:
    """Probability that the true label of n pixels of one class has strictly the most votes, at each level of signal.

        R_{n,K} = sum_m binom(n, m) p^m (1 - p)^(n - m) W_{n,K}(m),    p = `own_share`,

    W the probability that n - m votes spread evenly over K - 1 labels give none of them m or more. Independent Poisson
    counts conditioned on their sum are such votes, so W is one entry of a (K - 1)-fold convolution of a truncated
    Poisson distribution: exact, nothing is drawn.
    """
    wins = np.zeros(n + 1)
    for m in range(1, n + 1):
        rest = n - m
        fewer = poisson.pmf(np.arange(min(m, rest + 1)), rest / (K - 1))
        sums = reduce(lambda a, b: np.convolve(a, b)[: rest + 1], [fewer] * (K - 1))
        wins[m] = sums[rest] / poisson.pmf(rest, rest) if len(sums) > rest else 0
    return binom.pmf(np.arange(n + 1), n, own_share(alpha_bar, K)[..., None]) @ wins
