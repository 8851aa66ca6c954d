"""From a profile to what one training takes: card, pairs, recipe and folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gcdp.data.enlarging import EnlargingDataset
from gcdp.data.pairs import PairDataset, draw_subset
from gcdp.errors import CheckpointError, ConfigError
from gcdp.experiments.datasets import (
    open_captions,
    open_pairs,
    open_text,
    training_augmentation,
)
from gcdp.experiments.options import options
from gcdp.experiments.profile import Profile, load_profile, repository_root
from gcdp.provenance import source_fingerprint
from gcdp.training.checkpoint import ModelCard
from gcdp.training.recipe import TrainConfig, decisive
from gcdp.validation import to_dict

TRAINED_BY = {"latent": "gcdp.generators.latent"}  # kind of a model -> the module that trains it; others:
DIFFUSION = "gcdp.training.diffusion"


@dataclass(frozen=True)
class Run:
    """One training run of a profile: what `gcdp.training.diffusion.train` takes."""

    card: ModelCard
    pairs: PairDataset
    validation: PairDataset
    config: TrainConfig
    state_folder: Path
    model_folder: Path

    def made(self, card: ModelCard) -> bool:
        """Whether a network with this card came from the same recipe, pairs and training code.

        How it was computed, by the settings that `decisive` leaves out, is not asked.
        """
        facts = ("data", "code")
        same = all(card.training.get(name) == self.card.training[name] for name in facts)
        return same and decisive(card.training.get("settings", {})) == decisive(to_dict(self.config))


def model_card(profile: Profile, domain: str, model: str) -> ModelCard:
    """What a model of this profile must be, from the profile, the stored pairs and the text cache."""
    store, text = open_pairs(profile, domain, "train"), open_text(profile, domain)
    unet = profile.unet_for(model, store.classes.num_classes, text.width)
    facts = {"domain": domain, "model": model, "profile": profile.name, "pairs": len(store)}
    tokens = profile.text.max_tokens
    process = profile.diffusion_for(model)
    return ModelCard(unet, process, store.classes, store.size, text.encoder_name, tokens, facts)


def prepare_run(
    profile: Profile | str,
    domain: str,
    model: str,
    seed: int | None = None,
    pairs: int | None = None,
    place: str = "study",
) -> Run:
    """Open everything that training of one model needs.

    `seed` replaces that of the profile and `pairs` takes so many training pairs, for repeated trainings, which keep
    their folders apart: results/<profile>/<place>/<domain>. Every seed has its own subset, drawn with
    (`subset_seed` of the domain, seed): smaller ones of a seed lie inside its larger ones, and all models share them.
    """
    profile = load_profile(profile, domain) if isinstance(profile, str) else profile
    config = profile.train_for(model)
    config = config if seed is None else replace(config, seed=seed)
    if seed is None and pairs is None:
        state_folder = profile.results_folder("checkpoints", f"{domain}-{model}")
        model_folder = profile.results_folder("models") / f"{domain}-{model}"
    else:
        model_folder = profile.results_folder(place, domain, f"{model}-{pairs or 'all'}-s{config.seed}")
        state_folder = model_folder / "state"
    card = model_card(profile, domain, model)
    taken, labeled = _rows(profile, domain, pairs, config)
    training = _dataset(profile, domain, model, "train", seed=config.seed, rows=taken, labeled=labeled)
    code = source_fingerprint(TRAINED_BY.get(profile.model(model).kind, DIFFUSION))
    facts = {"pairs": len(training), "data": training.fingerprint, "code": code}
    return Run(
        replace(card, training={**card.training, **facts}),
        training,
        _dataset(profile, domain, model, "val", seed=config.seed),
        config,
        state_folder,
        model_folder,
    )


def _dataset(profile: Profile, domain: str, model: str, split: str, **which) -> PairDataset:
    """The pairs of a split as a model learns from them, augmented where that is the train split."""
    store, captions = open_pairs(profile, domain, split), open_captions(profile, domain, split)
    text, learned = open_text(profile, domain), split == "train"
    if profile.model(model).kind == "enlarger":
        data = profile.domain(domain)
        low, crop = open_pairs(profile, data.enlarges, split), options(profile, model).crop or None
        return EnlargingDataset(store, captions, text, low=low, crop=crop, flip=learned and data.flip, **which)
    return PairDataset(store, captions, text, training_augmentation(profile, domain) if learned else None, **which)


def _rows(
    profile: Profile, domain: str, pairs: int | None, config: TrainConfig
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Rows of the train split that a training takes, and those of them whose layouts it takes; None takes all.

    Both are subsets of one seed: a quarter of the layouts is that of the pairs that a training on a quarter has.
    """
    length = len(open_pairs(profile, domain, "train"))
    taken = length if pairs is None else pairs
    if not 1 <= taken <= length:
        raise ConfigError(f"{pairs} training pairs of {domain} were asked for, it has {length}: ask for 1 to that many")
    seeds = (profile.domain(domain).subset_seed, config.seed)
    labeled = max(1, round(config.labeled * taken))
    return tuple(
        None if count == whole else draw_subset(length, count, seeds)
        for count, whole in ((taken, length), (labeled, taken))
    )


def released_folder(profile: Profile, domain: str, model: str) -> Path | None:
    """weights/<profile>-<domain>-<model> where this profile uses released weights, else None.

    Raises CheckpointError if the profile names released weights that are not there.
    """
    name = profile.released_name(domain, model)
    if not name:
        return None
    folder = repository_root() / "weights" / name
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is missing: fetch the whole repository, or train with profile '{profile.released}-scratch'"
        )
    return folder


def sweep_folder(profile: Profile, domain: str, model: str) -> Path:
    """Where an evaluation keeps what it draws: results/<profile>/sweeps/<domain>-<model>."""
    return profile.results_folder("sweeps", f"{domain}-{model}")
