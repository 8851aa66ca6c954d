"""Which runs may go on: settings, data and processes that decide the weights, and runs that are extended."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from worlds import tiny
from worlds.tiny import RECIPE, Scenes, cpu, fit

from gcdp.data.augmentation import Augmentation
from gcdp.data.pairs import build_store
from gcdp.errors import CheckpointError
from gcdp.training.checkpoint import load_model
from gcdp.training.curve import read_curve
from gcdp.training.distributed import AGREE_EVERY, StopRequest
from gcdp.training.loop import run_hash

CONSTANT = {"decay": False}
OTHER = "state holds a run with other settings: restore them, or delete the folder"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def test_settings_of_another_run_are_refused(place, tmp_path):
    fit(place, tmp_path, steps=5)
    with pytest.raises(CheckpointError, match=OTHER):
        fit(place, tmp_path, steps=6)
    assert fit(place, tmp_path, steps=5, log_every=1, checkpoint_every=2, validate_every=1).steps_run == 0
    (tmp_path / "state" / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"state\.safetensors is missing or damaged: delete it and run again"):
        fit(place, tmp_path, steps=5)


def test_the_hash_of_a_run_covers_what_decides_its_weights(place):
    def of(pairs=None, identity=None, processes=1, **change):
        return run_hash(identity or {"card": "a"}, pairs or place.dataset(), replace(RECIPE, **change), processes)

    same = [{"log_every": 1}, {"checkpoint_every": 1}, {"validate_every": 1}, {"workers": 2}, {"compile": True}]
    other = [{"seed": 1}, {"steps": 1}, {"learning_rate": 0.1}, {"precision": "bf16"}, {"diagonal": 0.1}]
    other += [{"identity": {"card": "b"}}, {"processes": 2}, {"pairs": place.dataset(augment=False)}]
    assert {of(**change) for change in same} == {of()}
    assert len({of(), *(of(**change) for change in other)}) == 9
    assert of(**CONSTANT) == of(**CONSTANT, steps=1)


def changed_data(place, folder):
    """The dataset of `place` with each thing changed that decides what a network learns from it."""
    encoder = SimpleNamespace(fingerprint="of other weights", __contains__=None)
    less = replace(
        place, store=build_store(Scenes(11), "train", tiny.SIZE, folder, (1.0, 1.2)), captions=place.captions[:11]
    )
    other = build_store(Scenes(12), "test", tiny.SIZE, folder.with_name("redrawn"), (1.0, 1.2))
    redrawn = replace(place, store=other)
    said = replace(place, captions=[group[::-1] for group in place.captions])
    datasets = {
        "number of pairs": less.dataset(),
        "arrays": redrawn.dataset(),
        "captions": said.dataset(),
        "rows": place.dataset(rows=range(8)),
        "draws": place.dataset(seed=1),
        "augmentation": place.dataset(),
        "text": place.dataset(),
    }
    datasets["augmentation"].augmentation = Augmentation(rescale=(1.0, 1.1))
    datasets["text"].text = encoder
    return datasets


def test_a_state_of_other_data_is_refused(place, tmp_path):
    fit(place, tmp_path, steps=2)
    others = changed_data(place, tmp_path / "less")
    assert len({place.dataset().fingerprint, *(pairs.fingerprint for pairs in others.values())}) == 1 + len(others)
    assert place.dataset().fingerprint == place.dataset().fingerprint
    for pairs in others.values():
        with pytest.raises(CheckpointError, match=OTHER):
            fit(place, tmp_path, pairs, steps=2)


def test_a_run_at_a_constant_rate_is_extended(place, tmp_path):
    fit(place, tmp_path / "extended", steps=5, **CONSTANT)
    longer = fit(place, tmp_path / "extended", steps=9, **CONSTANT)
    whole = fit(place, tmp_path / "whole", steps=9, **CONSTANT)
    assert (longer.steps_run, whole.steps_run) == (4, 9)
    ours, theirs = (load_model(run.folder)[0].state_dict() for run in (longer, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [row["step"] for row in read_curve(longer.folder / "curve.csv")] == [3, 5, 6, 9]
    with pytest.raises(CheckpointError, match="holds a run of 9 steps, but the recipe asks for 8: raise steps, or"):
        fit(place, tmp_path / "extended", steps=8, **CONSTANT)


def test_several_processes_stop_twenty_steps_after_they_asked_each_other_and_one_at_once():
    asked = []

    def reduce(flag):
        asked.append(float(flag))
        return flag

    stop, several = StopRequest(), SimpleNamespace(num_processes=2, device="cpu", reduce=reduce)
    stop.requested = True
    assert [step for step in range(1, 61) if stop.agreed(several, step)] == [40, 60] and AGREE_EVERY == 20
    assert asked == [1, 1, 1]
    assert all(stop.agreed(cpu(), step) for step in (1, 19, 20))


def test_an_answer_counts_for_the_step_at_which_it_was_asked_for():
    stop, several = StopRequest(), SimpleNamespace(num_processes=2, device="cpu", reduce=lambda flag: flag)
    assert not stop.agreed(several, 20)
    stop.requested = True
    assert not stop.agreed(several, 40) and stop.agreed(several, 60)
