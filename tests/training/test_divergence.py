"""Runs that cannot go on: numbers that are none, and a full disk; the last good checkpoint always survives."""

import math

import pytest
from worlds import tiny
from worlds.tiny import RECIPE, fit

import gcdp.training.loop as training
from gcdp.data.pairs import PairDataset
from gcdp.errors import CheckpointError, TrainingError
from gcdp.training.state import TrainingState


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


class Poisoned(PairDataset):
    """Gives pictures without a number in them from item number `at` on."""

    at, read = 0, 0

    def __getitem__(self, item):
        self.read += 1
        pair = super().__getitem__(item)
        return pair if self.read < self.at else {**pair, "x": pair["x"] * math.nan}


@pytest.mark.parametrize(
    ("bad_step", "found", "kept"),
    [
        (2, 3, ""),  # before any checkpoint: found when the curve is written
        (5, 5, ""),  # the last step before a checkpoint: found before it is written
        (7, 9, r", and delete .*state to start over .its checkpoint of step 5 is still good."),
    ],
)
def test_a_loss_that_is_no_number_stops_the_run(place, tmp_path, bad_step, found, kept):
    pairs = place.dataset(cls=Poisoned)
    pairs.at = (bad_step - 1) * RECIPE.batch_size + 1
    remedy = "lower train.learning_rate, set train.clip or use train.precision 'no'"
    message = f"training diverged, the image loss is no longer finite at step {found}: {remedy}{kept}$"
    with pytest.raises(TrainingError, match=message):
        fit(place, tmp_path, pairs)
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "state" / "state.safetensors").exists() == bool(kept)
    if kept:  # the same run, on pairs that are whole again, continues from the good checkpoint
        assert fit(place, tmp_path).steps_run == 7


def test_an_update_that_ruins_the_weights_is_found_before_they_are_saved(place, tmp_path, monkeypatch):
    normal = training.share_of_rate
    monkeypatch.setattr(training, "share_of_rate", lambda c, step: math.inf if step == 9 else normal(c, step))
    with pytest.raises(TrainingError, match=r"a weight is no longer finite at step 10: .*checkpoint of step 5"):
        fit(place, tmp_path, log_every=100)
    monkeypatch.undo()
    assert fit(place, tmp_path, log_every=100).steps_run == 7


def test_a_full_disk_stops_the_run_and_keeps_its_checkpoint(place, tmp_path, monkeypatch):
    save, calls = TrainingState.save, []

    def fill_up(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            monkeypatch.setattr("gcdp.training.state.write_tensors", no_space)
        return save(self, *arguments)

    def no_space(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrainingState, "save", fill_up)
    with pytest.raises(CheckpointError, match=r"disk full while writing .*state\.safetensors: free some space"):
        fit(place, tmp_path)
    monkeypatch.undo()
    assert fit(place, tmp_path).steps_run == 7
