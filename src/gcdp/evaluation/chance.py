"""Chance: what images score that know the world but not their own caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def mismatched(captions: Sequence[T]) -> list[T]:
    """The captions of N images in their order, each replaced by that of the next image; the last gets the first's.

    Every score of images against `mismatched(captions)` is its measure of chance: the captions are those that the
    model was given, so their statistics are the same, and only the tie to the image is cut. Also takes anything else
    that stands in the order of the captions, such as their row numbers.
    """
    return [*captions[1:], *captions[:1]]
