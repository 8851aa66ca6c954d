"""Real street photographs through the whole library: pairs, captions, text, training, sampling. Seed 0."""

import shutil

import numpy as np
import pytest
from worlds.tiny import cpu

import gcdp
from gcdp.experiments.datasets import open_captions, open_pairs, prepare_captions, prepare_pairs, prepare_text
from gcdp.experiments.profile import load_profile
from gcdp.experiments.runs import prepare_run
from gcdp.training.diffusion import train

PER_SPLIT = 10
SHRINK = {
    "size: [48, 64]": "size: [24, 32]",
    "captions_per_pair: 4": "captions_per_pair: 1",
    "steps: 2000": "steps: 30",
    "batch_size: 32": "batch_size: 4",
    "log_every: 50": "log_every: 5",
    "warmup: 100": "warmup: 2",
    "validate_every: 250": "validate_every: 5",
    "validate_pairs: 96": "validate_pairs: 4",
    "precision: bf16": 'precision: "no"',
}


@pytest.fixture
def repository(real_data, tmp_path, monkeypatch):
    """A repository with the camvid profile, shrunk, and the first pairs of every split."""
    source = real_data / "camvid"
    if not source.is_dir():
        pytest.skip("no camvid folder among the real data")
    raw = tmp_path / "data" / "camvid" / "streets" / "raw"
    for split in ("train", "val", "test"):
        for image in sorted((source / "images" / split).iterdir())[:PER_SPLIT]:
            layout = source / "layouts" / split / f"{image.stem}.png"
            for path, kind in ((image, "images"), (layout, "layouts")):
                (raw / kind / split).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, raw / kind / split / path.name)
    shutil.copyfile(source / "classes.json", raw / "classes.json")
    text = (gcdp.experiments.profile.repository_root() / "params" / "camvid.yaml").read_text(encoding="utf-8")
    for original, smaller in SHRINK.items():
        assert original in text
        text = text.replace(original, smaller)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "camvid.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_real_streets_from_photographs_to_samples(repository):
    profile = load_profile("camvid")
    prepare_pairs(profile, "streets")
    prepare_captions(profile, "streets")
    prepare_text(profile, "streets")
    store = open_pairs(profile, "streets", "train")
    assert len(store) == PER_SPLIT and store.images.shape[1:] == (24, 32, 3)
    assert store.classes.num_classes == 12 and len(np.unique(store.layouts)) > 5
    captions = [group[0] for group in open_captions(profile, "streets", "test")]
    assert all("Roads" in caption for caption in captions)

    run = prepare_run(profile, "streets", "joint")
    result = train(run.card, run.pairs, run.config, run.state_folder, run.model_folder, run.validation, cpu())
    first, last = result.curve.rows[0], result.curve.rows[-1]
    assert last["val_layout"] < first["val_layout"] and last["val_image"] < first["val_image"]

    pairs = gcdp.load_pipeline(result.folder, device="cpu").sample(captions[:2], num_steps=4, seed=0)
    assert pairs.images.shape == (2, 24, 32, 3) and pairs.images.dtype == np.uint8
    assert pairs.layouts.shape == (2, 24, 32) and pairs.layouts.max() < 12
