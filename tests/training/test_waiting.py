"""Between two rows of the curve no step waits for the device: nothing of it is read, and nothing fetched."""

import numpy as np
import pytest
import torch
from worlds import tiny
from worlds.tiny import RECIPE
from worlds.waits import Waits

import gcdp.training.loop as loop
from gcdp.data.batches import collate
from gcdp.training.curve import Curve
from gcdp.training.diffusion import DiffusionLoss, train, without_layout
from gcdp.training.distributed import OnItsWay, OwnRows, make_accelerator

QUIET = {"log_every": 100, "validate_every": 100, "checkpoint_every": 100, "steps": 3, "ema_every": 1}
RUNS = {
    "muon": {"optimizer": "muon", "diagonal": 0.5},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "ema_every": 2},
    "bf16": {"precision": "bf16"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def waits_of(place, folder, pairs, monkeypatch, **recipe):
    """Where the steps of a training wait, from the end of its first one to the losses of its last."""
    waits, seen, placed, optimizer, add = Waits(), [], loop.placed, loop.make_optimizer, Curve.add

    def on_device(batch, device):
        there = placed(batch, device)
        waits.own(*(v for k, v in there.items() if isinstance(v, torch.Tensor) and k not in loop.ON_HOST))
        return there

    def own_network(network, *args, **kwargs):
        waits.own(*network.parameters(), *network.buffers())
        return optimizer(network, *args, **kwargs)

    def added(self, *args):
        add(self, *args)
        seen.append(len(waits.found))

    monkeypatch.setattr(loop, "placed", on_device)
    monkeypatch.setattr(loop, "make_optimizer", own_network)
    monkeypatch.setattr(Curve, "add", added)
    with waits:
        tiny.fit(place, folder, pairs, **QUIET | recipe)
    assert len(seen) == QUIET["steps"] and len(waits.found) > seen[-1]  # the last row is read, as every row is
    return waits.found[seen[0] : seen[-1]]


@pytest.mark.parametrize("run", RUNS)
def test_a_step_waits_for_nothing(place, tmp_path, monkeypatch, run):
    pairs = place.dataset(labeled=np.array([1, 2, 7]))
    assert waits_of(place, tmp_path, pairs, monkeypatch, **RUNS[run]) == []


def test_nor_does_a_step_of_super_resolution(tmp_path, monkeypatch):
    place = tiny.large_world(tmp_path / "world")
    assert waits_of(place, tmp_path, place.dataset(), monkeypatch) == []


def test_nor_do_the_rows_of_one_process_among_several(place):
    pairs = place.dataset(labeled=np.array([1, 2, 7]))
    batch, waits = collate([pairs[(i, 0)] for i in range(4)], place.text), Waits()
    loss = OwnRows(DiffusionLoss(place.card.build()[1], RECIPE), 1, 2)
    with waits:
        waits.own(*(value for name, value in batch.items() if name in ("x", "y", "tokens", "mask")))
        given = loss.prepare(batch, loop.step_generator(0, 0, 0))
    assert waits.found == [] and len(given["x_t"]) == 4


PLANTED = {
    "a number": lambda loss: loss.item(),
    "a comparison": lambda loss: bool(loss > 0),
    "a copy": lambda loss: loss.cpu(),
    "a copy into memory of the host": lambda loss: torch.zeros(()).copy_(loss),
    "an array": lambda loss: loss.detach().numpy(),
    "a list": lambda loss: loss.tolist(),
    "rows by a mask": lambda loss: torch.stack([loss, loss])[torch.tensor([True, False])],
    "places of what is not zero": lambda loss: torch.nonzero(loss[None]),
}


@pytest.mark.parametrize("what", PLANTED)
def test_each_kind_of_wait_is_noticed(what):
    waits, loss, host = Waits(), torch.tensor(0.5), torch.tensor([0.5, 2.0])
    with waits:
        waits.own(loss)
        host.max().item(), host.tolist(), host[host > 1].cpu()  # what lies on the host may be read
        PLANTED[what](loss * 2)
    assert len(waits.found) == 1 and waits.found[0].startswith("test_waiting.py:<lambda> ")


def test_a_wait_planted_in_the_loss_is_noticed_at_every_step(place, tmp_path, monkeypatch):
    compute = DiffusionLoss.compute

    def planted(self, forward, given):
        losses = compute(self, forward, given)
        losses.total.item()
        return losses

    monkeypatch.setattr(DiffusionLoss, "compute", planted)
    found = waits_of(place, tmp_path, None, monkeypatch)
    assert found == ["test_waiting.py:planted aten::_local_scalar_dense"] * (QUIET["steps"] - 1)


def test_labels_fetched_back_to_draw_the_times_would_be_noticed(place, tmp_path, monkeypatch):
    """As it was before "labeled" stayed on the host."""
    monkeypatch.setattr(loop, "ON_HOST", set())
    monkeypatch.setattr(
        "gcdp.training.diffusion.without_layout",
        lambda t_x, t_y, T, unlabeled: without_layout(t_x, t_y, T, unlabeled.cpu()),
    )
    found = waits_of(place, tmp_path, place.dataset(labeled=np.array([1, 2, 7])), monkeypatch)
    assert found.count("test_waiting.py:<lambda> cpu") == QUIET["steps"] - 1


def test_a_number_on_its_way_arrives():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert OnItsWay(torch.full((), 2.5, device=device)).read() == 2.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("run", RUNS)
def test_cuda_finds_no_step_that_waits(place, tmp_path, monkeypatch, run, recorded):
    add, count, steps = Curve.add, [], 8

    def added(self, *args):
        add(self, *args)
        count.append(1)
        torch.cuda.set_sync_debug_mode("error" if 4 <= len(count) < steps else "default")

    monkeypatch.setattr(Curve, "add", added)
    recipe = tiny.replace(RECIPE, **QUIET | {"steps": steps, "cuda_graph": recorded} | RUNS[run])
    pairs, folders = place.dataset(labeled=np.array([1, 2, 7])), (tmp_path / "state", tmp_path / "model")
    try:
        train(place.card, pairs, recipe, *folders, accelerator=make_accelerator(recipe.precision))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(count) == steps
