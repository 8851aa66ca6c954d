"""A repository of its own for tests: generated streets of 8x16 pixels and one profile, `params/tiny.yaml`.

With the sections `FACES` that profile has faces of 16x16 pixels instead, and referees of attributes and alignment.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import yaml

import gcdp.experiments.datasets as datasets
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.runs import Run
from gcdp.training.checkpoint import save_model, with_training
from gcdp.validation import to_dict

PROFILE = {
    "domains": {
        "streets": {"source": "toy_streets", "size": [8, 16], "counts": {"train": 4, "val": 2, "test": 2}}
    },
    "unet": {
        "layout_embedding": 4, "stem_width": 8, "stem_kernels": [3], "widths": [8, 16], "blocks": [1, 1],
        "self_attention": [False, True], "cross_attention": [False, True], "heads": 2, "head_width": 8,
        "time_width": 16, "context_width": 16, "context_latents": 3, "resampler_depth": 1,
    },
    "models": {"joint": {}, "gaussian": {"layout": False}},
    "train": {"steps": 3, "batch_size": 2, "seed": 5},
}  # fmt: skip
REFEREE = {"scenes": 3, "network": {"widths": [4, 8]}, "train": {"steps": 2, "batch_size": 2}}
FACES = {
    "domains": {
        "faces": {
            "source": "toy_faces", "size": [16, 16], "counts": {"train": 8, "val": 3, "test": 3}, "subset_seed": 0,
        }
    },
    "referee": REFEREE | {
        "attributes": {"name": "classifier", "network": {"widths": [4, 8]}, "train": {"steps": 2, "batch_size": 2}},
        "alignment": {
            "name": "two_tower", "network": {"widths": [4, 8], "embedding": 6, "hidden": 8},
            "train": {"steps": 2, "batch_size": 2},
        },
    },
}  # fmt: skip
EVERY_KIND = {
    "joint": {},
    "gaussian": {"layout": False},
    "layout_first": {"image": False},
    "image_given_layout": {"train": {"times": "image_given_layout"}},
    "latent": {
        "kind": "latent", "layout": False, "options": {"autoencoder": {"widths": [8, 16], "groups": 4, "steps": 2}}
    },
    "two_stage": {"kind": "two_stage", "parts": {"layout": "layout_first", "image": "image_given_layout"}},
    "pixel_classifier": {
        "kind": "pixel_classifier", "parts": {"image": "gaussian"},
        "options": {"pixels": 16, "members": 1, "epochs": 1, "batch_size": 16, "hidden": [4]},
    },
}  # fmt: skip


def make_repository(root: Path, **changes) -> Profile:
    """Make `root`, the working folder, a repository whose profile has other top-level sections by `changes`."""
    (root / "params").mkdir(exist_ok=True)
    (root / "dvc.yaml").touch()
    (root / "params" / "tiny.yaml").write_text(yaml.safe_dump(PROFILE | changes, sort_keys=False))
    return load_profile("tiny")


def with_domain(**changes) -> dict:
    """The section `domains` with other settings of the streets."""
    return {"domains": {"streets": PROFILE["domains"]["streets"] | changes}}


def prepare(root: Path, **changes) -> None:
    """Draw pairs, write captions and encode them in `root`; `changes` as in `make_repository`."""
    before = os.getcwd()
    os.chdir(root)
    try:
        profile = make_repository(root, **changes)
        for domain in profile.domains:
            datasets.prepare_pairs(profile, domain)
            datasets.prepare_captions(profile, domain)
            datasets.prepare_text(profile, domain)
    finally:
        os.chdir(before)


def leave_network(run: Run, **recipe) -> None:
    """Leave in the model folder of `run` what its training would: a card, and weights that only bear the folder's name.

    `recipe` changes the settings that the card notes.
    """
    name = torch.tensor(list(run.model_folder.name.encode()))
    settings = to_dict(run.config) | recipe
    save_model(run.model_folder, {"name": name}, with_training(run.card, settings=settings))
