"""The effect of naming a label: the same caption with and without it, drawn with the same noise.

    effect of k = P(k seen | caption with k) - P(k seen | caption without k)

The two captions of a swap differ in the label k alone, and the two images in nothing but their captions: whoever draws
must give both the same seed, so that all noise is shared and cancels (`gcdp.experiments.effects`). Images of a model
that ignores its text are then equal, and the effect is exactly 0. It is 1 where a label shows if and only if it is
named. Where captions leave out much of what is there, as those of faces do, even a perfect model stays below 1: a label
that is not named may be there all the same.

Labels that go together are told apart: a rider is added to captions with and without bicycles alike. Every label gets
the same number of swaps, however rare it is in captions.

The primary measure of text-image correspondence here. Pooled with the weights p (1 - p) of
`gcdp.evaluation.correspondence.label_weights`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gcdp.data.attributes import AttributeTable, attributes_in_caption
from gcdp.data.captions import caption_with, classes_in_caption
from gcdp.data.classes import ClassTable
from gcdp.data.face_captions import caption_naming, contradictions, draw_style, foreign_to, sex_in_caption
from gcdp.errors import DataError
from gcdp.evaluation.correspondence import estimate_of, label_weights, named_matrix, weighted_mean
from gcdp.evaluation.statistics import resampled_counts, undefined


class Swaps(NamedTuple):
    """M captions, each in two versions that differ in one label.

    Args:
        caption: int64 (M,), which caption a swap was made from; a label meets a caption twice only where it has to.
        label: int64 (M,), which label the versions differ in.
        with_label, without_label: the M captions that name it and the M that do not.
    """

    caption: np.ndarray
    label: np.ndarray
    with_label: list[str]
    without_label: list[str]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def repeat(self) -> np.ndarray:
        """How often the label of a swap met its caption before, int64 (M,): such a swap needs other noise."""
        met: dict[tuple[int, int], int] = {}
        found = np.zeros(len(self), np.int64)
        for m, pair in enumerate(zip(self.caption.tolist(), self.label.tolist(), strict=True)):
            found[m] = met.get(pair, 0)
            met[pair] = met.get(pair, 0) + 1
        return found


def plan_swaps(captions: Sequence[str], table: ClassTable | AttributeTable, per_label: int, seed: int) -> Swaps:
    """`per_label` swaps for every label that has a weight among these captions; they depend on the arguments alone.

    Captions are drawn without replacement, for each label apart, and again only where there are fewer than
    `per_label`. Where a caption of classes names the label already, or does not, that version is the caption itself.
    Captions of attributes are composed anew, both versions in one style: both leave out what contradicts the label (a
    second color of hair), and no caption that says "she" is taken for a beard. A label for which no caption is left
    has no swaps.
    """
    rows: list[tuple[int, int, str, str]] = []
    make = _class_swap if isinstance(table, ClassTable) else _attribute_swap
    for label in np.flatnonzero(label_weights(named_matrix(captions, table))):
        rng = np.random.default_rng([seed, int(label)])
        fitting = [int(i) for i in rng.permutation(len(captions)) if _fits(captions[i], table, label)]
        for i in range(per_label if fitting else 0):
            row = fitting[i % len(fitting)]
            rows.append((row, int(label), *make(captions[row], int(label), table, rng)))
    caption, label, with_label, without_label = zip(*rows) if rows else ((), (), (), ())
    return Swaps(np.array(caption, np.int64), np.array(label, np.int64), list(with_label), list(without_label))


def effect(swaps: Swaps, seen_with: np.ndarray, seen_without: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """The effect of naming, pooled and of every label.

    Args:
        seen_with, seen_without: (M,) each, whether the image of that version of a swap shows its label.
        weights: (L,), from `label_weights` of the captions that the swaps were made from.

    Returns {"effect", "per_label"}: an Estimate, sum over labels with these weights, its interval by drawing captions
    anew with all of their swaps (`n` counts captions); and for every label {"value", "with", "without", "n"}, n its
    swaps, None where it has none. Raises DataError where the numbers do not fit the swaps.
    """
    seen_with, seen_without = (np.asarray(seen, np.float64) for seen in (seen_with, seen_without))
    weights = np.asarray(weights, np.float64)
    if not seen_with.shape == seen_without.shape == swaps.label.shape:
        raise DataError(
            f"need one number a swap, {len(swaps)} for each version, got {seen_with.shape} and {seen_without.shape}"
        )
    if len(swaps) and swaps.label.max() >= len(weights):
        raise DataError(f"need one weight for each label, got {len(weights)} for label {swaps.label.max()}")
    per_label = [_of_label(swaps.label == k, seen_with, seen_without) for k in range(len(weights))]
    if not len(swaps):
        return {"effect": undefined(), "per_label": per_label}
    units, unit = np.unique(swaps.caption, return_inverse=True)
    gains, cases = (np.zeros((len(units), len(weights))) for _ in range(2))
    np.add.at(gains, (unit, swaps.label), seen_with - seen_without)
    np.add.at(cases, (unit, swaps.label), 1.0)
    value = _pooled(np.ones((1, len(units))), gains, cases, weights)[0]
    draws = [_pooled(counts, gains, cases, weights) for counts in resampled_counts(len(units))]
    drawn = np.concatenate(draws) if len(units) > 1 else None
    return {"effect": estimate_of(float(value), drawn, len(units)), "per_label": per_label}


def seen_labels(seen: np.ndarray, swaps: Swaps) -> np.ndarray:
    """Of what M images show, bool (M, L) from `seen_matrix`, the label that each swap asks for: bool (M,)."""
    return np.asarray(seen)[np.arange(len(swaps)), swaps.label]


def _pooled(counts: np.ndarray, gains: np.ndarray, cases: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Effects (R,) for captions drawn `counts` (R, C) times; gains and cases are (C, L)."""
    drawn = counts @ cases
    effects = np.divide(counts @ gains, drawn, out=np.full_like(drawn, np.nan), where=drawn > 0)
    return weighted_mean(effects, weights)


def _of_label(rows: np.ndarray, seen_with: np.ndarray, seen_without: np.ndarray) -> dict[str, Any] | None:
    if not rows.any():
        return None
    shown, anyway = float(seen_with[rows].mean()), float(seen_without[rows].mean())
    return {"value": shown - anyway, "with": shown, "without": anyway, "n": int(rows.sum())}


def _fits(caption: str, table: ClassTable | AttributeTable, label: int) -> bool:
    return isinstance(table, ClassTable) or label not in foreign_to(table, sex_in_caption(caption))


def _class_swap(caption: str, label: int, classes: ClassTable, rng: np.random.Generator) -> tuple[str, str]:
    named = sorted(classes_in_caption(caption, classes), key=lambda k: _position(caption, k, classes))
    place = int(rng.integers(len(named) + 1))
    with_label = named if label in named else [*named[:place], label, *named[place:]]
    return caption_with(with_label, classes), caption_with([k for k in named if k != label], classes)


def _position(caption: str, index: int, classes: ClassTable) -> int:
    """Where a caption names a class first, by its phrase or its name."""
    words = "|".join(re.escape(word) for word in (classes.phrases[index], classes.names[index]))
    found = re.search(rf"(?<!\w)(?:{words})(?!\w)", caption, re.IGNORECASE)
    return found.start() if found else len(caption)


def _attribute_swap(caption: str, label: int, table: AttributeTable, rng: np.random.Generator) -> tuple[str, str]:
    against, sex = contradictions(table)[label], sex_in_caption(caption)
    others = [k for k in attributes_in_caption(caption, table) if k != label and not against[k]]
    order = [int(k) for k in rng.permutation([*others, label])]
    style = draw_style(rng)
    without = [k for k in order if k != label]
    return caption_naming(order, table, sex, style), caption_naming(without, table, sex, style)
