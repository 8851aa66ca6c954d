"""From a profile to referees, rivals and scores: what evaluation notebooks and the study have in common."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gcdp.baselines.external import open_external
from gcdp.checkpoint import atomic_write, file_hash, fingerprint
from gcdp.config import Profile, repository_root
from gcdp.data.pairs import Augmentation, PairDataset, PairStore, build_store
from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.referees import load_referee
from gcdp.evaluation.scores import RealReference, score
from gcdp.evaluation.segmenter_training import train_segmenter
from gcdp.pipeline import Samples
from gcdp.runs import HeldOut, held_out, open_pairs, released_folder, write_json

REFEREE_SPLIT = "referee"
MEASURES = ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet", "miou", "fsd")


def referee_pairs(profile: Profile, domain: str) -> PairDataset:
    """What the referee learns from: scenes drawn for it alone, or the train split of a real dataset."""
    data, count = profile.domain(domain), profile.referee.scenes
    if count:
        store = _drawn_scenes(profile, domain, count)
    else:
        store = open_pairs(profile, domain, "train")
    augmentation = Augmentation(rescale=data.rescale, crop=True, flip=data.flip)
    return PairDataset(store, [["-"]] * len(store), None, augmentation, seed=profile.referee.train.seed)


def _drawn_scenes(profile: Profile, domain: str, count: int) -> PairStore:
    from gcdp.data.drawn import DrawnStreets

    data = profile.domain(domain)
    if data.source != "toy_streets":
        raise DataError(
            f"params/{profile.name}.yaml: referee.scenes asks for drawn scenes, but domain '{domain}' is not drawn: "
            "set it to 0 to train on the train split"
        )
    folder = profile.data_folder(domain) / REFEREE_SPLIT
    if folder.is_dir():
        store = PairStore.open(folder)
        if len(store) == count and store.size == tuple(data.size):
            return store
    return build_store(DrawnStreets(count), REFEREE_SPLIT, data.size, folder)


def referee_folder(profile: Profile, domain: str) -> Path:
    """Where the referee of a domain lies: results/<profile>/referee/<domain>."""
    return repository_root() / "results" / profile.name / "referee" / domain


def make_referee(profile: Profile, domain: str):
    """The referee of a domain: released, published, found finished, or trained here.

    Raises CheckpointError where released weights are missing or are of another network than the profile says.
    """
    settings, folder = profile.referee, referee_folder(profile, domain)
    if settings.name != "segmenter":
        write_json(folder / "source.json", {"name": settings.name, "folder": settings.folder})
    elif profile.released:
        source = released_folder(profile, domain, "referee")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
    elif not (folder / "config.json").is_file():
        state = profile.results_folder("checkpoints", f"{domain}-referee")
        train_segmenter(settings.network, referee_pairs(profile, domain), settings.train, state, folder)
    return open_referee(profile, domain)


def open_referee(profile: Profile, domain: str):
    """The referee of a domain as it stands. Raises CheckpointError if it was not made yet, or otherwise."""
    settings, folder = profile.referee, referee_folder(profile, domain)
    classes = open_pairs(profile, domain, "train").classes
    if settings.name != "segmenter":
        return load_referee(settings.name, settings.folder or None, classes)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is missing: run the notebook 04_evaluators first")
    referee = load_referee("segmenter", folder, classes)
    if referee.config != settings.network:
        raise CheckpointError(f"{folder} has another network than params/{profile.name}.yaml asks for: train it again")
    return referee


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
        weights = [file_hash(path) for path in self.weights]
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


def saturated(recalls: Sequence[float], least: float) -> bool:
    """Whether recall has failed twice running to rise by `least` over the best scale before."""
    best = np.maximum.accumulate(recalls)
    return len(recalls) > 2 and bool(best[-1] - best[-3] < least)


def judge_folder(profile: Profile, domain: str, folder: Path, unconditional: bool = False) -> dict[str, Any]:
    """Judge images made elsewhere like any model, in the form that `07_evaluate` keeps.

    Args:
        folder: images, captions and perhaps layouts, as `gcdp.baselines.external` describes.
        unconditional: the images were made without text.

    Raises DataError for a folder that cannot be read, CheckpointError where the referee was not measured yet.
    """
    known = read_known(profile, domain)
    world, referee = held_out(profile, domain, profile.evaluate.split), open_referee(profile, domain)
    pairs = open_external(folder, world.classes, profile.domain(domain).size, unconditional)
    real = RealReference(referee.judge(world.images), world.layouts)
    area = known["minimum_area"]
    point = score(referee.judge(pairs.images), pairs.layouts, pairs.captions, world.classes, real, area)
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
    return {name: known["ceiling"][name] for name in MEASURES}


def read_known(profile: Profile, domain: str) -> dict[str, Any]:
    """What `04_evaluators` found of the referee. Raises CheckpointError where it has not run."""
    path = profile.results_folder("metrics", "referee") / f"{domain}.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: run the notebook 04_evaluators first")
    return json.loads(path.read_text(encoding="utf-8"))
