"""The referees of a domain: made, opened, and asked together.

Every domain has one that reads layouts off images. Where captions name attributes, one more reads those, and where the
profile asks for it another scores text against image. All are fixed before any model is scored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcdp.data.attributes import AttributeTable
from gcdp.data.classes import ClassTable
from gcdp.data.pairs import PairDataset, PairStore, build_store
from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.attribute_groups import group_scores, layout_bits
from gcdp.evaluation.attribute_recall import attribute_cases, attribute_recall
from gcdp.evaluation.chance import of_others
from gcdp.evaluation.correspondence import RATES, named_matrix
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.recall import calibrate_area
from gcdp.evaluation.referees.alignment import AlignmentReferee, PooledText, alignment_estimate, load_two_tower
from gcdp.evaluation.referees.attributes import AttributeReferee, load_attributes
from gcdp.evaluation.referees.clip import load_clip
from gcdp.evaluation.referees.published import load_referee
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import RealReference, Scores, of_labels, score
from gcdp.evaluation.spoiling import SpoilingConfig
from gcdp.evaluation.statistics import Estimate, bootstrap_ratio, mean_ratio, undefined, without_interval
from gcdp.experiments.datasets import HeldOut, held_out, open_pairs, training_augmentation
from gcdp.experiments.profile import Profile, repository_root
from gcdp.experiments.referee_training import referee_facts, train_attributes, train_segmenter, train_two_tower
from gcdp.experiments.runs import released_folder
from gcdp.storage import sha256, write_json
from gcdp.text.encoder import load_encoder
from gcdp.toy.worlds import WORLDS
from gcdp.training.recipe import TrainConfig

REFEREE_SPLIT = "referee"


class Readings(NamedTuple):
    """What the referees see in N images: labels and features; attributes bool (N, A); scores against captions (N,)."""

    reading: Reading
    present: np.ndarray | None = None
    alignment: np.ndarray | None = None
    alignment_others: np.ndarray | None = None  # mean over the captions of all other images: chance


@dataclass(frozen=True)
class Referees:
    """The referees of one domain. Made by `open_referees`."""

    segmenter: Any
    attributes: AttributeReferee | None = None
    alignment: AlignmentReferee | None = None

    def read(self, images: np.ndarray, captions: Sequence[str]) -> Readings:
        """Images uint8 (N, H, W, 3), drawn for N captions, as all referees see them."""
        present = self.attributes.present(images) if self.attributes else None
        scores = self.alignment.score_with_others(images, captions) if self.alignment else (None, None)
        return Readings(self.segmenter.read(images), present, *scores)

    def labels(self, classes: ClassTable) -> ClassTable | AttributeTable:
        """What captions name and J is counted of: attributes where a referee reads them, else the classes."""
        return self.attributes.table if self.attributes else classes

    def score(self, readings: Readings, layouts, world: HeldOut, real: RealReference, min_area: int) -> Scores:
        """The scores of one set of samples: `evaluation.scores.score`, and what `add` adds."""
        scores = score(readings.reading, layouts, world.captions, world.classes, real, min_area)
        return self.add(scores, readings, world.captions, layouts, world.classes)

    def add(self, scores: Scores, readings: Readings, captions: Sequence[str], layouts=None, classes=None) -> Scores:
        """`scores` and, where there are such referees, recall of attributes and the text-image score, with chance.

        J is then that of attributes; that of the `layouts` (N, H, W), where they and their classes are given, that of
        the attributes with a class of their own. Where captions name attributes they leave out most classes that are
        there: measures that take for granted that all are named, precision and F1, are then left out.
        """
        measures, chance = dict(scores.measures), dict(scores.chance)
        changes: dict[str, Any] = {}
        if self.attributes:
            table = self.attributes.table
            own = attribute_recall(readings.present, captions, table)
            measures, chance = (_of_some_classes(estimates) for estimates in (measures, chance))
            measures |= {"attribute_recall": own["micro"], "attribute_recall_mean": own["mean"]}
            measures |= {"attribute_macro": _mean(own)}
            if len(captions) > 1:
                hits, named = (cases.sum(1) for cases in attribute_cases(of_others(readings.present), captions, table))
                chance |= {"attribute_recall": bootstrap_ratio(hits, named)}
                chance |= {"attribute_recall_mean": mean_ratio(hits, named)}
            held, known = (None, True) if layouts is None else layout_bits(layouts, classes, table)
            found, labels = of_labels(named_matrix(captions, table), readings.present, held, table.names, known)
            measures |= found
            per_class = {name: {**row, "precision": None} for name, row in scores.per_class.items()}
            changes |= {"per_class": per_class, "per_attribute": own["per_attribute"], "labels": labels}
            changes["groups"] = group_scores(readings.present, captions, table)
        if self.alignment:
            measures["alignment"] = alignment_estimate(readings.alignment)
            if len(captions) > 1:
                chance["alignment"] = alignment_estimate(readings.alignment_others)
            changes["alignment_name"] = self.alignment.name
        return replace(scores, measures=measures, chance=chance, **changes)

    def counts(self, readings: Readings, captions: Sequence[str]) -> dict[str, np.ndarray]:
        """What a study keeps of readings for every caption, (N,) each; empty without attributes and alignment."""
        kept: dict[str, np.ndarray] = {}
        if self.attributes:
            shown, named = attribute_cases(readings.present, captions, self.attributes.table)
            kept |= {"attributes_shown": shown.sum(1).astype(np.uint8)}
            kept |= {"attributes_named": named.sum(1).astype(np.uint8)}
        if self.alignment:
            kept |= {"alignment": readings.alignment.astype(np.float32), "captions": np.ones(len(captions), np.uint8)}
        return kept


def _of_some_classes(estimates: dict[str, Estimate]) -> dict[str, Estimate]:
    """Without what takes for granted that captions name every class, and without J of classes."""
    dropped = {*RATES, "j_layouts"}
    return {key: each for key, each in estimates.items() if not MEASURES[key].of_all_classes and key not in dropped}


def _mean(recall: dict[str, Any]) -> Estimate:
    """Mean over the attributes that captions name, from `attribute_recall`."""
    count = sum(found["value"] is not None for found in recall["per_attribute"].values())
    return without_interval(recall["macro"], count) if count else undefined()


def referee_pairs(profile: Profile, domain: str) -> PairDataset:
    """What the referees learn from: scenes drawn for them alone, or the train split of a real dataset."""
    data, count = profile.domain(domain), profile.referee.scenes
    store = _drawn_scenes(profile, domain, count) if count else open_pairs(profile, domain, "train")
    augmentation = training_augmentation(profile, domain)
    most = data.captions_per_pair or None
    captions = [group[:most] for group in store.captions] if store.captions else [["-"]] * len(store)
    return PairDataset(store, captions, None, augmentation, seed=profile.referee.train.seed)


def _drawn_scenes(profile: Profile, domain: str, count: int) -> PairStore:
    data = profile.domain(domain)
    if data.source not in WORLDS:
        raise DataError(
            f"params/{profile.name}.yaml: referee.scenes asks for drawn scenes, but domain '{domain}' is not drawn: "
            "set it to 0 to train on the train split"
        )
    folder = profile.data_folder(domain) / REFEREE_SPLIT
    source, store = WORLDS[data.source].drawn(count), _usable(profile, domain, folder)
    if store is not None and len(store) == count and store.source_version == source.version:
        return store
    return build_store(source, REFEREE_SPLIT, data.size, folder, data.rescale)


def _usable(profile: Profile, domain: str, folder: Path) -> PairStore | None:
    """The store in `folder`, None where there is none or not one that a referee can learn from as things are now."""
    try:
        store = PairStore.open(folder)
        store.require_oversample(training_augmentation(profile, domain).oversample)
    except DataError:
        return None
    return store if store.size == tuple(profile.domain(domain).size) else None


def referee_folder(profile: Profile, domain: str, part: str = "") -> Path:
    """Where the referees of a domain lie: results/<profile>/referee/<domain>, others than the first in `part`."""
    return repository_root().joinpath("results", profile.name, "referee", domain, part)


def make_referees(profile: Profile, domain: str) -> Referees:
    """The referees of a domain, each released, published, kept as it was made before, or trained here.

    Raises CheckpointError where released weights are missing or are of another network than the profile says.
    """
    settings, make = profile.referee, partial(_make, profile, domain)
    if settings.name != "segmenter":
        source = {"name": settings.name, "folder": settings.folder}
        write_json(referee_folder(profile, domain) / "source.json", source)
    else:
        make("", settings, referee_pairs, train_segmenter)
    if settings.attributes.name == "classifier":
        make("attributes", settings.attributes, attribute_pairs, train_attributes)
    if settings.alignment.name == "two_tower":
        make("alignment", settings.alignment, referee_pairs, partial(_train_two_tower, profile))
    return open_referees(profile, domain)


def _make(profile: Profile, domain: str, part: str, settings, open_training_pairs, train) -> None:
    """One referee of ours: copied from weights/ where it is released, kept where it is what training would give.

    A finished one of other settings, scenes or training code is trained anew.
    """
    folder = referee_folder(profile, domain, part)
    source = released_folder(profile, domain, part or "referee")
    if source is not None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        return
    state = profile.results_folder("checkpoints", f"{domain}-{part or 'referee'}")
    how = settings.network, open_training_pairs(profile, domain), settings.train, state, folder
    train_where_missing(train, *how, profile.referee.spoiling)


def train_where_missing(
    train, network, pairs: PairDataset, recipe: TrainConfig, state: Path, folder: Path, spoiling: SpoilingConfig
) -> None:
    """Call `train` with all that follows, unless `folder` holds what that would give.

    `train` is one of `gcdp.experiments.referee_training`.
    """
    facts = _facts(folder)
    if facts == referee_facts(network, pairs, recipe, spoiling):
        return
    if facts is not None:  # its finished training would otherwise count as that of the new one
        shutil.rmtree(state, ignore_errors=True)
    train(network, pairs, recipe, state, folder, spoiling)


def _facts(folder: Path) -> dict[str, Any] | None:
    """What a finished referee notes of its training; None where there is none."""
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("facts", {}) if path.is_file() else None
    except (OSError, ValueError, AttributeError):
        return {}


def _train_two_tower(profile: Profile, network, pairs: PairDataset, *how) -> None:
    train_two_tower(network, pairs, PooledText(_encoder(profile)), *how)


def referee_hashes(profile: Profile, domain: str) -> list[str]:
    """SHA-256 of every file that decides what the referees of a domain see."""
    folder = referee_folder(profile, domain)
    return [sha256(path) for path in sorted([*folder.rglob("*.safetensors"), *folder.glob("source.json")])]


def attribute_pairs(profile: Profile, domain: str) -> PairDataset:
    """What the attribute referee learns from: aligned CelebA without CelebA-HQ, or the scenes of `referee_pairs`."""
    root = profile.referee.attributes.root
    if not root:
        return referee_pairs(profile, domain)
    from gcdp.data.sources.celeba_attributes import CelebAImages

    data, folder = profile.domain(domain), profile.data_folder(domain) / "attributes"
    store = _usable(profile, domain, folder)
    if store is None:
        mapping = profile.raw_folder(domain) / "CelebA-HQ-to-CelebA-mapping.txt"
        store = build_store(CelebAImages(repository_root() / root, mapping), "train", data.size, folder, data.rescale)
    augmentation = training_augmentation(profile, domain)
    return PairDataset(store, [["-"]] * len(store), None, augmentation, seed=profile.referee.attributes.train.seed)


def open_referees(profile: Profile, domain: str) -> Referees:
    """The referees of a domain as it stands. Raises CheckpointError if it was not made yet, or otherwise."""
    settings = profile.referee
    attributes = alignment = None
    if settings.attributes.name:
        folder = _existing(referee_folder(profile, domain, "attributes"))
        attributes = load_attributes(folder)
        _check(profile, folder, attributes.config == settings.attributes.network, "attributes.network")
    if settings.alignment.name == "two_tower":
        folder = _existing(referee_folder(profile, domain, "alignment"))
        alignment = load_two_tower(folder, _encoder(profile))
        _check(profile, folder, alignment.config == settings.alignment.network, "alignment.network")
    elif settings.alignment.name:
        alignment = load_clip(settings.alignment.name, settings.alignment.folder or None)
    return Referees(open_referee(profile, domain), attributes, alignment)


def open_referee(profile: Profile, domain: str):
    """The referee of layouts alone. Raises CheckpointError if it was not made yet, or otherwise."""
    settings, folder = profile.referee, referee_folder(profile, domain)
    classes = open_pairs(profile, domain, "train").classes
    if settings.name != "segmenter":
        return load_referee(settings.name, settings.folder or None, classes)
    referee = load_referee("segmenter", _existing(folder), classes)
    _check(profile, folder, referee.config == settings.network, "network")
    return referee


def seen_area(profile: Profile, domain: str, segmenter) -> int:
    """Pixels from which a class counts as seen, calibrated on all real validation pairs."""
    val = held_out(profile, domain, "val")
    layouts, rate = segmenter.read(val.images).layouts, profile.evaluate.area_rate
    return calibrate_area(layouts, val.class_captions, val.classes, rate)["area"]


def _encoder(profile: Profile):
    return load_encoder(profile.text.encoder, profile.text.max_tokens, profile.text.folder or None)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is missing: run the notebook 04_evaluators first")
    return folder


def _check(profile: Profile, folder: Path, same: bool, setting: str) -> None:
    if not same:
        raise CheckpointError(
            f"{folder} has another network than params/{profile.name}.yaml asks for (referee.{setting}): "
            "delete it to train it again"
        )
