"""The effect of naming, measured on one model: swaps are drawn with shared noise, read, and added to its scores.

Both versions of a swap get the seed of its caption in the ordinary drawing of a sweep. A version that is the caption
itself is then there already, and is not drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gcdp.evaluation.attribute_groups import layout_bits
from gcdp.evaluation.correspondence import label_weights, named_matrix, seen_matrix
from gcdp.evaluation.naming import Swaps, effect, plan_swaps, seen_labels
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.referees import Referees
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples


class SwapBits(NamedTuple):
    """What M swaps show: one bit a swap and version, from which any effect can be computed.

    Args:
        swaps: which captions and labels.
        seen: bool (2, M), whether the referee sees the label in the image drawn with it named, and without.
        held: bool (2, M), whether the model's own layouts hold it, from one pixel on; None where it draws none.
        weights: (L,) of labels in images.
        layout_weights: (L,), 0 for labels that no layout can hold.
        names: of the L labels.
    """

    swaps: Swaps
    seen: np.ndarray
    held: np.ndarray | None
    weights: np.ndarray
    layout_weights: np.ndarray
    names: Sequence[str]

    def add_to(self, scores: Scores) -> Scores:
        """`scores` with "effect", "effect_layouts" and the effect of every label."""
        found = effect(self.swaps, *self.seen, self.weights)
        measures = {**scores.measures, "effect": found["effect"]}
        if self.held is not None:
            measures["effect_layouts"] = effect(self.swaps, *self.held, self.layout_weights)["effect"]
        effects = {name: row for name, row in zip(self.names, found["per_label"], strict=True) if row}
        return replace(scores, measures=measures, effects=effects)


def effect_difference(ours: SwapBits, theirs: SwapBits) -> Estimate:
    """Effect of naming of one drawing less that of another of the same swaps; it is linear in what is seen."""
    change = ours.seen.astype(np.float64) - theirs.seen
    return effect(ours.swaps, *change, ours.weights)["effect"]


def read_swaps(
    referees: Referees, sweep: Sweep, guidance: float | tuple[float, float], per_label: int, min_area: int
) -> SwapBits:
    """Plan, draw and read the swaps of a sweep's captions at one guidance, `per_label` for every label.

    A class is seen from `min_area` pixels on.
    """
    world = sweep.world
    table = referees.labels(world.classes)
    swaps = plan_swaps(world.captions, table, per_label, sweep.seed)
    weights = label_weights(named_matrix(world.captions, table))
    arms = sweep.draw_swaps(swaps, guidance) if len(swaps) else ()
    seen = [seen_labels(_seen(referees, arm, world, min_area), swaps) for arm in arms]
    drawn = [_held(referees, arm, world) for arm in arms if arm.layouts is not None]
    held = np.stack([seen_labels(bits, swaps) for bits, _ in drawn]) if drawn else None
    layout_weights = weights * drawn[0][1] if drawn else np.zeros_like(weights)
    return SwapBits(
        swaps, np.stack(seen) if seen else np.zeros((2, 0), bool), held, weights, layout_weights, table.names
    )


def _seen(referees: Referees, arm: Samples, world: HeldOut, min_area: int) -> np.ndarray:
    """Labels in images, bool (M, L)."""
    if referees.attributes:
        return referees.attributes.present(arm.images)
    return seen_matrix(referees.segmenter.read(arm.images).layouts, world.classes, min_area)


def _held(referees: Referees, arm: Samples, world: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """Labels in layouts, bool (M, L), and which of them a layout can hold, (L,)."""
    if referees.attributes:
        return layout_bits(arm.layouts, world.classes, referees.attributes.table)
    return seen_matrix(arm.layouts, world.classes), np.ones(world.classes.num_classes)
