"""From a model's name in a profile to the object that trains, or draws pairs, whatever its kind."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from safetensors.torch import save

from gcdp.errors import CheckpointError, ConfigError
from gcdp.experiments.datasets import held_out, open_pairs
from gcdp.experiments.options import options
from gcdp.experiments.profile import Profile
from gcdp.experiments.runs import Run, model_card, released_folder, sweep_folder
from gcdp.experiments.sections import KINDS
from gcdp.generators.cascade import Cascade
from gcdp.generators.latent import latent_card, load_latent, train_latent
from gcdp.generators.loading import load_pipeline
from gcdp.generators.pixel_classifier import (
    PixelClassifierPipeline,
    fit_pixel_classifier,
    load_pixel_classifier,
)
from gcdp.generators.resized import Resized
from gcdp.generators.two_stage import TwoStagePipeline
from gcdp.provenance import source_fingerprint
from gcdp.storage import load_tensors
from gcdp.training.checkpoint import ModelCard, load_card, load_model
from gcdp.training.diffusion import TrainingResult, train

# kind of a model -> what makes one of its parts
COMPOSED = {"two_stage": TwoStagePipeline, "cascade": Cascade, "resized": Resized}


def fit(profile: Profile, model: str, run: Run) -> TrainingResult:
    """Train a model of its own kind by `run`.

    Raises ConfigError for a composed model, and what the training raises.
    """
    kind = profile.model(model).kind
    places = run.state_folder, run.model_folder, run.validation
    if kind in ("diffusion", "enlarger"):
        return train(run.card, run.pairs, run.config, *places)
    if kind == "latent":
        return train_latent(run.card, run.pairs, options(profile, model), run.config, *places)
    raise ConfigError(f"'{model}' is made of {', '.join(profile.model(model).parts.values())}: train these")


def expected_card(profile: Profile, domain: str, model: str) -> ModelCard:
    """What a trained model must be to fit the profile."""
    card = model_card(profile, domain, model)
    return latent_card(card, options(profile, model)) if profile.model(model).kind == "latent" else card


def model_folder(profile: Profile, domain: str, model: str) -> Path:
    """results/<profile>/models/<domain>-<model>"""
    return profile.results_folder("models") / f"{domain}-{model}"


def part_folder(profile: Profile, domain: str, model: str, role: str) -> Path:
    """Where the network of a part of a composed model lies; that of `base` belongs to the smaller domain."""
    return model_folder(profile, profile.domain_of(domain, role), profile.model(model).parts[role])


def install_released(profile: Profile, domain: str, model: str) -> ModelCard:
    """Verify released weights against this profile and copy them to results/<profile>/models/.

    Raises CheckpointError where network, process or classes differ, a checksum fails or a file is missing,
    ConfigError where the profile uses no released weights.
    """
    source = released_folder(profile, domain, model)
    if source is None:
        raise ConfigError(f"profile '{profile.name}' uses no released weights: train it, or set 'released'")
    expected = expected_card(profile, domain, model)
    try:
        if profile.model(model).kind == "latent":
            load_latent(source, expected=expected)
        else:
            load_model(source, expected=expected)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; profile '{profile.released}-scratch' trains them anew") from error
    if not (source / "curve.csv").is_file():
        raise CheckpointError(f"{source / 'curve.csv'} is missing: fetch the whole repository")
    target = model_folder(profile, domain, model)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return load_card(target)


def network_hash(folder: Path) -> str:
    """SHA-256 over the weights of a folder as numbers: a network and its release in half precision have the same."""
    weights, _ = load_tensors(Path(folder) / "model.safetensors")
    return hashlib.sha256(save({name: each.float() for name, each in weights.items()})).hexdigest()


def weight_files(profile: Profile, domain: str, model: str) -> list[Path]:
    """Every file of weights that decides what a model draws; a pixel classifier has its own once it was opened."""
    folders = [model_folder(profile, domain, model)]
    folders += [part_folder(profile, domain, model, role) for role in profile.model(model).parts]
    folders += [_classifier_folder(profile, domain, model)] if profile.model(model).kind == "pixel_classifier" else []
    return sorted(path for folder in folders for path in folder.glob("*.safetensors"))


def open_model(profile: Profile, domain: str, model: str, folder: Path | None = None):
    """A trained model ready to draw: an object with `sample`, `classes` and `card`.

    `folder` holds its weights where they are not those of results/<profile>/models. A pixel classifier is fitted
    here, in a minute or two, where it was not yet.

    Raises CheckpointError for missing or damaged weights.
    """
    config, text = profile.model(model), profile.text.folder or None
    if config.kind == "pixel_classifier":
        return _pixel_classifier(profile, domain, model)
    if config.kind in COMPOSED:
        folders = (part_folder(profile, domain, model, role) for role in KINDS[config.kind])
        own = {"config": options(profile, model)} if config.kind == "cascade" else {}
        return COMPOSED[config.kind](*(load_pipeline(each, text_folder=text) for each in folders), **own)
    return load_pipeline(folder or model_folder(profile, domain, model), text_folder=text)


def _pixel_classifier(profile: Profile, domain: str, model: str) -> PixelClassifierPipeline:
    pipeline = open_model(profile, domain, profile.model(model).parts["image"])
    folder, config = _classifier_folder(profile, domain, model), options(profile, model)
    made_from = {
        "pairs": open_pairs(profile, domain, "train").checksums,
        "code": source_fingerprint("gcdp.generators.pixel_classifier"),
    }
    try:
        classifier = load_pixel_classifier(folder, pipeline)
    except CheckpointError:  # not there yet, or of another image model
        classifier = None
    if classifier is None or classifier.config != config or classifier.facts.get("made_from") != made_from:
        pairs = held_out(profile, domain, "train")
        classifier = fit_pixel_classifier(pipeline, pairs.images, pairs.layouts, pairs.captions, config, progress=True)
        classifier.facts["made_from"] = made_from
        classifier.save(folder)
    return PixelClassifierPipeline(classifier)


def _classifier_folder(profile: Profile, domain: str, model: str) -> Path:
    return sweep_folder(profile, domain, model) / "classifier"
