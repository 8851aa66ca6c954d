"""The condition of super-resolution: a smaller pair, noised a little and enlarged to the size that is drawn.

What a first network draws is never quite what real small pairs are. The second one therefore learns from real ones with
some noise on them, told how much, and is given drawn ones with some noise as well (conditioning augmentation, Ho et al.
2021; METHOD section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.diffusion.joint import GaussianCategoricalDiffusion

SAMPLING_LEVEL = 0.2  # of drawn pairs, the authors'


class Enlarged(NamedTuple):
    """A noised smaller pair at the larger size: x (B, 3, H, W), y (B, H, W), and its log-SNR float32 (B,)."""

    x: Tensor | None
    y: Tensor | None
    log_snr: Tensor


def level_times(level: Tensor, T: int) -> Tensor:
    """Augmentation levels (B,) in 0..1, of which 0 leaves the pair as it is -> times int64 (B,) in 0..T."""
    return (level * T).round().long().clamp(0, T)


def condition(
    process: GaussianCategoricalDiffusion,
    x: Tensor | None,
    y: Tensor | None,
    level: Tensor,
    size: tuple[int, int],
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> Enlarged:
    """Noise smaller pairs to their levels, by the chains of `process`, and enlarge them to `size` (H, W).

    Images are enlarged bilinearly, labels by repeating them. The log-SNR is that of the image's chain, or of the
    layout's where there is no image.

    Args:
        x, y: clean pairs, (B, 3, h, w) and (B, h, w); None for a half that the process lacks.
        level: (B,) in 0..1, on the CPU.
        generator: of the noise; several, one an example, make an example independent of the others.
    """
    t = level_times(level, process.T)
    if isinstance(generator, Sequence):
        rows = [slice(i, i + 1) for i in range(len(t))]
        drawn = []
        for row, own in zip(rows, generator, strict=True):
            halves = (None if half is None else half[row] for half in (x, y))
            drawn.append(process.q_sample(*halves, t[row], generator=own))
        x, y = (None if half is None else torch.cat([noised[k] for noised in drawn]) for k, half in enumerate((x, y)))
    else:
        x, y, _ = process.q_sample(x, y, t, generator=generator)
    x = None if x is None else F.interpolate(x, size, mode="bilinear", align_corners=False)
    y = None if y is None else F.interpolate(y[:, None].float(), size, mode="nearest")[:, 0].long()
    levels = process.log_snr(t, t)
    return Enlarged(x, y, levels[0] if process.gaussian else levels[1])
