"""One guidance scale for both halves, or one for each: a grid on validation captions, the best of both on test ones.

The paper guides image and layout alike. They need not be: each is an output of the network, with a scale of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gcdp.evaluation import frechet
from gcdp.evaluation.correspondence import j_difference, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.iou import pair_miou_difference
from gcdp.evaluation.scores import RealReference, Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.models import open_model, weight_files
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import Readings, Referees, open_referees
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples

KEPT = (
    "j", "j_layouts", "semantic_recall", "precision", "attribute_recall", "alignment", "frechet", "kid", "miou", "fsd",
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
        return [self._row(each, drawn) for each, drawn in self._draw("val", self.plan.num_val, product(scales, scales))]

    def tested(self, chosen: dict[str, Scales]) -> tuple[dict[str, Any], dict[str, Estimate]]:
        """The two chosen guidances on test captions, and "apart" less "alike", caption by caption.

        Args:
            chosen: {"alike": scales, "apart": scales}, from `choose`.

        Returns ({name: row as in `grid`}, {measure: Estimate}): of "j", "frechet" and "miou".
        """
        drawn = dict(self._draw("test", self.plan.num_samples, dict.fromkeys(chosen.values())))
        rows = {name: self._row(scales, drawn[scales]) for name, scales in chosen.items()}
        return rows, self._differences(drawn[chosen["apart"]], drawn[chosen["alike"]])

    def _differences(self, ours: Drawn, theirs: Drawn) -> dict[str, Estimate]:
        world = self._world("test", self.plan.num_samples)
        named = named_matrix(world.captions, self.referees.labels(world.classes))
        seen = [self._seen(drawn.readings, world) for drawn in (ours, theirs)]
        features = [drawn.readings.reading.features for drawn in (ours, theirs)]
        agreeing = [(drawn.pairs.layouts, drawn.readings.reading.layouts) for drawn in (ours, theirs)]
        return {
            "j": j_difference(named, *seen, label_weights(named)),
            "frechet": frechet.difference(*features, self._real(world).features),
            "miou": pair_miou_difference(*agreeing, world.classes),
        }

    def _seen(self, readings: Readings, world: HeldOut) -> np.ndarray:
        """Labels in images, bool (N, L)."""
        if readings.present is not None:
            return np.asarray(readings.present, bool)
        return seen_matrix(readings.reading.layouts, world.classes, self.area)

    def _draw(self, split: str, count: int, guidances: Iterable[Scales]):
        """Scales and what is drawn at them, one after the other."""
        world = self._world(split, count)
        real = self._real(world)
        folder = self.profile.results_folder("guidance", self.domain) / f"drawn-{split}"
        weights = weight_files(self.profile, self.domain, self.plan.model)
        sweep = Sweep(self.model, world, self.profile.sampling, self.plan.seed, folder, weights)
        for scales in guidances:
            pairs = sweep.draw(scales)
            readings = self.referees.read(pairs.images, world.captions)
            yield scales, Drawn(pairs, readings, self.referees.score(readings, pairs.layouts, world, real, self.area))

    def _world(self, split: str, count: int) -> HeldOut:
        return held_out(self.profile, self.domain, split, count)

    def _real(self, world: HeldOut) -> RealReference:
        return RealReference(self.referees.segmenter.read(world.images), world.layouts)

    def _row(self, scales: Scales, drawn: Drawn) -> dict[str, Any]:
        measures = {key: drawn.scores[key] for key in KEPT if key in drawn.scores}
        return {"image": scales[0], "layout": scales[1], "measures": measures}


def choose(grid: list[dict[str, Any]]) -> dict[str, Scales]:
    """The scales with the largest J, "alike" for both halves and "apart", of any two; of equal J the least scales."""

    def best(rows: list[dict[str, Any]]) -> Scales:
        row = max(rows, key=lambda row: row["measures"].get("j", {}).get("value") or 0.0)
        return row["image"], row["layout"]

    return {"alike": best([row for row in grid if row["image"] == row["layout"]]), "apart": best(grid)}
