"""Measures of layouts against their captions and against real layouts; no referee network is needed.

A generated layout says itself which classes it holds, so recall and precision of the caption's classes can be
counted pixel by pixel. They speak of the layout half alone: whether the image shows what its layout says is another
question. Every score is to be read beside the same score of real layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gcdp.data.captions import classes_in_caption
from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.statistics import bootstrap_ratio


def class_areas(layouts: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels of each class in each layout: (N, H, W) -> int64 (N, K). Raises DataError for a label outside 0..K-1."""
    layouts = np.asarray(layouts)
    if layouts.ndim != 3:
        raise DataError(f"layouts must have shape (N, H, W), got {layouts.shape}")
    if layouts.size and not 0 <= int(layouts.min()) <= int(layouts.max()) < num_classes:
        raise DataError(f"layouts hold a label outside 0..{num_classes - 1}: map them to the class table first")
    flat = layouts.reshape(len(layouts), layouts.shape[1] * layouts.shape[2]).astype(np.int64)
    flat += num_classes * np.arange(len(layouts))[:, None]
    return np.bincount(flat.ravel(), minlength=len(layouts) * num_classes).reshape(len(layouts), num_classes)


def area_shares(layouts: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of all pixels that each class covers, float64 (K,), summing to 1."""
    areas = class_areas(layouts, num_classes).sum(0)
    return areas / max(1, areas.sum())


def named_shares(layouts: np.ndarray, classes: ClassTable) -> dict[str, float]:
    """Share of all pixels of every class that captions can name, {name: share}, the largest first."""
    shares = area_shares(layouts, classes.num_classes)
    return {classes.names[k]: float(shares[k]) for k in np.argsort(-shares, kind="stable") if k in classes.labeled}


def smoothness(layouts: np.ndarray) -> float:
    """Share of horizontally or vertically adjacent pixel pairs with equal labels: (N, H, W) -> 0..1.

    Independent uniform labels score 1/K and a single class 1. Noise left in a layout shows at once: a wrong pixel
    inside a region breaks four pairs.
    """
    layouts = np.asarray(layouts)
    across = layouts[:, :, 1:] == layouts[:, :, :-1]
    down = layouts[:, 1:] == layouts[:, :-1]
    if not across.size + down.size:
        raise DataError(f"smoothness needs layouts of at least two pixels, got shape {layouts.shape}")
    return float((across.sum() + down.sum()) / (across.size + down.size))


def named_classes(captions: Sequence[str], classes: ClassTable) -> np.ndarray:
    """Which classes each caption names, bool (N, K); the unlabeled class never counts."""
    named = np.zeros((len(captions), classes.num_classes), bool)
    for row, caption in zip(named, captions, strict=True):
        row[classes_in_caption(caption, classes)] = True
    return named


class Agreement(NamedTuple):
    """Classes of N captions and their layouts, bool (N, K) each: named by the caption, held by the layout, both."""

    named: np.ndarray
    held: np.ndarray
    both: np.ndarray


def agreement(layouts: np.ndarray, captions: Sequence[str], classes: ClassTable, min_area: int = 1) -> Agreement:
    """Which classes captions name and layouts (N, H, W) hold with at least `min_area` pixels; never the unlabeled one.

    Raises DataError where captions and layouts differ in number, or `min_area` < 1.
    """
    if len(captions) != len(layouts) or min_area < 1:
        raise DataError(
            f"need one caption a layout and min_area >= 1, got {len(captions)} captions for {len(layouts)} layouts "
            f"and min_area {min_area}"
        )
    named = named_classes(captions, classes)
    held = class_areas(layouts, classes.num_classes) >= min_area
    if classes.unlabeled is not None:
        held[:, classes.unlabeled] = False
    return Agreement(named, held, named & held)


def caption_agreement(
    layouts: np.ndarray, captions: Sequence[str], classes: ClassTable, min_area: int = 1
) -> dict[str, dict]:
    """Recall and precision of the captions' classes in layouts (N, H, W), counting a class from `min_area` pixels on.

    Recall asks of every class that a caption names whether its layout holds it; precision asks of every labeled
    class that a layout holds whether its caption names it. Each is a summary as made by `summarize_ratio`.

    Raises DataError where captions and layouts differ in number, or `min_area` < 1.
    """
    found = agreement(layouts, captions, classes, min_area)
    return {
        "recall": summarize_ratio(found.both, found.named, classes),
        "precision": summarize_ratio(found.both, found.held, classes),
    }


def summarize_ratio(hits: np.ndarray, cases: np.ndarray, classes: ClassTable) -> dict:
    """Hits among cases, both bool (N, K): {"micro", "low", "high", "macro", "n", "per_class", "n_per_class"}.

    `micro` counts every (pair, class) once, with a 95 % bootstrap interval over pairs, `macro` is the mean over
    classes, `n` are the cases behind them. A class without cases scores None.
    """
    n = cases.sum(0)
    per_class = {name: float(hits[:, i].sum() / n[i]) for i, name in enumerate(classes.names) if n[i]}
    micro = bootstrap_ratio(hits.sum(1), cases.sum(1))
    return {
        "micro": micro["value"],
        "low": micro["low"],
        "high": micro["high"],
        "macro": float(np.mean(list(per_class.values()))) if per_class else None,
        "n": int(n.sum()),
        "per_class": {name: per_class.get(name) for i, name in enumerate(classes.names) if i != classes.unlabeled},
        "n_per_class": {name: int(n[i]) for i, name in enumerate(classes.names) if i != classes.unlabeled},
    }


def compare_areas(layouts: np.ndarray, real: np.ndarray, classes: ClassTable) -> dict:
    """Area of each class beside real layouts, (N, H, W) each: {"total_variation", "per_class"}.

    `total_variation` is half the summed difference of the shares, 0..1; `per_class` holds (generated, real) shares.
    """
    ours, theirs = (area_shares(part, classes.num_classes) for part in (layouts, real))
    per_class = {name: [float(ours[i]), float(theirs[i])] for i, name in enumerate(classes.names)}
    return {"total_variation": float(np.abs(ours - theirs).sum() / 2), "per_class": per_class}


def layout_report(
    layouts: np.ndarray, captions: Sequence[str], classes: ClassTable, min_areas: Sequence[int] = (1, 8)
) -> dict:
    """Everything this module measures of layouts (N, H, W) and their captions alone, as plain JSON types.

    {"n", "smoothness", "agreement": {"<min_area>": {"recall", "precision"}}}. Call it for generated and for real
    layouts: the real ones are the ceiling.
    """
    scores = {str(area): caption_agreement(layouts, captions, classes, area) for area in min_areas}
    return {"n": len(layouts), "smoothness": smoothness(layouts), "agreement": scores}
