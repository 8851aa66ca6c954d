"""Drawings at every guidance, and their scores: what evaluation notebooks and the study have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gcdp.evaluation.scores import RealReference, Scores
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.profile import Profile
from gcdp.experiments.records import EvaluationRecord, GuidanceCurve, RefereeRecord
from gcdp.experiments.referees import open_referees
from gcdp.generators.external import open_external
from gcdp.generators.samples import Samples
from gcdp.storage import atomic_write, fingerprint, sha256


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
        """The pairs at one guidance scale for both halves; 0 ignores the text."""
        folder = self.folder / f"guidance-{guidance:g}"
        kept = self._read(folder)
        if kept is not None:
            return kept
        pairs = self.model.sample(
            self.world.captions, num_steps=self.num_steps, guidance=guidance, seed=self.seed, progress=True
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


def correspondence(scores: Scores) -> float:
    """What guidance is chosen by: attribute recall above chance where captions name attributes, else F1."""
    if not scores.has_attributes:
        return scores.value("f1") or 0.0
    chance = scores.chance.get("attribute_recall")
    return (scores.value("attribute_recall") or 0.0) - (chance["value"] if chance else 0.0)


def score_folder(profile: Profile, domain: str, folder: Path, unconditional: bool = False) -> EvaluationRecord:
    """Score images made elsewhere like those of any model.

    Args:
        folder: images, captions and perhaps layouts, as `gcdp.generators.external` describes.
        unconditional: the images were made without text.

    Raises DataError for a folder that cannot be read, CheckpointError where the referee was not measured yet.
    """
    measured = RefereeRecord.load(profile.results_folder("metrics"), domain)
    world, referees = held_out(profile, domain, profile.evaluate.split), open_referees(profile, domain)
    pairs = open_external(folder, world.classes, profile.domain(domain).size, unconditional)
    real = RealReference(referees.segmenter.read(world.images), world.layouts)
    area, asked = measured.minimum_area, replace(world, captions=pairs.captions)
    scores = referees.score(referees.read(pairs.images, pairs.captions), pairs.layouts, asked, real, area)
    return EvaluationRecord(
        domain=domain,
        model=Path(folder).resolve().name,
        kind="external",
        split=profile.evaluate.split,
        n=len(pairs),
        minimum_area=area,
        referee=measured.referee,
        curve=GuidanceCurve() if unconditional else GuidanceCurve((scores,)),
        unconditional=scores.without_text() if unconditional else None,
        ceiling=measured.ceiling.brief(),
    )
