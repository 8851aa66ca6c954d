"""Drawings at every guidance, and their scores: what evaluation notebooks and the study have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gcdp.diffusion.sampling import sample_seeds
from gcdp.errors import DataError
from gcdp.evaluation.naming import Swaps
from gcdp.evaluation.scores import RealReference, Scores
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.profile import Profile
from gcdp.experiments.records import EvaluationRecord, GuidanceCurve, RefereeRecord
from gcdp.experiments.referees import open_referees
from gcdp.experiments.sections import SamplingConfig
from gcdp.experiments.sharing import drawn_by_all, of_the_first, place_in_launch
from gcdp.generators.cascade import Cascade
from gcdp.generators.external import open_external
from gcdp.generators.samples import Samples, joined
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint, sha256
from gcdp.validation import to_dict


class Sweep:
    """Pairs of one model for held-out captions at any guidance, each drawn once and kept.

    An evaluation that was interrupted goes on where it stopped. Processes launched together share out the captions; the
    pairs are those of one process, and the first keeps them. With other weights, captions, settings or code of the
    sampler all is drawn anew.

    `given` are further keywords of the model's `sample`: settings, functions, and known halves and masks, arrays of one
    row a caption.
    """

    def __init__(
        self,
        model,
        world: HeldOut,
        sampling: SamplingConfig,
        seed: int,
        folder: Path,
        weights: Sequence[Path],
        given: Mapping[str, Any] | None = None,
    ):
        self.model, self.world, self.folder = model, world, folder
        self.sampling, self.seed = sampling, seed
        self.weights, self.given = sorted(weights), dict(given or {})

    @cached_property
    def identity(self) -> str:
        """Fingerprint of everything but guidance that decides the pairs, the sampler's code included."""
        captions = hashlib.sha256("\n".join(self.world.captions).encode()).hexdigest()
        weights = [sha256(path) for path in self.weights]
        decisive = {"weights": weights, "captions": captions, "settings": self.sampling.keywords(), "seed": self.seed}
        code = source_fingerprint(type(self.model).__module__)
        decisive |= {"given": {name: _described(value) for name, value in self.given.items()}} if self.given else {}
        decisive |= {"cascade": to_dict(self.model.config)} if isinstance(self.model, Cascade) else {}
        return fingerprint({**decisive, "dtype": self.model.dtype, "code": code})

    def draw(self, guidance: float | tuple[float, float]) -> Samples:
        """The pairs at one guidance scale for both halves, or (image, layout); 0 ignores the text.

        `settings` hold the identity too.
        """
        folder = self._folder("guidance", guidance)
        kept = self._kept(folder)
        if kept is not None:
            return kept
        drawn = self._sample(self.world.captions, guidance, self.seed)
        pairs = replace(drawn, settings={**drawn.settings, "identity": self.identity})
        of_the_first(lambda: pairs.save(folder))
        return pairs

    def draw_swaps(self, swaps: Swaps, guidance: float | tuple[float, float]) -> tuple[Samples, Samples]:
        """The pairs of M swaps of these captions, with their label named and without, at one guidance; kept as well.

        Both versions get the seed of their caption in `draw`, and thereby equal noise: equal captions give equal
        pairs. A label that meets a caption again has another seed. What `draw` has kept is taken from there. Both
        versions are given what is known of the pair of their caption.
        """
        folder, count = self._folder("swaps", guidance), len(self.world)
        seeds = sample_seeds(self.seed, count * (1 + int(swaps.repeat.max())))
        own = [seeds[row] for row in (swaps.caption + count * swaps.repeat).tolist()]
        asked = list(zip([*swaps.with_label, *swaps.without_label], own * 2, strict=True))
        rows = dict(zip(own, swaps.caption.tolist(), strict=True))  # every caption has seeds of its own
        kept = self._kept(folder)
        if kept is None or list(zip(kept.captions, kept.seeds, strict=True)) != asked:
            kept = self._drawn(asked, rows, self._kept(self._folder("guidance", guidance)), guidance)
            of_the_first(lambda: kept.save(folder))
        return kept.rows(slice(0, len(own))), kept.rows(slice(len(own), None))

    def _drawn(
        self,
        asked: list[tuple[str, int]],
        rows: dict[int, int],
        ordinary: Samples | None,
        guidance: float | tuple[float, float],
    ) -> Samples:
        """Pairs of (caption, seed), each drawn once; those of the ordinary drawing are taken from it.

        `rows` says to which of the sweep's captions a seed belongs, and thereby which known halves.
        """
        parts = [] if ordinary is None else [ordinary]
        known = {pair: i for part in parts for i, pair in enumerate(zip(part.captions, part.seeds, strict=True))}
        fresh = [pair for pair in dict.fromkeys(asked) if pair not in known]
        if fresh:
            captions, seeds = (list(part) for part in zip(*fresh, strict=True))
            drawn = self._sample(captions, guidance, seeds, [rows[seed] for seed in seeds])
            known |= {pair: i for i, pair in enumerate(fresh, sum(len(part) for part in parts))}
            parts.append(replace(drawn, settings={**drawn.settings, "identity": self.identity}))
        return joined(parts).rows([known[pair] for pair in asked])

    def _sample(
        self,
        captions: list[str],
        guidance: float | tuple[float, float],
        seed: int | list[int],
        rows: list[int] | slice = slice(None),
    ) -> Samples:
        """Pairs drawn by the model; by all processes of a launch, where there are several."""
        rank, processes = place_in_launch()
        keywords = {"guidance": guidance, "progress": rank == 0, **self.sampling.keywords()}

        def sample(captions: list[str], seed: int | list[int], rows: list[int] | slice) -> Samples:
            given = {name: each[rows] if isinstance(each, np.ndarray) else each for name, each in self.given.items()}
            return self.model.sample(captions, seed=seed, **keywords, **given)

        if processes == 1:
            return sample(captions, seed, rows)
        numbers = np.arange(len(self.world))[rows]
        return drawn_by_all(lambda own, seeds, share: sample(own, seeds, numbers[share]), captions, seed)

    def _folder(self, name: str, guidance: float | tuple[float, float]) -> Path:
        scales = guidance if isinstance(guidance, tuple) else (guidance,)
        return self.folder / "-".join((name, *(f"{scale:g}" for scale in scales)))

    def _kept(self, folder: Path) -> Samples | None:
        return of_the_first(lambda: self._read(folder))

    def _read(self, folder: Path) -> Samples | None:
        try:
            kept = Samples.load(folder)
        except DataError:
            return None
        return kept if kept.settings.get("identity") == self.identity else None


def _described(value: Any) -> Any:
    """A keyword of `sample` as a fingerprint takes it."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}
    return value.__qualname__ if callable(value) else value


def correspondence(scores: Scores) -> float:
    """What guidance is chosen by: J of classes, or of attributes where captions name those; 0 where it is undefined."""
    return scores.value("j") or 0.0


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
