"""Time and memory of one reverse step of the layout: integers and closed form against one-hot logarithms.

The rival is the usual way to write the step: labels as log one-hot tensors, both factors as sums of exponentials, and
a log-sum-exp over classes. Both run in turns in one process; the ratio of their medians is printed, with the quartiles
of the ratio over rounds. Run: python benchmarks/layout_posterior.py
"""

from __future__ import annotations

import statistics
import time

import torch

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

ROUNDS = 15
SIZES = [(20, 4, 128, 256), (171, 2, 128, 128)]  # K, B, H, W


def one_hot_posterior(schedule: NoiseSchedule, log_p0, log_y_t, t, s):
    """The same plug-in step on log one-hot tensors (B, K, H, W), clamped to stay finite."""
    K = log_p0.shape[1]
    ab_t, ab_s = (schedule.at(v, log_p0).float() for v in (t, s))
    a = ab_t / ab_s
    log_jump = torch.logaddexp(log_y_t + a.log(), ((1 - a) / K).log())
    log_prior = torch.logaddexp(log_p0 + ab_s.log(), ((1 - ab_s) / K).clamp(min=1e-30).log())
    unnormalized = log_jump + log_prior
    return (unnormalized - unnormalized.logsumexp(1, keepdim=True)).exp()


def timed(function, *inputs) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function(*inputs)
    return time.perf_counter() - start


def peak_tensor_bytes(function, *inputs) -> int:
    """Largest total of live tensor bytes allocated during one call, by torch's profiler."""
    with torch.profiler.profile(profile_memory=True) as profiler:
        function(*inputs)
    live = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def compare(K: int, B: int, H: int, W: int) -> None:
    """Print the ratios for one size."""
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule.cosine(1000)
    diffusion = CategoricalDiffusion(K, schedule)
    p0 = torch.randn(B, K, H, W, generator=generator).softmax(1)
    y_t = torch.randint(K, (B, H, W), generator=generator)
    t, s = torch.full((B,), 500), torch.full((B,), 480)
    log_y_t = torch.nn.functional.one_hot(y_t, K).permute(0, 3, 1, 2).float().clamp(min=1e-30).log()
    rival = (lambda *args: one_hot_posterior(schedule, *args), p0.log(), log_y_t, t, s)
    ours = (diffusion.q_posterior, p0, y_t, t, s)
    difference = (rival[0](*rival[1:]) - ours[0](*ours[1:])).abs().max()
    rounds = [(timed(*rival), timed(*ours)) for _ in range(ROUNDS)]
    ratios = sorted(slow / fast for slow, fast in rounds)
    low, middle, high = ratios[ROUNDS // 4], statistics.median(ratios), ratios[3 * ROUNDS // 4]
    memory = peak_tensor_bytes(*rival) / peak_tensor_bytes(*ours)
    print(
        f"K={K} B={B} {H}x{W}: one-hot takes {middle:.1f} times as long (quartiles {low:.1f}..{high:.1f}) "
        f"and {memory:.1f} times the working memory; largest difference {difference:.1e}"
    )


if __name__ == "__main__":
    for size in SIZES:
        compare(*size)
