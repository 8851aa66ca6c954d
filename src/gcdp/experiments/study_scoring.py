"""Trained networks of a study scored by the referees: on validation captions first, then on test captions.

A validation tries every scale of the grid. Once those of all seeds of a model at a size are there, its guidance is
chosen, and each of them is tested with it: on the test captions, and on captions with and without each label.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcdp.data.attributes import AttributeTable
from gcdp.data.classes import ClassTable
from gcdp.diffusion.sampling import sample_seeds
from gcdp.errors import CheckpointError
from gcdp.evaluation import frechet
from gcdp.evaluation.correspondence import correspondence, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.iou import alignment_miou
from gcdp.evaluation.naming import plan_swaps, seen_labels
from gcdp.evaluation.recall import calibrate_area
from gcdp.experiments.datasets import HeldOut, held_out, open_pairs
from gcdp.experiments.models import open_model
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import open_referees, referee_hashes
from gcdp.experiments.study import group, training_seconds, trial_folder, trial_weights
from gcdp.experiments.study_record import Point, Record, Setup, Trial
from gcdp.experiments.sweep import Sweep
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint, sha256
from gcdp.training.checkpoint import load_card
from gcdp.validation import to_dict

SPLITS = {"validation": "val", "test": "test"}


def worlds(profile: Profile, domain: str) -> dict[str, HeldOut]:
    """The captions that a study draws for, by split."""
    counts = {"val": profile.study.num_val, "test": profile.study.num_samples}
    return {split: held_out(profile, domain, split, count) for split, count in counts.items()}


def study_identity(profile: Profile, domain: str) -> str:
    """Fingerprint of all that decides scores but the trained networks: pairs, settings, referees and code.

    Raises CheckpointError where the referees were not made yet.
    """
    referees = referee_hashes(profile, domain)
    if not referees:
        raise CheckpointError(f"the referees of {domain} are missing: run the notebook 04_evaluators first")
    decisive = {
        "pairs": {split: open_pairs(profile, domain, split).checksums for split in SPLITS.values()},
        "captions": {split: world.captions for split, world in worlds(profile, domain).items()},
        "sampling": to_dict(profile.sampling),
        "evaluate": [profile.evaluate.seed, profile.evaluate.area_rate],
        "swaps": [profile.study.swaps, profile.study.seed],
        "referees": referees,
        "code": source_fingerprint("gcdp.experiments.study_scoring"),
    }
    return fingerprint(decisive)


def network_fingerprint(folder: Path) -> str:
    """Fingerprint of the weights in a model folder."""
    return fingerprint({path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))})


def current(profile: Profile, domain: str, trial: Trial, name: str, identity: str) -> Record | None:
    """The record of a pass, "validation" or "test", of the network and all else as they are now; else None.

    A test at another guidance than the one that the validations choose is none.
    """
    try:
        record = Record.load(trial_folder(profile, domain, trial), name)
    except CheckpointError:
        return None
    weights = trial_weights(profile, domain, trial)
    if record.identity != identity or record.network != network_fingerprint(weights):
        return None
    fits = name != "test" or record.guidance == chosen_guidance(profile, domain, trial, identity)
    return record if fits else None


def chosen_guidance(profile: Profile, domain: str, trial: Trial, identity: str) -> float | None:
    """The scale for all seeds of a model at a size: the largest J on validation captions, averaged over the seeds.

    Of equal ones the least. None as long as the validation of a seed is missing.
    """
    records = [current(profile, domain, each, "validation", identity) for each in group(profile, trial)]
    if None in records:
        return None
    return best_scale(Setup.load(profile.results_folder("study", domain)), records)


def best_scale(setup: Setup, validations: list[Record]) -> float:
    """The scale whose J on validation captions, averaged over networks, is largest; of equal ones the least."""
    curves = [validation_curve(setup, record) for record in validations]
    return max(curves[0], key=lambda scale: float(np.mean([curve[scale] for curve in curves])))


def validation_curve(setup: Setup, record: Record) -> dict[float, float]:
    """J on validation captions by scale; 0 where no label can be scored."""
    named = setup.named[f"val/{setup.labels}"]
    seen, weights = "attributes" if setup.labels == "attributes" else "seen", label_weights(named)
    values = {scale: correspondence(named, p.bits[seen], weights)["j"]["value"] for scale, p in record.points.items()}
    return {scale: value or 0.0 for scale, value in values.items()}


class _Real(NamedTuple):
    """Real pairs of a split: features and labels of the referee, and their own layouts."""

    features: np.ndarray
    seen: np.ndarray
    layouts: np.ndarray


class Scoring:
    """Referees, real pairs, swaps and settings that all trials of a domain share."""

    def __init__(self, profile: Profile, domain: str):
        self.profile, self.domain = profile, domain
        self.referees, self.worlds = open_referees(profile, domain), worlds(profile, domain)
        self.real = {split: self._real(split) for split in SPLITS.values()}
        self.swaps = plan_swaps(self.worlds["test"].captions, self.table, profile.study.swaps, profile.study.seed)
        self.setup = self._setup()
        self._open = lru_cache(maxsize=1)(self._model)  # one network after the other, each at every scale

    @property
    def classes(self) -> ClassTable:
        return self.worlds["test"].classes

    @property
    def table(self) -> ClassTable | AttributeTable:
        """The labels that captions name: attributes where a referee reads those, else classes."""
        return self.referees.attributes.table if self.referees.attributes else self.classes

    def validate(self, trial: Trial) -> Record:
        """Score a trained network on validation captions at every scale, and write its record."""
        points = {scale: self._point(trial, "val", scale) for scale in self.profile.sampling.guidances}
        return self._keep(trial, "validation", points)

    def test(self, trial: Trial) -> Record:
        """Score it on test captions: with all pairs at every scale, else at the chosen one; write its record.

        Raises CheckpointError where the validation of a seed is missing.
        """
        guidance = chosen_guidance(self.profile, self.domain, trial, self.setup.identity)
        if guidance is None:
            raise CheckpointError(f"{trial.key} has no guidance yet: validate every seed of it first")
        everything = trial.pairs == len(open_pairs(self.profile, self.domain, "train"))
        scales = self.profile.sampling.guidances if everything else (guidance,)
        points = {scale: self._point(trial, "test", scale) for scale in scales}
        return self._keep(trial, "test", points, guidance=guidance, swapped=self._swapped(trial, guidance))

    def _keep(self, trial: Trial, name: str, points: dict[float, Point], **more) -> Record:
        weights = trial_weights(self.profile, self.domain, trial)
        training = load_card(weights).training
        facts = {key: training["settings"][key] for key in ("steps", "batch_size")}
        facts |= {"seconds": training_seconds(weights, facts["batch_size"])}
        record = Record(network_fingerprint(weights), self.setup.identity, points, facts=facts, **more)
        record.save(trial_folder(self.profile, self.domain, trial), name)
        return record

    def _draw(self, trial: Trial, world: HeldOut, seed: int | list[int], name: str, guidance: float):
        """Pairs of a trial, kept in its folder, so that other referees need not draw them again."""
        files = sorted(trial_weights(self.profile, self.domain, trial).glob("*.safetensors"))
        model = self._open(trial, tuple(map(sha256, files)))
        kept = trial_folder(self.profile, self.domain, trial) / f"drawn-{name}"
        return Sweep(model, world, self.profile.sampling, seed, kept, files).draw(guidance)

    def _model(self, trial: Trial, weights: tuple[str, ...]):
        """The network of a trial; `weights` tell it from what was trained there before."""
        return open_model(self.profile, self.domain, trial.model, trial_weights(self.profile, self.domain, trial))

    def _point(self, trial: Trial, split: str, guidance: float) -> Point:
        world, real = self.worlds[split], self.real[split]
        pairs = self._draw(trial, world, self.profile.evaluate.seed, split, guidance)
        readings = self.referees.read(pairs.images, world.captions)
        seen, features = readings.reading.layouts, readings.reading.features
        bits = {"seen_1px": self._shown(seen, 1), "seen": self._shown(seen)}
        scalars = {
            "frechet": frechet.feature_distance(features, real.features),
            "kid": frechet.kernel_distance(features, real.features),
        }
        drawn, theirs = (seen, real.seen) if pairs.layouts is None else (pairs.layouts, real.layouts)
        areas = [frechet.area_vectors(each, self.classes.num_classes) for each in (drawn, theirs)]
        scalars["fsd"] = frechet.feature_distance(*areas)
        if pairs.layouts is not None:
            bits["drawn"] = self._shown(pairs.layouts)
            agreement = alignment_miou(pairs.layouts, seen, self.classes, resamples=1)
            scalars |= {key: agreement[key]["value"] for key in ("miou", "miou_all")}
        if self.referees.attributes:
            bits["attributes"] = np.asarray(readings.present, bool)
        values = {} if readings.alignment is None else {"alignment": readings.alignment}
        return Point(bits, values, scalars)

    def _shown(self, layouts: np.ndarray, area: int | None = None) -> np.ndarray:
        return seen_matrix(layouts, self.classes, area or self.setup.minimum_area)

    def _swapped(self, trial: Trial, guidance: float) -> dict[str, np.ndarray]:
        """Whether the label of each swap is seen, and held by the own layout, in the two versions of its caption."""
        seeds, found = sample_seeds(self.profile.study.seed, len(self.swaps)), {}
        versions = {"with": self.swaps.with_label, "without": self.swaps.without_label}
        for name, captions in versions.items() if len(self.swaps) else ():
            world = replace(self.worlds["test"], captions=captions)
            pairs = self._draw(trial, world, seeds, f"swaps-{name}", guidance)
            if self.referees.attributes:
                seen = self.referees.attributes.present(pairs.images)
            else:
                seen = self._shown(self.referees.segmenter.read(pairs.images).layouts)
                if pairs.layouts is not None:
                    found[f"drawn_{name}"] = seen_labels(self._shown(pairs.layouts), self.swaps)
            found[f"seen_{name}"] = seen_labels(seen, self.swaps)
        return found

    def _real(self, split: str) -> _Real:
        world = held_out(self.profile, self.domain, split)
        reading = self.referees.segmenter.read(world.images)
        return _Real(reading.features, reading.layouts, world.layouts)

    def _setup(self) -> Setup:
        """The setup as it was written before, as long as it is that of now: areas do not move with the device."""
        folder, identity = self.profile.results_folder("study", self.domain), study_identity(self.profile, self.domain)
        try:
            kept = Setup.load(folder)
        except CheckpointError:
            kept = None
        if kept is None or kept.identity != identity:
            kept = self._new_setup(identity)
            kept.save(folder)
        return kept

    def _new_setup(self, identity: str) -> Setup:
        val, rate = held_out(self.profile, self.domain, "val"), self.profile.evaluate.area_rate
        area = calibrate_area(self.real["val"].seen, val.class_captions, self.classes, rate)["area"]
        tables: dict[str, Any] = {"classes": self.classes}
        facts = {"classes": list(self.classes.names), "labeled": list(self.classes.labeled), "attributes": []}
        if self.referees.attributes:
            tables["attributes"] = self.referees.attributes.table
            facts["attributes"] = list(tables["attributes"].names)
            facts["nameable"] = [int(index) for index in tables["attributes"].nameable]
        facts["alignment_name"] = self.referees.alignment.name if self.referees.alignment else ""
        named = {
            f"{split}/{name}": named_matrix(world.captions, table)
            for split, world in self.worlds.items()
            for name, table in tables.items()
        }
        swaps = {"caption": np.asarray(self.swaps.caption), "label": np.asarray(self.swaps.label)}
        return Setup(identity, area, facts, named, swaps)
