"""From a profile to the objects of a run: the only module that knows profiles, folders and data together."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from gcdp.checkpoint import ModelCard, atomic_write
from gcdp.config import SPLITS, Profile, TrainConfig, load_profile, repository_root
from gcdp.data import open_source
from gcdp.data.captions import caption_with, read_captions, with_mirrors, write_captions
from gcdp.data.classes import ClassTable
from gcdp.data.pairs import Augmentation, PairDataset, PairStore, build_store, draw_subset
from gcdp.errors import CheckpointError, ConfigError
from gcdp.text import TextCache, load_encoder

WORLDS = {"toy_streets": "cityscapes", "toy_faces": "celeba"}  # drawn worlds -> the reader of their files


@dataclass(frozen=True)
class Run:
    """One training run of a profile: what `gcdp.training.train` takes."""

    card: ModelCard
    pairs: PairDataset
    validation: PairDataset
    config: TrainConfig
    state_folder: Path
    model_folder: Path


def prepare_pairs(profile: Profile, domain: str) -> dict[str, PairStore]:
    """Draw or open the source of a domain and build its three stores; a store is rebuilt from scratch.

    Raises DataError for a defect of the source, ConfigError where a split is nowhere to be had.
    """
    data = profile.domain(domain)
    root = profile.raw_folder(domain)
    if data.source in WORLDS:
        _draw(profile, domain, root)
    source = open_source(WORLDS.get(data.source, data.source), root)
    folder = profile.data_folder(domain) / "pairs"
    return {
        split: build_store(source, theirs, data.size, folder / split)
        for split, theirs in _splits(profile, domain, source).items()
    }


def _draw(profile: Profile, domain: str, root: Path) -> None:
    """Generate a drawn world; `generate` keeps what already fits and starts anew where it does not."""
    data = profile.domain(domain)
    for split in SPLITS:
        if data.counts.get(data.splits.get(split, split), 0) < 1:
            raise ConfigError(
                f"params/{profile.name}.yaml: domains.{domain}.counts asks for no scene of {split}: "
                "give at least one of train, val and test"
            )
    import_module(f"gcdp.data.{data.source}").generate(root, data.counts, seed=data.seed)


def _splits(profile: Profile, domain: str, source) -> dict[str, str]:
    """Our split -> the source's split that plays it."""
    chosen = {split: profile.domain(domain).splits.get(split, split) for split in SPLITS}
    for split, theirs in chosen.items():
        if theirs not in source.splits():
            raise ConfigError(
                f"{profile.raw_folder(domain)} has no split '{theirs}' to serve as {split} (found: "
                f"{', '.join(source.splits())}): add it, or set domains.{domain}.splits in params/{profile.name}.yaml"
            )
    return chosen


def open_pairs(profile: Profile, domain: str, split: str) -> PairStore:
    """The stored pairs of one split."""
    return PairStore.open(profile.data_folder(domain) / "pairs" / split)


def prepare_captions(profile: Profile, domain: str) -> None:
    """Write captions/<split>.jsonl for every split."""
    data = profile.domain(domain)
    for number, split in enumerate(SPLITS):
        store = open_pairs(profile, domain, split)
        path = profile.data_folder(domain) / "captions" / f"{split}.jsonl"
        write_captions(store, path, per_pair=data.captions_per_pair, seed=data.seed + number)


def open_captions(profile: Profile, domain: str, split: str) -> list[list[str]]:
    """Captions of every pair of a split, in store order."""
    store = open_pairs(profile, domain, split)
    return read_captions(profile.data_folder(domain) / "captions" / f"{split}.jsonl", keys=store.keys)


def prepare_text(profile: Profile, domain: str) -> TextCache:
    """Encode every caption of a domain once, mirrored forms included."""
    text = profile.text
    encoder = load_encoder(text.encoder, max_tokens=text.max_tokens, folder=text.folder or None)
    classes = open_pairs(profile, domain, "train").classes
    captions = [with_mirrors(open_captions(profile, domain, split), classes) for split in SPLITS]
    unique = list(dict.fromkeys(caption for split in captions for caption in split))
    return TextCache.build(encoder, unique, profile.data_folder(domain) / "text")


def open_text(profile: Profile, domain: str) -> TextCache:
    """The cached encoder states of a domain."""
    return TextCache.open(profile.data_folder(domain) / "text")


@dataclass(frozen=True)
class HeldOut:
    """Real pairs and one caption each, in the order of a split; over again, with the next caption, beyond its end."""

    images: np.ndarray
    layouts: np.ndarray
    captions: list[str]
    keys: list[str]
    classes: ClassTable
    attributes: np.ndarray | None = None  # uint8 (N, A), where the source knows attributes

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def class_captions(self) -> list[str]:
        """Captions that name every class of the layouts, which those of a source with its own captions need not do."""
        present = [[k for k in np.unique(layout).tolist() if k in self.classes.labeled] for layout in self.layouts]
        return [caption_with(classes, self.classes) for classes in present]


def held_out(profile: Profile, domain: str, split: str, count: int | None = None) -> HeldOut:
    """The first `count` pairs of a split, all of it by default."""
    store, texts = open_pairs(profile, domain, split), open_captions(profile, domain, split)
    rows = [i % len(store) for i in range(count or len(store))]
    captions = [texts[row][i // len(store) % len(texts[row])] for i, row in enumerate(rows)]
    keys = [store.keys[row] for row in rows]
    attributes = None if store.attributes is None else store.attributes[rows]
    return HeldOut(store.images[rows], store.layouts[rows], captions, keys, store.classes, attributes)


def model_card(profile: Profile, domain: str, model: str) -> ModelCard:
    """What a model of this profile must be, from the profile, the stored pairs and the text cache."""
    store, text = open_pairs(profile, domain, "train"), open_text(profile, domain)
    unet = profile.unet_for(model, store.classes.num_classes, text.width)
    facts = {"domain": domain, "model": model, "profile": profile.name, "pairs": len(store)}
    tokens = profile.text.max_tokens
    process = profile.diffusion_for(model)
    return ModelCard(unet, process, store.classes, store.size, text.encoder_name, tokens, facts)


def prepare_run(
    profile: Profile | str, domain: str, model: str, seed: int | None = None, pairs: int | None = None
) -> Run:
    """Open everything that training of one model needs.

    `seed` replaces that of the profile and `pairs` takes so many training pairs, for the repeated trainings of a
    study, which keeps its folders apart: results/<profile>/study/<domain>. Smaller subsets lie inside larger ones:
    they are drawn with `subset_seed` of the domain, or are its first pairs.
    """
    profile = load_profile(profile, domain) if isinstance(profile, str) else profile
    data, text, config = profile.domain(domain), open_text(profile, domain), profile.train_for(model)
    config = config if seed is None else replace(config, seed=seed)
    if seed is None and pairs is None:
        state_folder = profile.results_folder("checkpoints", f"{domain}-{model}")
        model_folder = profile.results_folder("models") / f"{domain}-{model}"
    else:
        model_folder = profile.results_folder("study", domain, f"{model}-{pairs or 'all'}-s{config.seed}")
        state_folder = model_folder / "state"
    augmentation = Augmentation(rescale=data.rescale, crop=True, flip=data.flip)

    def dataset(split: str, augment: Augmentation | None, rows: np.ndarray | None = None) -> PairDataset:
        captions = open_captions(profile, domain, split)
        return PairDataset(open_pairs(profile, domain, split), captions, text, augment, config.seed, rows)

    card = model_card(profile, domain, model)
    training = dataset("train", augmentation, _subset(profile, domain, pairs))
    return Run(
        replace(card, training={**card.training, "pairs": len(training)}),
        training,
        dataset("val", None),
        config,
        state_folder,
        model_folder,
    )


def _subset(profile: Profile, domain: str, pairs: int | None) -> np.ndarray | None:
    """Rows of a subset of the train split; None takes all."""
    seed, length = profile.domain(domain).subset_seed, len(open_pairs(profile, domain, "train"))
    if pairs is None or (seed < 0 and pairs == length):
        return None
    if not 1 <= pairs <= length:
        raise ConfigError(f"{pairs} training pairs of {domain} were asked for, it has {length}: ask for 1 to that many")
    return np.arange(pairs) if seed < 0 else draw_subset(length, pairs, seed)


def released_folder(profile: Profile, domain: str, model: str) -> Path | None:
    """weights/<profile>-<domain>-<model> where this profile uses released weights, else None.

    Raises CheckpointError if the profile names released weights that are not there.
    """
    if not profile.released:
        return None
    folder = repository_root() / "weights" / f"{profile.released}-{domain}-{model}"
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is missing: fetch the whole repository, or train with profile '{profile.released}-scratch'"
        )
    return folder


def sweep_folder(profile: Profile, domain: str, model: str) -> Path:
    """Where an evaluation keeps what it draws: results/<profile>/sweeps/<domain>-<model>."""
    return profile.results_folder("sweeps", f"{domain}-{model}")


def write_json(path: Path, content) -> None:
    """Write JSON atomically and with a fixed layout, so that equal content gives equal bytes."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
