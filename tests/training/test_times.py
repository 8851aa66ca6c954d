"""Which times a batch is trained at, and what is learned of pairs whose layout is not known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import tiny
from worlds.tiny import RECIPE, awake, fit

from gcdp.data.batches import collate
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss, draw_times, without_layout
from gcdp.training.loop import step_generator


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def times(count, T, diagonal, seed=0):
    return draw_times(count, T, diagonal, torch.Generator().manual_seed(seed))


@given(st.integers(1, 40), st.integers(1, 1000), st.floats(0, 1), st.integers(0, 2**31))
@settings(deadline=None)
def test_times_stay_in_range_and_never_both_at_zero(count, T, diagonal, seed):
    t_x, t_y = times(count, T, diagonal, seed)
    assert t_x.dtype == t_y.dtype == torch.int64 and t_x.shape == t_y.shape == (count,)
    assert 0 <= min(t_x.min(), t_y.min()) and max(t_x.max(), t_y.max()) <= T
    assert (torch.maximum(t_x, t_y) >= 1).all()
    again = times(count, T, diagonal, seed)
    assert torch.equal(t_x, again[0]) and torch.equal(t_y, again[1])


@given(st.integers(1, 64), st.integers(1, 1000), st.integers(0, 2**31))
@settings(deadline=None)
def test_diagonal_times_are_stratified(count, T, seed):
    t_x, t_y = times(count, T, 1.0, seed)
    assert torch.equal(t_x, t_y) and t_x.min() >= 1
    # one time in each of `count` equal parts of 1..T, give or take the rounding to whole times
    parts = (t_x.sort().values - 1).double() * count / T
    assert (parts <= torch.arange(count) + 1).all() and (parts >= torch.arange(count) - count / T).all()


def test_shares_of_diagonal_conditionals_marginals_and_free_times():
    t_x, t_y = times(40_000, 1000, 0.8)
    off = t_x != t_y
    assert float(off.float().mean()) == pytest.approx(0.2, abs=0.01)
    ends = {"clean image": (t_x == 0, 4), "clean layout": (t_y == 0, 4)}
    ends |= {"noise image": (t_x == 1000, 8), "noise layout": (t_y == 1000, 8)}
    for name, (there, part) in ends.items():
        assert float((there & off).float().mean()) == pytest.approx(0.2 / part, abs=0.004), name
    inside = off & (t_x > 0) & (t_x < 1000) & (t_y > 0) & (t_y < 1000)
    assert float(inside.float().mean()) == pytest.approx(0.2 / 4, abs=0.004)
    free = t_y[inside].float()
    assert float(free.mean()) == pytest.approx(500, abs=20)
    assert float(free.std()) == pytest.approx(1000 / math.sqrt(12), abs=15)


def test_an_image_without_layout_is_never_trained_clean_nor_with_a_layout_time():
    t_x, t_y = times(4000, 50, 0.3)
    unlabeled = torch.arange(4000) % 3 > 0
    x, y = without_layout(t_x, t_y, 50, unlabeled)
    assert (y[unlabeled] == 50).all() and (x[unlabeled] >= 1).all()
    assert torch.equal(x[~unlabeled], t_x[~unlabeled]) and torch.equal(y[~unlabeled], t_y[~unlabeled])
    kept = unlabeled & (t_x > 0)
    assert torch.equal(x[kept], t_x[kept])


def losses_of(place, pairs, batch, times="joint"):
    """What the loss prepares of a batch, and its two losses of every example."""
    torch.manual_seed(0)
    network, process = ConditionedUNet(awake(UNet(place.card.unet))), place.card.build()[1]
    loss = DiffusionLoss(process, replace(RECIPE, times=times, diagonal=0.5))
    given = loss.prepare(batch, step_generator(0, 0, 0))
    with torch.no_grad():
        return given, loss.each(network, given)


def test_hidden_layouts_leave_no_trace_in_the_loss(place):
    pairs = place.dataset(augment=False, labeled=[0, 3, 4])
    batch = collate([pairs[(i % 12, 0)] for i in range(48)], place.text)
    assert batch["labeled"].tolist() == [i % 12 in (0, 3, 4) for i in range(48)]
    given, losses = losses_of(place, pairs, batch)
    hidden = ~batch["labeled"]
    assert (given["t_y"][hidden] == tiny.PROCESS.T).all() and (losses["layout"][hidden] == 0).all()
    assert (losses["image"][hidden] > 0).all() and (losses["layout"][~hidden] > 0).any()
    scrambled = torch.where(hidden[:, None, None], 4 - batch["y"], batch["y"])
    _, again = losses_of(place, pairs, {**batch, "y": scrambled})
    assert all(torch.equal(losses[half], again[half]) for half in losses)


def test_a_training_with_some_layouts_runs_and_is_another_one(place, tmp_path):
    every, some = place.dataset(), place.dataset(labeled=np.array([1, 2, 7]))
    assert every.fingerprint == place.dataset(labeled=None).fingerprint != some.fingerprint
    fit(place, tmp_path, some, steps=2)
    assert "labeled" not in every[(0, 0)] and some[(1, 0)]["labeled"] and not some[(0, 0)]["labeled"]


@pytest.mark.parametrize("half, told", [("image_given_layout", "t_y"), ("layout_given_image", "t_x")])
def test_a_given_half_stays_clean(place, half, told):
    pairs = place.dataset(augment=False)
    batch = collate([pairs[(i, 0)] for i in range(12)], place.text)
    given, losses = losses_of(place, pairs, batch, half)
    clean, drawn = ("layout", "image") if told == "t_y" else ("image", "layout")
    assert not given[told].any() and not losses[clean].any() and losses[drawn].any()
    assert torch.equal(given["y_t"], batch["y"]) if told == "t_y" else torch.equal(given["x_t"], batch["x"])
