"""The image half: Gaussian diffusion of x in [-1, 1] (paper Eq. 12 and its generalization to any stride)."""

from __future__ import annotations

import torch
from torch import Tensor

from gcdp.diffusion.schedules import NoiseSchedule, on_host, placed
from gcdp.errors import ConfigError

PREDICTIONS = ("eps", "x0", "v")


class GaussianDiffusion:
    """q(x_t | x_0) = N(sqrt(ab_t) x_0, (1 - ab_t) I) with exact posteriors for every jump s < t.

    Args:
        schedule: table of ab = alpha_bar.
        prediction: what the network's output means: "eps" (the paper), "x0", or "v" = sqrt(ab) eps -
            sqrt(1 - ab) x_0, which stays well conditioned where ab is close to 0.
        p2: weight the loss by (1 + SNR)^(-1/2), the authors' setting, which is meant for the error of eps. Errors of
            the other predictions are converted, so that one clean estimate has one loss whatever the prediction.
    """

    def __init__(self, schedule: NoiseSchedule, prediction: str = "eps", p2: bool = False):
        if prediction not in PREDICTIONS:
            raise ConfigError(f"image prediction '{prediction}' is unknown: choose one of {', '.join(PREDICTIONS)}")
        self.schedule, self.prediction, self.p2 = schedule, prediction, p2

    def _levels(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal sqrt(ab_t) and noise sqrt(1 - ab_t), each (B, 1, 1, 1) in the dtype of `like`."""
        ab = self.schedule.at(t, like)
        return placed(ab.sqrt(), like), placed((1 - ab).sqrt(), like)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor | None = None) -> Tensor:
        """Draw x_t ~ q(x_t | x_0). x0, noise: (B, C, H, W); t: (B,) in 0..T."""
        noise = torch.randn_like(x0) if noise is None else noise
        signal, sigma = self._levels(t, x0)
        return signal * x0 + sigma * noise

    def q_jump(self, x_s: Tensor, s: Tensor, t: Tensor, noise: Tensor | None = None) -> Tensor:
        """Draw x_t ~ q(x_t | x_s) = N(sqrt(a) x_s, (1 - a) I), a = ab_t / ab_s, for any s < t; `q_sample` at s = 0.

        x_s, noise: (B, C, H, W); s, t: (B,) in 0..T. Raises ValueError unless s < t in every example.
        """
        noise = torch.randn_like(x_s) if noise is None else noise
        _, _, a = self.schedule.jump(t, s, x_s)
        return placed(a.sqrt(), x_s) * x_s + placed((1 - a).sqrt(), x_s) * noise

    def q_posterior(self, x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and variance (B, 1, 1, 1) of q(x_s | x_t, x_0) for any s < t; Eq. 12 at s = t - 1."""
        ab_t, ab_s, a = self.schedule.jump(t, s, x_t)
        from_x0 = ab_s.sqrt() * (1 - a) / (1 - ab_t)
        from_xt = a.sqrt() * (1 - ab_s) / (1 - ab_t)
        variance = (1 - ab_s) * (1 - a) / (1 - ab_t)
        return placed(from_x0, x0) * x0 + placed(from_xt, x_t) * x_t, placed(variance, x_t)

    def reverse(self, x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B, 1, 1, 1) of a jump with a share `eta` of the fresh noise.

        1 is `q_posterior`, 0 is DDIM. Both keep the total noise level of s.
        """
        if eta == 1:
            mean, variance = self.q_posterior(x0, x_t, t, s)
            return mean, variance.sqrt()
        ab_t, ab_s, a = self.schedule.jump(t, s, x_t)
        std = eta * ((1 - ab_s) * (1 - a) / (1 - ab_t)).sqrt()
        direction = (1 - ab_s - std**2).clamp(min=0).sqrt()
        mean = placed(ab_s.sqrt(), x0) * x0 + placed(direction, x_t) * self.predict_eps(x0, x_t, t)
        return mean, placed(std, x_t)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should output for (x_0, noise) at t, all (B, C, H, W)."""
        if self.prediction == "eps":
            return noise
        if self.prediction == "x0":
            return x0
        signal, sigma = self._levels(t, x0)
        return signal * noise - sigma * x0

    def predict_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean estimate behind a network output, all (B, C, H, W)."""
        if self.prediction == "x0":
            return output
        signal, sigma = self._levels(t, x_t)
        if self.prediction == "eps":
            return (x_t - sigma * output) / signal
        return signal * x_t - sigma * output

    def predict_eps(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that leads from x_0 to x_t, (B, C, H, W); t >= 1."""
        signal, sigma = self._levels(t, x_t)
        return (x_t - signal * x0) / sigma

    def loss(self, output: Tensor, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Mean squared error of the predicted quantity per example, (B,); zero weight where t = 0."""
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        error = (output - self.target(x0, noise, t)).square().mean((1, 2, 3))
        return error * placed(self._weight(t, error), error)

    def _weight(self, t: Tensor, like: Tensor) -> Tensor:
        """Weight of the squared error, float64 (B,), 0 where t = 0."""
        ab = self.schedule.at(t, like)
        weight = torch.ones_like(ab)
        if self.p2:  # (1 + SNR)^(-1/2) = (1 - ab)^(1/2), and (error of eps)^2 = ab (of v)^2 = SNR (of x0)^2
            to_eps = {"eps": torch.ones_like(ab), "v": ab, "x0": ab / (1 - ab)}[self.prediction]
            weight = to_eps * (1 - ab).sqrt()
        return torch.where(on_host(t) > 0, weight, 0.0)  # SNR is infinite at t = 0
