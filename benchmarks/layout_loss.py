"""Time of the layout loss, forwards and backwards, against logarithms of one-hot tensors and against its floor.

The rival is the way in which public code of multinomial diffusion writes the loss: labels as log one-hot tensors, every
sum of exponentials by its maximum, KL of the posteriors and the likelihood of y_0 both computed, one of them kept. The
floor is torch's cross-entropy of the same logits: no loss of these logits can do with less. All run in turns in one
process on one thread; ratios are medians over rounds of the ratios within a round.
Run: python benchmarks/layout_loss.py, which also writes benchmarks/layout_loss.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from gcdp.diffusion.categorical import BOUNDS, CategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

ROUNDS = 9
SIZES = [(2, 20, 256, 512), (1, 171, 256, 512)]  # B, K, H, W
TIMES = (500, 300)  # one for each example


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp a + exp b) by the larger of the two."""
    largest = torch.maximum(a, b)
    return largest + ((a - largest).exp() + (b - largest).exp()).log()


def log_one_hot(labels: Tensor, K: int) -> Tensor:
    """Labels (B, H, W) as (B, K, H, W), -69 in place of log 0."""
    return functional.one_hot(labels, K).movedim(-1, 1).float().clamp(min=1e-30).log()


def one_hot_loss(schedule: NoiseSchedule, bound: str, logits: Tensor, y0: Tensor, y_t: Tensor, t: Tensor) -> Tensor:
    """The same bound (B,), on log one-hot tensors."""
    K = logits.shape[1]
    s = t - 1 if bound == "step" else torch.zeros_like(t)
    ab_t, ab_s = (schedule.at(time, logits) for time in (t, s))

    def mixed(log_p: Tensor, keep: Tensor) -> Tensor:
        return log_add_exp(log_p + keep.log().float(), ((1 - keep) / K).clamp(min=1e-30).log().float())

    def posterior(log_p: Tensor) -> Tensor:
        joint = mixed(log_p, ab_s) + mixed(log_y_t, ab_t / ab_s)
        return joint - joint.logsumexp(1, keepdim=True)

    log_y_0, log_y_t = log_one_hot(y0, K), log_one_hot(y_t, K)
    true, model = posterior(log_y_0), posterior(torch.log_softmax(logits, 1))
    kl = (true.exp() * (true - model)).sum(1).mean((1, 2))
    nll = -(log_y_0.exp() * model).sum(1).mean((1, 2))
    return schedule.T * torch.where(t == 1, nll, kl) if bound == "step" else nll


def timed(loss, logits: Tensor) -> float:
    """Seconds of a loss and its gradient."""
    start = time.perf_counter()
    torch.autograd.grad(loss().sum(), logits)
    return time.perf_counter() - start


def compare(bound: str, B: int, K: int, H: int, W: int) -> dict[str, float | str]:
    """Ratios for one bound and size; both forms give the same loss, which is asserted."""
    generator, schedule = torch.Generator().manual_seed(0), NoiseSchedule.cosine(1000)
    diffusion, t = CategoricalDiffusion(K, schedule, bound), torch.tensor(TIMES[:B])
    logits = torch.randn(B, K, H, W, generator=generator).requires_grad_()
    y0 = torch.randint(K, (B, H, W), generator=generator)
    y_t = diffusion.q_sample(y0, t, generator)
    losses = {
        "ours": lambda: diffusion.loss(logits, y0, y_t, t),
        "one_hot": lambda: one_hot_loss(schedule, bound, logits, y0, y_t, t),
        "floor": lambda: functional.cross_entropy(logits, y0),
    }
    torch.testing.assert_close(losses["ours"](), losses["one_hot"](), rtol=1e-3, atol=1e-4)
    rounds = [{name: timed(loss, logits) for name, loss in losses.items()} for _ in range(ROUNDS)]
    seconds = {f"{name}_seconds": statistics.median(each[name] for each in rounds) for name in losses}
    faster, over = ([r[a] / r[b] for r in rounds] for a, b in (("one_hot", "ours"), ("ours", "floor")))
    ratios = {"one_hot_over_ours": statistics.median(faster), "ours_over_floor": statistics.median(over)}
    spread = statistics.quantiles(faster, n=4)
    ends = {"one_hot_over_ours_low": spread[0], "one_hot_over_ours_high": spread[2]}
    return {"bound": bound, "size": f"{B} x {K} x {H} x {W}", **ratios, **ends, **seconds}


def main() -> None:
    """Print a table and write the JSON beside this file."""
    torch.set_num_threads(1)
    rows = []
    print(f"{'bound':6} {'B x K x H x W':20} {'one-hot / ours':>22} {'ours / cross-entropy':>22} {'ours, ms':>10}")
    for size in SIZES:
        for bound in BOUNDS:
            row = compare(bound, *size)
            rows.append(row)
            spread = f"[{row['one_hot_over_ours_low']:.1f}, {row['one_hot_over_ours_high']:.1f}]"
            faster = f"{row['one_hot_over_ours']:.1f} {spread}"
            over, own = row["ours_over_floor"], 1000 * row["ours_seconds"]
            print(f"{bound:6} {row['size']:20} {faster:>22} {over:>22.2f} {own:>10.0f}")
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
    report = {"machine": machine, "rounds": ROUNDS, "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
