"""Pictures after strokes, drawn and measured: faithfulness against realism, and whether strokes become what they are
named.

Everything that is drawn is kept, so that what was interrupted goes on.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gcdp.data.images import to_tensor
from gcdp.evaluation import frechet
from gcdp.evaluation.statistics import Estimate, bootstrap_ratio, mean_ratio, resampled_rows, undefined
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.models import model_folder, open_model
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import open_referees
from gcdp.experiments.stroke_scenes import flattened, renamed
from gcdp.experiments.stroke_trials import LABELS, NAMED, ROLES, StrokeTrial, stroke_trials
from gcdp.experiments.sweep import Sweep
from gcdp.generators.painting import Blur, masked_mse
from gcdp.generators.samples import Samples
from gcdp.generators.stroke_guided import StrokePainter
from gcdp.generators.strokes import UNNAMED, Strokes

REFERENCE = 2  # pairs from text alone, for each picture of strokes, that realism is measured against
RESAMPLES = 200  # of differences, each with the distances of two curves


class View(NamedTuple):
    """Pictures as they are measured, one row each: faithfulness (N,), the mean squared error of the painted picture to
    its strokes in units of [-1, 1], and what the referee sees, layouts (N, H, W) and features (N, D)."""

    error: np.ndarray
    layouts: np.ndarray
    features: np.ndarray


class StrokePictures:
    """What is drawn after the strokes of one domain, and its measures.

    Raises CheckpointError where a model or referee is missing.
    """

    def __init__(self, profile: Profile, domain: str, folder: Path | None = None):
        self.profile, self.domain, self.settings = profile, domain, profile.strokes
        self.folder = folder or profile.results_folder("strokes", domain)
        self.world = held_out(profile, domain, self.settings.split, self.settings.num_samples)
        self.referee = open_referees(profile, domain).segmenter
        self.blur = Blur(self.settings.blur)
        self.model = cache(lambda role: open_model(profile, domain, self.settings.models[role]))
        self.view = cache(lambda trial: self._view(self.draw(trial).images))
        self.reference = cache(lambda role: self.referee.read(self.text_only(role).images).features)

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
        given = {**vars(strokes or self.strokes), "guide": asdict(trial.guide), "sigma": self.settings.blur}
        name = trial.key if strokes is None else f"{trial.key}-renamed"
        painter = StrokePainter(self.model(trial.role))
        return self._sweep(name, trial.role, painter, self.world, 0, given).draw(self.settings.guidance)

    def text_only(self, role: str) -> Samples:
        """Pairs from the captions alone, with seeds of their own."""
        world = replace(self.world, captions=list(self.world.captions) * REFERENCE)
        return self._sweep(f"{role}-text", role, self.model(role), world, 1).draw(self.settings.guidance)

    def rows(self) -> dict[str, dict[str, Any]]:
        """{key of the trial: facts and measures}, and under the name of a role those of its pairs from text alone."""
        rows = {}
        for trial in stroke_trials(self.profile):
            drawn = self.draw(trial)
            facts = {"role": trial.role, "model": self.settings.models[trial.role], "guide": asdict(trial.guide)}
            facts |= {"label": LABELS[trial.guide.method], "network_calls": drawn.settings["network_calls"]}
            rows[trial.key] = {**facts, "measures": self._measures(trial.role, self.view(trial))}
        for role in ROLES:
            view = self._view(self.text_only(role).images[: len(self.world)])
            measures = {key: each for key, each in self._measures(role, view).items() if key != "realism"}
            facts = {"role": role, "model": self.settings.models[role], "label": "text alone"}
            rows[role] = {**facts, "measures": measures}
        found = self._measures("joint", self._view(self.world.images))
        real = {key: each for key, each in found.items() if key != "distance"}
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
                equal = self.at_equal(self.reference(role), curves[method], curves["sdedit"])
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

    def compared(self) -> dict[str, Estimate]:
        """GradOP+ less SDEdit with the joint model as in `differences`, of `num_compared` pictures.

        And the realism once more by another measure, the distance to held-out images. The faithfulness where both are
        as realistic by that one is not asked: strokes of held-out images draw pictures towards these, so that the
        distance first falls and then rises with the strength, and one distance belongs to several strengths.
        """
        settings = replace(self.settings, num_samples=self.settings.num_compared)
        more = StrokePictures(replace(self.profile, strokes=settings), self.domain, self.folder / "compared")
        trials = stroke_trials(self.profile)
        curves = [_curve(trials, "joint", method, settings.steps) for method in ("gradop_plus", "sdedit")]
        found = more.at_equal(more.reference("joint"), *curves)
        found["realism by distance to held-out images"] = more.at_equal(more.real, *curves)["realism"]
        return {f"joint: gradop_plus - sdedit, {name}": each for name, each in found.items()}

    def renaming(self) -> dict[str, Estimate]:
        """Hit rates of other names: of pictures whose strokes are named so, of those without names, their difference.

        By GradOP+ on the joint model at the middle strength. Empty where nothing is renamed.
        """
        if not self.settings.renamed:
            return {}
        trials = _curve(stroke_trials(self.profile), "joint", "gradop_plus", self.settings.steps)
        plain = trials[len(trials) // 2]
        told = StrokeTrial("joint", replace(plain.guide, naming="layout"))
        views = {"named": self._view(self.draw(told, self.renamed).images), "unnamed": self.view(plain)}
        hits = {side: hits_of(view.layouts, self.renamed) for side, view in views.items()}
        found = {side: bootstrap_ratio(*each) for side, each in hits.items()}
        found["difference"] = bootstrap_ratio(hits["named"][0] - hits["unnamed"][0], hits["named"][1])
        return found

    def _view(self, images: np.ndarray) -> View:
        """What is measured of pictures, one row each."""
        with torch.no_grad():
            strokes, mask = to_tensor(self.strokes.images), torch.from_numpy(self.strokes.masks)
            error = masked_mse(self.blur(to_tensor(images)), strokes, mask).double().numpy()
        return View(error, *self.referee.read(images))

    def _measures(self, role: str, view: View) -> dict[str, Estimate]:
        named = self.strokes.labels != UNNAMED
        right = ((view.layouts == self.strokes.labels) & named).sum((1, 2))
        return {
            "faithfulness": mean_ratio(view.error, np.ones(len(view.error))),
            "realism": frechet.estimate(view.features, self.reference(role)),
            "distance": frechet.estimate(view.features, self.real),
            "hit_rate": bootstrap_ratio(*hits_of(view.layouts, self.strokes)),
            "hit_rate_pixels": bootstrap_ratio(right, named.sum((1, 2))),
        }

    @cached_property
    def real(self) -> np.ndarray:
        """Features of all held-out images of the split."""
        return self.referee.read(held_out(self.profile, self.domain, self.settings.split).images).features

    def at_equal(
        self, reference: np.ndarray, ours: list[StrokeTrial], theirs: list[StrokeTrial]
    ) -> dict[str, Estimate]:
        """ "faithfulness" of our settings less that of their curve where it is as realistic, and "realism" less that of
        their curve where it is as faithful: means over the settings of ours that are within their curve, undefined
        where none is. Realism is the distance to features `reference`."""
        views, n, count = [self.view(trial) for trial in ours + theirs], len(self.world), len(ours)

        def differences(rows: np.ndarray) -> tuple[float, float]:
            at = [(v.error[rows].mean(), frechet.feature_distance(v.features[rows], reference)) for v in views]
            swapped = [(realism, error) for error, realism in at]
            return above_curve(swapped[:count], swapped[count:]), above_curve(at[:count], at[count:])

        values = differences(np.arange(n))
        resampled = np.array([differences(rows) for block in resampled_rows(n, RESAMPLES) for rows in block]).T
        named = zip(("faithfulness", "realism"), values, resampled, strict=True)
        return {name: _with_interval(value, column, n) for name, value, column in named}

    def _hit_difference(self, told: list[StrokeTrial], plain: list[StrokeTrial]) -> Estimate:
        """Hit rate with names less that without, both averaged over these settings."""
        sides = [[hits_of(self.view(trial).layouts, self.strokes) for trial in side] for side in (told, plain)]
        named, unnamed = (np.mean([hits for hits, _ in side], 0) for side in sides)
        return bootstrap_ratio(named - unnamed, sides[0][0][1])

    def _sweep(self, name: str, role: str, model, world: HeldOut, shift: int, given: dict[str, Any] | None = None):
        """What is kept under a name; `shift` is added to the seed."""
        weights = sorted(model_folder(self.profile, self.domain, self.settings.models[role]).glob("*.safetensors"))
        seed = self.settings.seed + shift
        return Sweep(model, world, self.profile.sampling, seed, self.folder / name, weights, given)


def hits_of(seen: np.ndarray, strokes: Strokes) -> tuple[np.ndarray, np.ndarray]:
    """Share of each stroke's pixels that are seen, (N, H, W), as its class, summed over the strokes of a picture, and
    their number, (N,) each; a stroke is what is named alike."""
    shares = [
        [(found[own == k] == k).mean() for k in np.unique(own) if k != UNNAMED]
        for found, own in zip(seen, strokes.labels, strict=True)
    ]
    return np.array([sum(each) for each in shares]), np.array([len(each) for each in shares], float)


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
