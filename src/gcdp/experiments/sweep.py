"""From a profile to rivals and scores: what evaluation notebooks and the study have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.scores import RealReference
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import open_referees
from gcdp.generators.external import open_external
from gcdp.generators.samples import Samples
from gcdp.storage import fingerprint, sha256

MEASURES = (
    "semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet", "miou", "fsd",
    "attribute_recall", "per_attribute", "attribute_macro", "alignment",
)  # fmt: skip


class Sweep:
    """Pairs of one model for held-out captions at any guidance, each drawn once and kept.

    An evaluation that was interrupted goes on where it stopped; other weights, captions or settings are drawn anew.
    """

    def __init__(self, model, world: HeldOut, num_steps: int, seed: int, folder: Path, weights: Sequence[Path]):
        self.model, self.world, self.folder = model, world, folder
        self.num_steps, self.seed = num_steps, seed
        self.weights = sorted(weights)

    @cached_property
    def identity(self) -> str:
        """Fingerprint of everything but guidance that decides the pairs."""
        captions = hashlib.sha256("\n".join(self.world.captions).encode()).hexdigest()
        weights = [sha256(path) for path in self.weights]
        return fingerprint({"weights": weights, "captions": captions, "steps": self.num_steps, "seed": self.seed})

    def draw(self, guidance: float) -> Samples:
        """The pairs at one guidance scale for both halves; 0 ignores the text. `settings` hold the identity too."""
        folder = self.folder / f"guidance-{guidance:g}"
        kept = self._kept(folder)
        if kept is not None:
            return kept
        drawn = self.model.sample(
            self.world.captions, num_steps=self.num_steps, guidance=guidance, seed=self.seed, progress=True
        )
        pairs = replace(drawn, settings={**drawn.settings, "identity": self.identity})
        pairs.save(folder)
        return pairs

    def _kept(self, folder: Path) -> Samples | None:
        try:
            kept = Samples.load(folder)
        except DataError:
            return None
        return kept if kept.settings.get("identity") == self.identity else None


def correspondence(point: Mapping[str, Any]) -> float:
    """What guidance is chosen by: attribute recall above chance where attributes are judged, else F1."""
    if "attribute_recall" not in point:
        return point["f1"]["value"] or 0.0
    own, following = point["attribute_recall"]["value"], point["chance"]["attribute_recall"]["value"]
    return (own or 0.0) - (following or 0.0)


def rising(point: Mapping[str, Any]) -> float:
    """What a sweep of guidance waits for to saturate: recall of attributes, or of classes from the area on."""
    return point.get("attribute_recall", point["semantic_recall_area"])["value"] or 0.0


def saturated(recalls: Sequence[float], least: float) -> bool:
    """Whether recall has failed twice running to rise by `least` over the best scale before."""
    best = np.maximum.accumulate(recalls)
    return len(recalls) > 2 and bool(best[-1] - best[-3] < least)


def score_folder(profile: Profile, domain: str, folder: Path, unconditional: bool = False) -> dict[str, Any]:
    """Judge images made elsewhere like any model, in the form that `07_evaluate` keeps.

    Args:
        folder: images, captions and perhaps layouts, as `gcdp.generators.external` describes.
        unconditional: the images were made without text.

    Raises DataError for a folder that cannot be read, CheckpointError where the referee was not measured yet.
    """
    known = read_known(profile, domain)
    world, referees = held_out(profile, domain, profile.evaluate.split), open_referees(profile, domain)
    pairs = open_external(folder, world.classes, profile.domain(domain).size, unconditional)
    real = RealReference(referees.segmenter.read(world.images), world.layouts)
    area, asked = known["minimum_area"], replace(world, captions=pairs.captions)
    point = referees.score(referees.read(pairs.images, pairs.captions), pairs.layouts, asked, real, area)
    record = {
        "domain": domain,
        "model": Path(folder).resolve().name,
        "kind": "external",
        "split": profile.evaluate.split,
    }
    record |= {"n": len(pairs), "minimum_area": area, "referee": known["referee"], "training": {}}
    without = {name: point[name] for name in ("frechet", "kid", "fsd", "fsd_of", "miou", "areas")}
    record |= {"best": None, "ceiling": ceiling_of(known)}
    if unconditional:
        return {**record, "sweep": [], "chosen": None, "unconditional": without}
    point = {"guidance": None, **point}
    return {**record, "sweep": [point], "chosen": point, "unconditional": None}


def ceiling_of(known: dict[str, Any]) -> dict[str, Any]:
    """The scores of real pairs that stand beside those of a model."""
    return kept_measures(known["ceiling"])


def kept_measures(point: Mapping[str, Any]) -> dict[str, Any]:
    """Those of MEASURES that a point has."""
    return {name: point[name] for name in MEASURES if name in point}


def read_known(profile: Profile, domain: str) -> dict[str, Any]:
    """What `04_evaluators` found of the referee. Raises CheckpointError where it has not run."""
    path = profile.results_folder("metrics", "referee") / f"{domain}.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: run the notebook 04_evaluators first")
    return json.loads(path.read_text(encoding="utf-8"))
