"""Training of the segmenter on the tiny world: it learns, it resumes to the bit, it refuses what does not fit."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import cpu_alone
from worlds import tiny

from gcdp.data.augmentation import Augmentation
from gcdp.data.pairs import PairDataset, build_store
from gcdp.errors import CheckpointError, TrainingError
from gcdp.evaluation.referees.segmenter import Segmenter, SegmenterConfig, load_segmenter
from gcdp.evaluation.spoiling import SpoilingConfig
from gcdp.experiments.referee_training import train_segmenter
from gcdp.storage import load_tensors
from gcdp.training.curve import read_curve
from gcdp.training.recipe import TrainConfig

pytestmark = pytest.mark.usefixtures("on_the_cpu")

NETWORK, CLEAN = SegmenterConfig((8, 12)), SpoilingConfig()
RECIPE = TrainConfig(
    steps=60, batch_size=8, learning_rate=2e-2, warmup=5, decay=True, clip=1.0, ema_decay=0.9, ema_every=1,
    log_every=10, checkpoint_every=25,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_store(tiny.Scenes(48), "train", tiny.SIZE, tmp_path_factory.mktemp("world") / "pairs", (1.0, 1.2))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """An uninterrupted run: its folder, in it state and model."""
    folder = tmp_path_factory.mktemp("whole")
    with cpu_alone():
        fit(store, folder)
    return folder


def pairs_of(store, cls=PairDataset) -> PairDataset:
    """Pairs as a referee learns them: no text cache, and captions that nobody reads."""
    return cls(store, [["unread"]] * len(store), None, Augmentation(), seed=0)


def fit(store, folder, pairs=None, network=NETWORK, spoiling=CLEAN, **recipe) -> Segmenter:
    pairs = pairs_of(store) if pairs is None else pairs
    return train_segmenter(network, pairs, replace(RECIPE, **recipe), folder / "state", folder / "model", spoiling)


def curve(folder) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in read_curve(folder / "curve.csv")]


def test_it_reads_unseen_scenes_of_its_world(trained, tmp_path):
    unseen = build_store(tiny.Scenes(32), "test", tiny.SIZE, tmp_path / "test")
    reading = load_segmenter(trained / "model", "cpu").read(unseen.images)
    assert (reading.layouts == unseen.layouts).mean() > 0.98
    assert reading.features.shape == (32, 12)


def test_the_folder_tells_what_was_done(trained):
    facts = load_segmenter(trained / "model").facts
    assert facts["scenes"] == 48 and facts["split"] == "train"
    assert facts["recipe"]["steps"] == 60 and facts["recipe"]["seed"] == 0
    rows = curve(trained / "model")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60] and rows[-1]["layout"] < rows[0]["layout"] / 3
    weights = load_tensors(trained / "model" / "model.safetensors")[0]
    floats = [w for w in weights.values() if w.is_floating_point()]
    assert all(torch.equal(w, w.half().float()) for w in floats), "a half-precision release would change the referee"
    # Batch statistics are averaged with the weights, the counter of batches is not.
    assert {int(w) for w in weights.values() if not w.is_floating_point()} == {60}


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_an_interruption_leaves_no_trace(store, trained, tmp_path, precision):
    whole = trained
    if precision != "no":
        whole = tmp_path / "whole"
        fit(store, whole, precision=precision, steps=12)
    steps = 60 if precision == "no" else 12
    pairs = pairs_of(store, tiny.Deadly)
    pairs.signum, pairs.at = signal.SIGTERM, 6 * RECIPE.batch_size + 2
    with pytest.raises(TrainingError, match=f"referee was interrupted at step 7 of {steps}; run again to go on"):
        fit(store, tmp_path, pairs, precision=precision, steps=steps)
    assert not (tmp_path / "model").exists()
    fit(store, tmp_path, precision=precision, steps=steps)
    for part in ("model/model.safetensors", "state/state.safetensors"):
        ours, theirs = load_tensors(tmp_path / part)[0], load_tensors(whole / part)[0]
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert curve(tmp_path / "model") == curve(whole / "model")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_spoiled_images_are_functions_of_seed_and_step(store, tmp_path, optimizer):
    spoiling, weights = SpoilingConfig(noise=16, blur=5, contrast=0.5, brightness=32), {}
    for name in ("whole", "interrupted"):
        if name == "interrupted":
            pairs = pairs_of(store, tiny.Deadly)
            pairs.signum, pairs.at = signal.SIGTERM, 6 * RECIPE.batch_size + 2
            with pytest.raises(TrainingError, match="interrupted at step 7 of 12"):
                fit(store, tmp_path / name, pairs, spoiling=spoiling, steps=12, optimizer=optimizer)
        referee = fit(store, tmp_path / name, spoiling=spoiling, steps=12, optimizer=optimizer)
        weights[name] = load_tensors(tmp_path / name / "model" / "model.safetensors")[0]
    assert all(torch.equal(weights["whole"][key], weights["interrupted"][key]) for key in weights["whole"])
    assert referee.facts["spoiling"] == {"noise": 16, "blur": 5, "contrast": 0.5, "brightness": 32, "clean": 0.25}
    with pytest.raises(CheckpointError, match="run with other settings"):
        fit(store, tmp_path / "whole", steps=12)


def test_a_finished_run_is_only_written_again(store, trained, tmp_path):
    before = (trained / "model" / "model.safetensors").read_bytes()
    pairs = pairs_of(store, tiny.Deadly)
    pairs.at = 1  # reading a single pair would end this process
    fit(store, trained, pairs)
    assert (trained / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("change", ["recipe", "network", "pairs"])
def test_a_state_of_other_settings_is_refused(store, tmp_path, change):
    fit(store, tmp_path, steps=2)
    other = {
        "recipe": {"steps": 2, "seed": 1},
        "network": {"steps": 2, "network": SegmenterConfig((8, 12), blocks=2)},
        "pairs": {
            "steps": 2,
            "pairs": pairs_of(build_store(tiny.Scenes(8), "train", tiny.SIZE, tmp_path / "few", (1.0, 1.2))),
        },
    }[change]
    with pytest.raises(CheckpointError, match="state holds a run with other settings: restore them, or delete the"):
        fit(store, tmp_path, **other)


def test_a_damaged_state_is_refused(store, tmp_path):
    fit(store, tmp_path, steps=2)
    path = tmp_path / "state" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is missing or damaged: delete it and run again"):
        fit(store, tmp_path, steps=2)


def test_a_diverged_run_keeps_its_last_state(store, tmp_path):
    class Poisoned(PairDataset):
        def __getitem__(self, item):
            pair = super().__getitem__(item)
            return {**pair, "x": pair["x"] * (np.nan if item[1] else 1.0)}  # from the second epoch

    with pytest.raises(TrainingError, match="training diverged, the layout loss is no longer finite at step 8"):
        fit(store, tmp_path, pairs_of(store, Poisoned), steps=12, checkpoint_every=4)
    facts = json.loads(load_tensors(tmp_path / "state" / "state.safetensors")[1]["facts"])
    assert facts["step"] == 4 and not (tmp_path / "model").exists()
