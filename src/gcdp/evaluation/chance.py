"""Chance: what images score that know the world but not their own caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def of_others(seen: np.ndarray) -> np.ndarray:
    """What all images but its own show, on average, for each of N captions: bits or numbers (N, ...) -> float64.

    A measure that is linear in what is seen, as sums of hits and cases are, has with `of_others(seen)` in place of
    `seen` exactly the mean over every pairing of a caption with another image: the statistics of captions and images
    stay, and only the tie between the two is cut. NaN for a single image.
    """
    seen = np.asarray(seen, np.float64)
    if len(seen) < 2:
        return np.full_like(seen, np.nan)
    return (seen.sum(0) - seen) / (len(seen) - 1)


def mismatched(captions: Sequence[T]) -> list[T]:
    """The captions of N images in their order, each replaced by that of the next image; the last gets the first's.

    Also takes anything else that stands in the order of the captions, such as their row numbers.
    """
    return [*captions[1:], *captions[:1]]
