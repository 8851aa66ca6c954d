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

from gcdp.errors import CheckpointError
from gcdp.evaluation.scores import RealReference
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import open_referees
from gcdp.experiments.sections import SamplingConfig
from gcdp.generators.external import open_external
from gcdp.generators.samples import Samples
from gcdp.storage import atomic_write, fingerprint, sha256

MEASURES = (
    "semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet", "miou", "fsd",
    "attribute_recall", "per_attribute", "attribute_macro", "alignment",
)  # fmt: skip


class Sweep:
    """Pairs of one model for held-out captions at any guidance, each drawn once and kept.

    An evaluation that was interrupted goes on where it stopped; other weights, captions or settings are drawn anew.
    """

    def __init__(
        self, model, world: HeldOut, sampling: SamplingConfig, seed: int, folder: Path, weights: Sequence[Path]
    ):
        self.model, self.world, self.folder = model, world, folder
        self.sampling, self.seed = sampling, seed
        self.weights = sorted(weights)

    @cached_property
    def identity(self) -> str:
        """Fingerprint of everything but guidance that decides the pairs."""
        captions = hashlib.sha256("\n".join(self.world.captions).encode()).hexdigest()
        weights = [sha256(path) for path in self.weights]
        settings = self.sampling.keywords()
        return fingerprint({"weights": weights, "captions": captions, "settings": settings, "seed": self.seed})

    def draw(self, guidance: float) -> Samples:
        """The pairs at one guidance scale for both halves; 0 ignores the text."""
        folder = self.folder / f"guidance-{guidance:g}"
        kept = self._read(folder)
        if kept is not None:
            return kept
        pairs = self.model.sample(
            self.world.captions, guidance=guidance, seed=self.seed, progress=True, **self.sampling.keywords()
        )
        self._write(folder, pairs)
        return pairs

    def _read(self, folder: Path) -> Samples | None:
        path = folder / "samples.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["identity"] != self.identity:
                return None
            arrays = [np.load(folder / f"{n}.npy") if facts[n] else None for n in ("images", "layouts")]
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # EOFError: an empty array file
            return None
        return Samples(*arrays, self.world.captions, facts["seeds"], facts["settings"])

    def _write(self, folder: Path, pairs: Samples) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "samples.json").unlink(missing_ok=True)  # or the former drawing's facts would vouch for new arrays
        arrays = {"images": pairs.images, "layouts": pairs.layouts}
        for name, array in arrays.items():
            if array is not None:
                np.save(folder / f"{name}.npy", array)
        facts = {"identity": self.identity, "seeds": pairs.seeds, "settings": pairs.settings}
        facts |= {name: array is not None for name, array in arrays.items()}
        with atomic_write(folder / "samples.json") as partial:  # last: a half-written drawing is not taken for one
            partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")


def correspondence(point: Mapping[str, Any]) -> float:
    """What guidance is chosen by: attribute recall above chance where attributes are judged, else F1."""
    if "attribute_recall" not in point:
        return point["f1"]["value"] or 0.0
    own, following = point["attribute_recall"]["value"], point["chance"]["attribute_recall"]["value"]
    return (own or 0.0) - (following or 0.0)


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
