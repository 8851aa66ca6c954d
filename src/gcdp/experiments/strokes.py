"""Pictures after strokes, drawn and measured: faithfulness against realism, and whether strokes become what they are
named.

Everything that is drawn is kept, so that what was interrupted goes on.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcdp.data.images import to_tensor
from gcdp.errors import DataError
from gcdp.evaluation import frechet
from gcdp.evaluation.statistics import Estimate, bootstrap_ratio, mean_ratio, resampled_rows, undefined
from gcdp.experiments.datasets import held_out
from gcdp.experiments.models import model_folder, open_model
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import open_referees
from gcdp.experiments.stroke_scenes import flattened, renamed
from gcdp.experiments.stroke_trials import LABELS, NAMED, ROLES, StrokeTrial, stroke_trials
from gcdp.generators.painting import Blur, masked_mse
from gcdp.generators.samples import Samples
from gcdp.generators.stroke_guided import paint
from gcdp.generators.strokes import UNNAMED, Strokes
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint, sha256

REFERENCE = 2  # pairs from text alone, for each picture of strokes, that realism is measured against
RESAMPLES = 200  # of differences, each with the distances of two curves


class StrokePictures:
    """What is drawn after the strokes of one domain, and its measures.

    Raises CheckpointError where a model or referee is missing.
    """

    def __init__(self, profile: Profile, domain: str):
        self.profile, self.domain, self.settings = profile, domain, profile.strokes
        self.folder = profile.results_folder("strokes", domain)
        self.world = held_out(profile, domain, self.settings.split, self.settings.num_samples)
        self.referee = open_referees(profile, domain).segmenter
        self.blur = Blur(self.settings.blur)
        self.model = cache(lambda role: open_model(profile, domain, self.settings.models[role]))

    @cached_property
    def strokes(self) -> Strokes:
        """Those of the held-out scenes."""
        settings = self.settings
        return flattened(self.world.images, self.world.layouts, self.world.classes, settings.regions, settings.always)

    @cached_property
    def renamed(self) -> Strokes:
        """The same strokes, some of them named otherwise (`strokes.renamed`), the others not at all."""
        return renamed(self.strokes, self.settings.renamed, self.world.classes)

    def draw(self, trial: StrokeTrial, strokes: Strokes | None = None) -> Samples:
        """The pictures of one setting, after strokes other than those of the scenes where such are given."""
        keywords = {"guidance": self.settings.guidance, "seed": self.settings.seed, **self.profile.sampling.keywords()}
        strokes = strokes or self.strokes
        names = hashlib.sha256(strokes.labels.tobytes()).hexdigest()
        name = trial.key if strokes is self.strokes else f"{trial.key}-{names[:8]}"
        decisive = {"guide": asdict(trial.guide), "role": trial.role, "names": names, **keywords}
        given = self.world.captions, strokes, trial.guide
        return self._kept(name, decisive, lambda: paint(self.model(trial.role), *given, painting=self.blur, **keywords))

    def text_only(self, role: str) -> Samples:
        """Pairs from the captions alone, with seeds of their own."""
        keywords = {"guidance": self.settings.guidance, "seed": self.settings.seed + 1}
        keywords |= self.profile.sampling.keywords()
        captions = list(self.world.captions) * REFERENCE
        return self._kept(
            f"{role}-text", {"role": role, **keywords}, lambda: self.model(role).sample(captions, **keywords)
        )

    def rows(self) -> dict[str, dict[str, Any]]:
        """{key of the trial: facts and measures}, and under the name of a role those of its pairs from text alone."""
        rows = {}
        for trial in stroke_trials(self.profile):
            drawn = self.draw(trial)
            facts = {"role": trial.role, "model": self.settings.models[trial.role], "guide": asdict(trial.guide)}
            facts |= {"label": LABELS[trial.guide.method], "network_calls": drawn.settings["network_calls"]}
            rows[trial.key] = {**facts, "measures": self._measures(trial.role, drawn.images)}
        for role in ROLES:
            images = self.text_only(role).images[: len(self.world)]
            measures = {key: each for key, each in self._measures(role, images).items() if key != "realism"}
            rows[role] = {
                "role": role,
                "model": self.settings.models[role],
                "label": "text alone",
                "measures": measures,
            }
        real = {key: each for key, each in self._measures("joint", self.world.images).items() if key != "distance"}
        rows["real"] = {"role": "", "label": "the scenes themselves", "measures": real}
        return rows

    def differences(self) -> dict[str, Estimate]:
        """Each method less SDEdit, and hit rates with names less those without.

        Methods are compared twice: faithfulness where SDEdit is as realistic, and realism where it is as faithful.
        Pictures are drawn anew, for both sides of a difference alike.
        """
        found, trials = {}, stroke_trials(self.profile)
        for role in ROLES:
            curves = {method: _curve(trials, role, method, self.settings.steps) for method in LABELS}
            for method in ("loopback", "ilvr", "gradop", "gradop_plus"):
                equal = self._at_equal(role, curves[method], curves["sdedit"])
                found |= {f"{role}: {method} - sdedit, {name}": each for name, each in equal.items()}
        for method in NAMED:
            told = _curve(trials, "joint", method, self.settings.steps, "layout")
            plain = _curve(trials, "joint", method, self.settings.steps)
            found[f"joint: {method}, named - unnamed, hit rate"] = self._hit_difference(told, plain)
        for role in ROLES:
            told = [t for t in trials if (t.role, t.guide.naming) == (role, "attention")]
            plain = [StrokeTrial(role, replace(t.guide, naming="none")) for t in told]
            found[f"{role}: gradop_plus, named by attention - unnamed, hit rate"] = self._hit_difference(told, plain)
        return found

    def renaming(self) -> dict[str, Estimate]:
        """Hit rates of other names: of pictures whose strokes are named so, of those without names, their difference.

        By GradOP+ on the joint model at the middle strength. Empty where nothing is renamed.
        """
        if not self.settings.renamed:
            return {}
        trials = _curve(stroke_trials(self.profile), "joint", "gradop_plus", self.settings.steps)
        plain = trials[len(trials) // 2]
        told = StrokeTrial("joint", replace(plain.guide, naming="layout"))
        pictures = {"named": self.draw(told, self.renamed).images, "unnamed": self.draw(plain).images}
        hits = {side: self.hits(images, self.renamed) for side, images in pictures.items()}
        found = {side: bootstrap_ratio(*each) for side, each in hits.items()}
        found["difference"] = bootstrap_ratio(hits["named"][0] - hits["unnamed"][0], hits["named"][1])
        return found

    def faithfulness(self, images: np.ndarray) -> np.ndarray:
        """Mean squared error of painted pictures to their strokes, in units of [-1, 1], (N,)."""
        with torch.no_grad():
            strokes, mask = to_tensor(self.strokes.images), torch.from_numpy(self.strokes.masks)
            return masked_mse(self.blur(to_tensor(images)), strokes, mask).double().numpy()

    def hits(self, images: np.ndarray, strokes: Strokes | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Share of each stroke's pixels that the referee reads as its class, summed over the strokes of a picture, and
        their number, (N,) each; a stroke is what is named alike."""
        seen, labels = self.referee.read(images).layouts, (strokes or self.strokes).labels
        shares = [
            [(found[own == k] == k).mean() for k in np.unique(own) if k != UNNAMED]
            for found, own in zip(seen, labels, strict=True)
        ]
        return np.array([sum(each) for each in shares]), np.array([len(each) for each in shares], float)

    def _measures(self, role: str, images: np.ndarray) -> dict[str, Estimate]:
        error, (hits, count) = self.faithfulness(images), self.hits(images)
        reading, named = self.referee.read(images), self.strokes.labels != UNNAMED
        right = ((reading.layouts == self.strokes.labels) & named).sum((1, 2))
        return {
            "faithfulness": mean_ratio(error, np.ones(len(error))),
            "realism": frechet.estimate(reading.features, self._reference(role)),
            "distance": frechet.estimate(reading.features, self._real),
            "hit_rate": bootstrap_ratio(hits, count),
            "hit_rate_pixels": bootstrap_ratio(right, named.sum((1, 2))),
        }

    @cached_property
    def _real(self) -> np.ndarray:
        return self.referee.read(held_out(self.profile, self.domain, self.settings.split).images).features

    @cache  # noqa: B019  one object a domain, which lives as long as its measures are computed
    def _reference(self, role: str) -> np.ndarray:
        return self.referee.read(self.text_only(role).images).features

    def _at_equal(self, role: str, ours: list[StrokeTrial], theirs: list[StrokeTrial]) -> dict[str, Estimate]:
        """ "faithfulness" of our settings less that of their curve where it is as realistic, and "realism" less that of
        their curve where it is as faithful: means over the settings of ours that are within their curve, undefined
        where none is."""
        drawn, n = self._images(ours + theirs), len(self.world)
        parts = [(self.faithfulness(images), self.referee.read(images).features) for images in drawn]
        reference, count = self._reference(role), len(ours)

        def differences(rows: np.ndarray) -> tuple[float, float]:
            at = [(error[rows].mean(), frechet.feature_distance(f[rows], reference)) for error, f in parts]
            swapped = [(realism, error) for error, realism in at]
            return above_curve(swapped[:count], swapped[count:]), above_curve(at[:count], at[count:])

        values = differences(np.arange(n))
        resampled = np.array([differences(rows) for block in resampled_rows(n, RESAMPLES) for rows in block]).T
        named = zip(("faithfulness", "realism"), values, resampled, strict=True)
        return {name: _with_interval(value, column, n) for name, value, column in named}

    def _hit_difference(self, told: list[StrokeTrial], plain: list[StrokeTrial]) -> Estimate:
        """Hit rate with names less that without, both averaged over these settings."""
        sides = [np.mean([self.hits(images)[0] for images in self._images(side)], 0) for side in (told, plain)]
        count = self.hits(self.world.images)[1]
        return bootstrap_ratio(sides[0] - sides[1], count)

    def _images(self, trials: list[StrokeTrial]) -> list[np.ndarray]:
        return [self.draw(trial).images for trial in trials]

    def _kept(self, name: str, decisive: dict[str, Any], draw) -> Samples:
        """What is kept under a name, drawn where it is not there or not that of now."""
        folder, identity = self.folder / name, self._identity(decisive)
        try:
            kept = Samples.load(folder)
        except DataError:
            kept = None
        if kept is None or kept.settings.get("identity") != identity:
            drawn = draw()
            kept = replace(drawn, settings={**drawn.settings, "identity": identity})
            kept.save(folder)
        return kept

    def _identity(self, decisive: dict[str, Any]) -> str:
        strokes = hashlib.sha256(self.strokes.images.tobytes() + self.strokes.masks.tobytes()).hexdigest()
        captions = hashlib.sha256("\n".join(self.world.captions).encode()).hexdigest()
        weights = [sha256(path) for path in self.weights(decisive["role"])]
        code = source_fingerprint("gcdp.generators.stroke_guided")
        known = {"strokes": strokes, "captions": captions, "weights": weights, "blur": self.settings.blur, "code": code}
        return fingerprint({**decisive, **known, "dtype": self.model(decisive["role"]).dtype})

    def weights(self, role: str) -> list[Path]:
        """Files of weights of the model of a role."""
        return sorted(model_folder(self.profile, self.domain, self.settings.models[role]).glob("*.safetensors"))


def _with_interval(value: float, resampled: np.ndarray, n: int) -> Estimate:
    """A difference and the spread of its resamples around it; undefined where it is, or half of these are."""
    if np.isnan(value) or np.isnan(resampled).mean() > 0.5:
        return undefined(n)
    low, high = np.nanquantile(resampled, [0.025, 0.975]) - np.nanmean(resampled) + value
    return {"value": value, "low": float(low), "high": float(high), "n": n}


def above_curve(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> float:
    """Mean height of points (x, y) above a curve, interpolated linearly between its points.

    Points beyond the curve's ends are left out; NaN where none is left.
    """
    x, y = (np.array(part) for part in zip(*sorted(theirs), strict=True))
    heights = [value - np.interp(at, x, y) for at, value in ours if x[0] <= at <= x[-1]]
    return float(np.mean(heights)) if heights else float("nan")


def _curve(trials: list[StrokeTrial], role: str, method: str, steps: int, naming: str = "none") -> list[StrokeTrial]:
    """The settings of a method over the strength."""
    return [
        trial
        for trial in trials
        if (trial.role, trial.guide.method, trial.guide.steps, trial.guide.naming) == (role, method, steps, naming)
        and trial.guide.certainty == 1
    ]
