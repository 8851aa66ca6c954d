"""From a profile to its pairs, captions and text: made once, opened by every later stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gcdp.data.augmentation import Augmentation
from gcdp.data.captions import caption_with, read_captions, with_mirrors, write_captions
from gcdp.data.classes import ClassTable
from gcdp.data.pairs import PairStore, build_store
from gcdp.data.sources import open_source
from gcdp.devices import default_device
from gcdp.errors import ConfigError
from gcdp.experiments.locks import awaited
from gcdp.experiments.profile import Profile
from gcdp.experiments.sections import SPLITS
from gcdp.text.cache import TextCache
from gcdp.text.encoder import load_encoder
from gcdp.toy.worlds import WORLDS


def prepare_pairs(profile: Profile, domain: str) -> dict[str, PairStore]:
    """Draw or open the source of a domain and build its three stores; a store is rebuilt from scratch.

    That of the train split keeps larger pairs as well, from which `training_augmentation` cuts its views.

    Raises DataError for a defect of the source, ConfigError where a split is nowhere to be had.
    """
    data = profile.domain(domain)
    root = profile.raw_folder(domain)
    if data.source in WORLDS:
        _draw(profile, domain, root)
    source = open_source(WORLDS[data.source].reader if data.source in WORLDS else data.source, root)
    folder, zooms = profile.data_folder(domain) / "pairs", {"train": data.rescale}
    return {
        split: build_store(source, theirs, data.size, folder / split, zooms.get(split, (1.0, 1.0)))
        for split, theirs in _splits(profile, domain, source).items()
    }


def training_augmentation(profile: Profile, domain: str) -> Augmentation:
    """How every network of a domain, referees included, looks at the pairs that it learns from."""
    data = profile.domain(domain)
    return Augmentation(rescale=data.rescale, flip=data.flip)


def _draw(profile: Profile, domain: str, root: Path) -> None:
    """Generate a drawn world; `generate` keeps what already fits and starts anew where it does not."""
    data = profile.domain(domain)
    for split in SPLITS:
        if data.counts.get(data.splits.get(split, split), 0) < 1:
            raise ConfigError(
                f"params/{profile.name}.yaml: domains.{domain}.counts asks for no scene of {split}: "
                "give at least one of train, val and test"
            )
    with awaited(root.with_name(f".{root.name}.lock")):  # the domain twice as large has the same files
        WORLDS[data.source].generate(root, data.counts, seed=data.seed)


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
    # a T5-large takes days of a processor for the captions of the paper's faces
    device = default_device().type
    encoder = load_encoder(text.encoder, max_tokens=text.max_tokens, folder=text.folder or None, device=device)
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
