"""The layout half: categorical diffusion with uniform noise on integer labels, exact at any stride.

Nothing here builds a one-hot tensor: labels stay integers (B, H, W), and the only tensor with a class axis is
the predicted distribution (B, K, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcdp.diffusion.class_terms import picked, picked_and_summed
from gcdp.diffusion.schedules import NoiseSchedule, exact_dtype, moved, on_host, placed
from gcdp.errors import ConfigError

BOUNDS = ("step", "jump")


class CategoricalDiffusion:
    """q(y_t | y_0) = ab_t onehot(y_0) + (1 - ab_t) / K (paper Eq. 11, whose print swaps the two terms).

    Args:
        num_classes: K.
        schedule: table of ab = alpha_bar.
        bound: which reverse jump the loss scores. "step" is the paper's Eq. 19, KL at s = t - 1 times T.
            "jump" is s = 0, where the KL is the negative log-likelihood of y_0. Both are minimized by the same
            leave-one-out distribution p(y_0^i | x_t, y_t without pixel i); they weigh the times differently.
        p2: weight the loss by (1 + SNR)^(-1/2), the authors' setting.
    """

    def __init__(self, num_classes: int, schedule: NoiseSchedule, bound: str = "step", p2: bool = False):
        if num_classes < 2:
            raise ConfigError(f"num_classes must be at least 2, got {num_classes}")
        if bound not in BOUNDS:
            raise ConfigError(f"layout bound '{bound}' is unknown: choose one of {', '.join(BOUNDS)}")
        self.num_classes, self.schedule, self.bound, self.p2 = num_classes, schedule, bound, p2

    def q_probs(self, y0: Tensor, t: Tensor) -> Tensor:
        """q(y_t | y_0) for labels y0 (B, H, W): float64 (B, K, H, W); float32 on a device without float64."""
        self._check(y0)
        return self._kernel(y0, self.schedule.at(t, y0[:, None]))

    def q_sample(self, y0: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw y_t ~ q(y_t | y_0): keep each label with probability ab_t, else redraw it from all K classes.

        A CPU generator gives the same labels whatever the device of y0.
        """
        self._check(y0)
        return self._redrawn(y0, self.schedule.at(t, y0), generator)

    def q_jump_probs(self, y_s: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """q(y_t | y_s) = a onehot(y_s) + (1 - a) / K, a = ab_t / ab_s, for any s < t; dtype and shape as `q_probs`.

        Raises ValueError unless s < t in every example.
        """
        self._check(y_s)
        return self._kernel(y_s, self.schedule.jump(t, s, y_s[:, None])[2])

    def q_jump(self, y_s: Tensor, s: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw y_t ~ q(y_t | y_s) for any s < t, (B, H, W), as `q_sample` draws it from y_0.

        Raises ValueError unless s < t in every example.
        """
        self._check(y_s)
        return self._redrawn(y_s, self.schedule.jump(t, s, y_s)[2], generator)

    def q_posterior(self, p0: Tensor, y_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The plug-in reverse step, probabilities over y_s (B, K, H, W), for any s < t.

        p(y_s = j) is proportional to [a 1(j = y_t) + (1 - a)/K] [ab_s p0_j + (1 - ab_s)/K], a = ab_t / ab_s.
        With p0 one-hot at y_0 this is q(y_s | y_t, y_0). With p0 the leave-one-out distribution it is the exact
        reverse of each pixel. The normalizer has closed form, so the cost is O(K) a pixel.

        Args:
            p0: probabilities over y_0, (B, K, H, W).
            y_t: labels (B, H, W).
        """
        self._check(y_t)
        _, ab_s, a = self.schedule.jump(t, s, p0)
        stay, keep = (1 - a) / self.num_classes, (1 - ab_s) / self.num_classes  # floors of the two brackets
        a, ab_s, stay, keep = (placed(v, p0) for v in (a, ab_s, stay, keep))
        prior = ab_s * p0 + keep
        spike = a * prior.gather(1, y_t[:, None])
        return (stay * prior).scatter_add(1, y_t[:, None], spike) / (stay + spike)

    def leave_one_out(self, p0: Tensor, y_t: Tensor, t: Tensor) -> Tensor:
        """Divide the pixel's own likelihood out of p(y_0 | x_t, y_t): what the plug-in step needs.

        A head trained by plain cross-entropy gives p0 (B, K, H, W); the result is proportional to
        p0_k / (ab_t 1(k = y_t) + (1 - ab_t)/K).
        """
        loo = p0 / self.q_probs(y_t, t).to(p0.dtype)  # symmetric kernel: q(y_t | k) = q_probs(y_t)_k
        return loo / loo.sum(1, keepdim=True)

    def kl(self, log_p0: Tensor, y0: Tensor, y_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """KL( q(y_s | y_t, y_0) || plug-in step of p0 ) per pixel, nats, (B, H, W); Eq. 19 at s = t - 1.

        At s = 0 it is -log p(y_0 | y_t), the negative log-likelihood. The true posterior takes one value at y_t,
        one at y_0 and one everywhere else, so the sum over classes needs two gathers and one sum of log p. Every term
        is as small as the probability to leave y_t, so that T * KL keeps its digits in float32.

        Args:
            log_p0: log-probabilities over y_0, or scores whose softmax these are, (B, K, H, W).
            y0, y_t: labels (B, H, W).
        """
        self._check(y0)
        _, ab_s, a = self.schedule.jump(t, s, y0)
        same = y_t == y0
        cases = zip(*(self._true_values(t, s, y0, case) for case in (True, False)), strict=True)
        of_all, of_0, of_t, constant = (
            torch.where(same, placed(if_same, log_p0), placed(if_not, log_p0)) for if_same, if_not in cases
        )
        # K times the second bracket: near t = T it is close to 1, and so are its logarithms to 0
        signal, floor, odds = (placed(v, log_p0) for v in (self.num_classes * ab_s, 1 - ab_s, ((1 - a) / a).log()))
        at_0, at_t, total = picked_and_summed(log_p0, y0, y_t, signal[:, None], floor[:, None])
        prior_0, prior_t = (torch.logaddexp(at + signal.log(), floor.log()) for at in (at_0, at_t))
        return constant - of_all * total - of_0 * prior_0 + of_t * prior_t + _softplus(odds - prior_t)

    def nll(self, log_p0: Tensor, y0: Tensor, y_t: Tensor, t: Tensor) -> Tensor:
        """-log p(y_0 | y_t) of the plug-in step to s = 0 per pixel, nats, (B, H, W): `kl` there, by two gathers.

        Raises ValueError where t is 0.
        """
        self._check(y0)
        _, _, ab_t = self.schedule.jump(t, torch.zeros_like(on_host(t)), y0)
        gain = self.num_classes * ab_t / (1 - ab_t)  # how much likelier y_t is kept than drawn
        at_0, at_t = picked(log_p0, y0, y_t)
        kept = placed(gain.log1p(), log_p0) * (y_t == y0)
        return _softplus(at_t + placed(gain.log(), log_p0)) - at_0 - kept

    def _true_values(self, t: Tensor, s: Tensor, like: Tensor, same: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What q(y_s | y_t, y_0) decides of the KL where y_t is or is not the `same` as y_0.

        Float64 (B, 1, 1) on the CPU: coefficients of the logarithms of the model's second bracket, summed over all
        classes, at y_0 and at y_t; and what does not depend on p0.
        """
        K = self.num_classes
        ab_t, ab_s, a = self.schedule.jump(t, s, like)
        floor, prior_0 = 1 - ab_s, 1 - ab_s + K * ab_s  # K times the second bracket, elsewhere and at y_0
        prior_t = prior_0 if same else floor
        norm = (1 - ab_t + K * ab_t * same) * K  # K^2 times q(y_t | y_0)
        q_rest, q_0 = (1 - a) * floor / norm, (1 - a) * prior_0 / norm * (not same)
        leave = (1 - a) * (K - prior_t) / norm  # 1 - q at y_t
        known = (K - 2 + same) * q_rest.xlogy(floor) + q_0.xlogy(prior_0) + (1 - leave).xlogy(prior_t)
        odds = ((1 - a) / a).log()
        constant = known - odds - _softplus(prior_t.log() - odds)
        return q_rest, q_0 - q_rest * (not same), q_rest + leave, constant

    def loss(self, logits: Tensor, y0: Tensor, y_t: Tensor, t: Tensor) -> Tensor:
        """Bound per example in nats a pixel, (B,), for head outputs `logits` (B, K, H, W); zero where t = 0."""
        t = on_host(t)
        alive = t.clamp(min=1)
        if self.bound == "step":
            loss = self.schedule.T * self.kl(logits.float(), y0, y_t, alive, alive - 1).mean((1, 2))
        else:
            loss = self.nll(logits.float(), y0, y_t, alive).mean((1, 2))
        if self.p2:
            loss = loss * placed((1 - self.schedule.at(t, loss)).sqrt(), loss)
        return loss * placed(t > 0, loss)

    def _kernel(self, labels: Tensor, keep: Tensor) -> Tensor:
        """keep onehot(labels) + (1 - keep) / K: labels (B, H, W), keep (B, 1, 1, 1) -> (B, K, H, W)."""
        keep = placed(keep, labels, exact_dtype(labels.device))
        probs = ((1 - keep) / self.num_classes).expand(len(labels), self.num_classes, *labels.shape[1:]).clone()
        return probs.scatter_add_(1, labels[:, None], keep.expand(len(labels), 1, *labels.shape[1:]))

    def _redrawn(self, labels: Tensor, keep: Tensor, generator: torch.Generator | None) -> Tensor:
        """Labels (B, H, W), each kept with probability `keep` (B, 1, 1), else drawn from all classes."""
        device = generator.device if generator is not None else labels.device
        coin = torch.rand(labels.shape, generator=generator, device=device)
        other = torch.randint(self.num_classes, labels.shape, generator=generator, device=device)
        kept = coin < placed(keep, coin, exact_dtype(coin.device))
        return torch.where(moved(kept, labels.device), labels, moved(other, labels.device))

    def _check(self, labels: Tensor) -> None:
        if labels.dtype != torch.int64 or labels.ndim != 3:
            raise ValueError(f"labels must be int64 (B, H, W), got {labels.dtype} {tuple(labels.shape)}")


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); exact in float64 too, whose digits end at exp(-40)."""
    return torch.nn.functional.softplus(x, threshold=40.0)
