"""One guidance scale for both halves, or one for each: a grid on validation captions, the best of both on test ones.

The paper guides image and layout alike. They need not be: each is an output of the network, with a scale of its own.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gcdp.evaluation import frechet
from gcdp.evaluation.correspondence import j_difference, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.iou import pair_miou_difference
from gcdp.evaluation.scores import RealReference, Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.effects import effect_difference, read_swaps
from gcdp.experiments.models import open_model, weight_files
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import Readings, Referees, open_referees
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples

KEPT = (
    "effect", "j", "j_layouts", "semantic_recall", "precision", "attribute_recall", "alignment", "frechet", "kid",
    "miou", "fsd",
)  # fmt: skip
Scales = tuple[float, float]  # of image and layout


class Drawn(NamedTuple):
    """Pairs at one guidance, what the referees read in them, and their scores."""

    pairs: Samples
    readings: Readings
    scores: Scores


class GuidedHalves:
    """Everything that is drawn for `guidance_halves` of one domain; pairs are kept, and drawn once.

    Args:
        area: pixels from which a class counts as seen.
    """

    def __init__(self, profile: Profile, domain: str, area: int):
        self.profile, self.domain, self.area, self.plan = profile, domain, area, profile.guidance
        self.referees: Referees = open_referees(profile, domain)
        self.model = open_model(profile, domain, self.plan.model)

    def grid(self) -> list[dict[str, Any]]:
        """Each image scale with each layout scale, on validation captions: {"image", "layout", "measures"}."""
        scales = self.plan.scales or self.profile.sampling.guidances
        sweep = self._sweep("val", self.plan.num_val)
        real = self._real(sweep.world)
        return [_row(each, self._draw(sweep, real, each).scores) for each in product(scales, scales)]

    def tested(self, chosen: dict[str, Scales]) -> tuple[dict[str, Any], dict[str, Estimate]]:
        """The two chosen guidances on test captions, and "apart" less "alike", caption by caption.

        Args:
            chosen: {"alike": scales, "apart": scales}, from `choose`.

        Returns ({name: row as in `grid`, with the effect of naming}, {measure: Estimate}): of "effect", "j", "frechet"
        and "miou".
        """
        sweep = self._sweep("test", self.plan.num_samples)
        real = self._real(sweep.world)
        drawn = {scales: self._draw(sweep, real, scales) for scales in dict.fromkeys(chosen.values())}
        swaps = {scales: read_swaps(self.referees, sweep, scales, self.plan.swaps, self.area) for scales in drawn}
        rows = {name: _row(each, swaps[each].add_to(drawn[each].scores)) for name, each in chosen.items()}
        sides = chosen["apart"], chosen["alike"]
        effect = effect_difference(*(swaps[scales] for scales in sides))
        return rows, {"effect": effect, **self._differences(sweep.world, real, *(drawn[scales] for scales in sides))}

    def _differences(self, world: HeldOut, real: RealReference, ours: Drawn, theirs: Drawn) -> dict[str, Estimate]:
        named = named_matrix(world.captions, self.referees.labels(world.classes))
        seen = [self._seen(drawn.readings, world) for drawn in (ours, theirs)]
        features = [drawn.readings.reading.features for drawn in (ours, theirs)]
        agreeing = [(drawn.pairs.layouts, drawn.readings.reading.layouts) for drawn in (ours, theirs)]
        return {
            "j": j_difference(named, *seen, label_weights(named)),
            "frechet": frechet.difference(*features, real.features),
            "miou": pair_miou_difference(*agreeing, world.classes),
        }

    def _seen(self, readings: Readings, world: HeldOut) -> np.ndarray:
        """Labels in images, bool (N, L)."""
        if readings.present is not None:
            return np.asarray(readings.present, bool)
        return seen_matrix(readings.reading.layouts, world.classes, self.area)

    def _sweep(self, split: str, count: int) -> Sweep:
        world = held_out(self.profile, self.domain, split, count)
        folder = self.profile.results_folder("guidance", self.domain) / f"drawn-{split}"
        weights = weight_files(self.profile, self.domain, self.plan.model)
        return Sweep(self.model, world, self.profile.sampling, self.plan.seed, folder, weights)

    def _draw(self, sweep: Sweep, real: RealReference, scales: Scales) -> Drawn:
        pairs, world = sweep.draw(scales), sweep.world
        readings = self.referees.read(pairs.images, world.captions)
        scores = self.referees.score(readings, pairs.layouts, world, real, self.area)
        return Drawn(pairs, readings, scores)

    def _real(self, world: HeldOut) -> RealReference:
        return RealReference(self.referees.segmenter.read(world.images), world.layouts)


def _row(scales: Scales, scores: Scores) -> dict[str, Any]:
    measures = {key: scores[key] for key in KEPT if key in scores}
    return {"image": scales[0], "layout": scales[1], "measures": measures}


def choose(grid: list[dict[str, Any]]) -> dict[str, Scales]:
    """The scales with the largest J, "alike" for both halves and "apart", of any two; of equal J the least scales."""

    def best(rows: list[dict[str, Any]]) -> Scales:
        row = max(rows, key=lambda row: row["measures"].get("j", {}).get("value") or 0.0)
        return row["image"], row["layout"]

    return {"alike": best([row for row in grid if row["image"] == row["layout"]]), "apart": best(grid)}
