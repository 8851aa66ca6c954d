"""Training of a network that enlarges: what it is given, and that it learns. Seeds are stated."""

from dataclasses import replace

import pytest
import torch
from worlds.tiny import PROCESS, RECIPE, cpu, curve_without_speed, large_world

from gcdp.data.batches import collate
from gcdp.diffusion.enlarging import SAMPLING_LEVEL
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.training.diffusion import DiffusionLoss, EnlargingLoss, train

PROCESSES = GaussianCategoricalDiffusion.from_config(PROCESS, 5)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return large_world(tmp_path_factory.mktemp("enlarging"))


def batch(place, count=4):
    pairs = place.dataset(crop=(8, 16))
    return collate([pairs[(i, 0)] for i in range(count)], place.text)


def test_levels_are_uniform_in_training_and_fixed_for_held_out_pairs(place):
    loss, found = EnlargingLoss(PROCESSES, RECIPE), []
    for seed in range(20):
        given = loss.prepare(batch(place), torch.Generator().manual_seed(seed))
        assert given["low_x"].shape == given["x_t"].shape and given["low_y"].shape == given["y_t"].shape
        found += given["low_log_snr"].tolist()
    assert len(set(found)) > 30 and min(found) < -3 and max(found) > 3
    t = torch.tensor([1, 20, 30, 50])
    held = loss.held_out(batch(place), t, torch.Generator().manual_seed(0))
    wanted = PROCESSES.log_snr(*[torch.full((4,), round(SAMPLING_LEVEL * PROCESSES.T))] * 2)[0]
    assert torch.equal(held["low_log_snr"], wanted) and torch.equal(held["t_x"], t) and held["keep"].all()


def test_the_larger_pair_is_noised_as_without_a_smaller_one(place):
    small = {name: value for name, value in batch(place).items() if not name.startswith("low")}
    t = torch.tensor([5, 10, 20, 40])
    plain, enlarging = (
        kind(PROCESSES, RECIPE).held_out(each, t, torch.Generator().manual_seed(3))
        for kind, each in ((DiffusionLoss, small), (EnlargingLoss, batch(place)))
    )
    assert all(torch.equal(plain[name], enlarging[name]) for name in plain)


def test_a_network_learns_on_crops_the_same_in_every_run(place, tmp_path):
    def run(folder):
        recipe = replace(RECIPE, diagonal=1.0)
        pairs, whole = place.dataset(crop=(8, 16)), place.dataset(augment=False)
        return train(place.card, pairs, recipe, folder / "state", folder / "model", whole, cpu())

    once = run(tmp_path / "once")
    assert curve_without_speed(run(tmp_path / "again")) == curve_without_speed(once)
    losses = [row for row in once.curve.rows if row.get("val_image") is not None]
    assert losses[-1]["val_image"] < losses[0]["val_image"]
