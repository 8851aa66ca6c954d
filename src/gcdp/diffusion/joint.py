"""Gaussian-categorical diffusion: the two chains side by side (paper Eq. 8-13).

The chains share nothing but the network, so each keeps its own time: t_x for the image, t_y for the layout. The
paper's process is the diagonal t_x = t_y. Setting t_y = 0 conditions on a clean layout, t_y = T leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.schedules import NoiseSchedule, moved
from gcdp.errors import ConfigError


@dataclass(frozen=True)
class DiffusionConfig:
    """Everything that defines the process; stored with every checkpoint. The defaults are the paper's."""

    T: int = 1000
    image_schedule: str = "cosine"
    image_shift: float = 0.0
    prediction: str = "eps"
    layout_schedule: str = "cosine"
    layout_shift: float = 0.0
    bound: str = "step"
    layout_weight: float = 1.0
    p2: bool = True


class Noised(NamedTuple):
    """A pair on its way: x (B, 3, H, W) or None, y (B, H, W) or None, and the noise inside x."""

    x: Tensor | None
    y: Tensor | None
    noise: Tensor | None


class GaussianCategoricalDiffusion:
    """Composes the two halves; either may be None (image-only is the Imagen-like baseline, layout-only).

    Args:
        gaussian, categorical: the halves.
        layout_weight: factor of the layout loss (nats a pixel). The authors' division by ln 2 and K is
            layout_weight = 1 / (K ln 2).
    """

    def __init__(
        self,
        gaussian: GaussianDiffusion | None,
        categorical: CategoricalDiffusion | None,
        layout_weight: float = 1.0,
    ):
        if gaussian is None and categorical is None:
            raise ConfigError("a diffusion needs an image half, a layout half or both")
        if gaussian and categorical and gaussian.schedule.T != categorical.schedule.T:
            raise ConfigError("both halves must have the same number of steps T")
        self.gaussian, self.categorical, self.layout_weight = gaussian, categorical, layout_weight

    @classmethod
    def from_config(
        cls, config: DiffusionConfig, num_classes: int, image: bool = True, layout: bool = True
    ) -> GaussianCategoricalDiffusion:
        """Build the process of a profile; `image=False` or `layout=False` leaves that half out."""
        c = config
        x_schedule = NoiseSchedule.by_name(c.image_schedule, c.T, c.image_shift)
        y_schedule = NoiseSchedule.by_name(c.layout_schedule, c.T, c.layout_shift)
        gaussian = GaussianDiffusion(x_schedule, c.prediction, c.p2) if image else None
        categorical = CategoricalDiffusion(num_classes, y_schedule, c.bound, c.p2) if layout else None
        return cls(gaussian, categorical, c.layout_weight)

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return (self.gaussian or self.categorical).schedule.T

    def log_snr(self, t_x: Tensor, t_y: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is told about the times: log-SNR of each chain, float32 (B,); 0 for an absent half."""
        x = self.gaussian.schedule.log_snr(t_x) if self.gaussian else torch.zeros(len(t_x))
        y = self.categorical.schedule.log_snr(t_y) if self.categorical else torch.zeros(len(t_y))
        return x, y

    def q_sample(
        self,
        x0: Tensor | None,
        y0: Tensor | None,
        t_x: Tensor,
        t_y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Noised:
        """Noise a pair to (t_x, t_y); t_y defaults to t_x, the paper's process. Noise comes from the CPU."""
        t_y = t_x if t_y is None else t_y
        x_t = y_t = noise = None
        if self.gaussian:
            noise = moved(torch.randn(x0.shape, generator=generator, dtype=x0.dtype), x0.device)
            x_t = self.gaussian.q_sample(x0, t_x, noise)
        if self.categorical:
            y_t = self.categorical.q_sample(y0, t_y, generator)
        return Noised(x_t, y_t, noise)

    def loss(self, output, x0, y0, noised: Noised, t_x: Tensor, t_y: Tensor) -> dict[str, Tensor]:
        """Loss per example of each half, {"image": (B,), "layout": (B,)}, before `layout_weight`.

        `output` has fields image (B, 3, H, W) and layout (B, K, H, W), as the network returns them.
        """
        losses = {}
        if self.gaussian:
            losses["image"] = self.gaussian.loss(output.image, x0, noised.noise, t_x)
        if self.categorical:
            losses["layout"] = self.categorical.loss(output.layout, y0, noised.y, t_y)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The scalar that training minimizes: image loss + layout_weight * layout loss, batch mean."""
        weights = {"image": 1.0, "layout": self.layout_weight}
        return sum(weights[name] * loss.mean() for name, loss in losses.items())
