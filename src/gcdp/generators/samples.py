"""Generated pairs, with what made them, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Generated pairs: images uint8 (B, H, W, 3), layouts uint8 (B, H, W), and what made them.

    `images` or `layouts` is None for a model without that half. `seeds` holds one seed a pair: passing it back to
    `Pipeline.sample` with the pair's caption draws the same pair again.
    """

    images: np.ndarray | None
    layouts: np.ndarray | None
    captions: list[str]
    seeds: list[int]
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)
