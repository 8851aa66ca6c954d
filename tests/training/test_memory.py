"""What saves memory changes no weight: batches in parts, and activations computed twice."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from worlds import tiny
from worlds.tiny import RECIPE, awake, fit

from gcdp.data.batches import collate
from gcdp.errors import ConfigError
from gcdp.network.unet import UNet
from gcdp.storage import load_tensors
from gcdp.training.activations import recompute_blocks
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss
from gcdp.training.loop import run_hash, step_generator
from gcdp.training.recipe import TrainConfig
from gcdp.training.step import check_pieces, pieces_of

QUIET = {"steps": 4, "validate_every": 100, "log_every": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def saved(folder, part):
    tensors = load_tensors(folder / "state" / "state.safetensors")[0]
    return {name: value for name, value in tensors.items() if name.startswith(part)}


# A batch in parts.


@pytest.mark.parametrize("recipe", [{"accumulate": 2}, {"accumulate": 4, "optimizer": "muon", "diagonal": 0.5}])
def test_a_batch_in_parts_gives_the_weights_of_the_whole(tmp_path, recipe):
    """Groups of two channels: in those of one, biases before a normalization have a gradient of rounding alone."""
    place = tiny.world(tmp_path / "world", stem_width=16, widths=(16, 32))
    whole, parts = (fit(place, tmp_path / str(len(n)), **QUIET, **recipe | n) for n in ({"accumulate": 1}, {}))
    one, other = (
        torch.cat([w.double().flatten() for w in saved(run.folder.parent, "model").values()]) for run in (whole, parts)
    )
    assert 0 < float((one - other).norm() / one.norm()) < 1e-6
    for column in ("image", "layout"):
        assert whole.curve.rows[-1][column] == pytest.approx(parts.curve.rows[-1][column], rel=1e-5)


def gradients(place, accumulate=1, steps=3, recomputed=False, dtype=torch.float32):
    """Gradients of a few batches, by the step's own arithmetic on a network that stays as it is, and its losses."""
    torch.manual_seed(0)
    network = ConditionedUNet(awake(UNet(place.card.unet))).to(dtype)
    if recomputed:
        recompute_blocks(network)
    loss, pairs, found = DiffusionLoss(place.card.build()[1], RECIPE), place.dataset(), []
    for step in range(steps):
        batch = collate([pairs[(4 * step % 12 + i, 0)] for i in range(4)], place.text)
        given = loss.prepare(batch, step_generator(0, step, 0))
        given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in given.items()}
        for piece in pieces_of(given, accumulate):
            losses = loss.compute(network, piece)
            (losses.total / accumulate).backward()
            found.append(losses.total.detach())
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}, torch.stack(found)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_the_gradient_of_the_parts_is_that_of_the_whole(place, accumulate):
    """To 1e-6 of the largest entry of each parameter's gradient, or of the network's where that is rounding alone."""
    whole, losses = gradients(place)
    parts, several = gradients(place, accumulate)
    largest = max(float(grad.abs().max()) for grad in whole.values())
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad, rtol=1e-5, atol=1e-6 * largest)
    torch.testing.assert_close(several.view(-1, accumulate).mean(1), losses, rtol=1e-6, atol=0)


def test_what_is_random_does_not_depend_on_the_parts(place, tmp_path, monkeypatch):
    """Each row has the time, the caption and the noise that it has in the whole batch."""
    compute, seen = DiffusionLoss.compute, []

    def noted(self, forward, given):
        seen.append({name: given[name].clone() for name in ("t_x", "t_y", "keep", "noise", "y_t", "tokens")})
        return compute(self, forward, given)

    monkeypatch.setattr(DiffusionLoss, "compute", noted)
    for count in (1, 2):
        fit(place, tmp_path / str(count), steps=2, accumulate=count)
    whole, parts = seen[:2], seen[2:]
    assert len(parts) == 4
    for number, given in enumerate(whole):
        for name, value in given.items():
            assert torch.equal(torch.cat([part[name] for part in parts[2 * number : 2 * number + 2]]), value)


def test_processes_exchange_gradients_once_a_step(place, tmp_path, monkeypatch):
    entered, no_sync = [], Accelerator.no_sync

    def noted(self, model):
        entered.append(1)
        return no_sync(self, model)

    monkeypatch.setattr(Accelerator, "no_sync", noted)
    fit(place, tmp_path, steps=2, accumulate=4)
    assert len(entered) == 2 * 3


def test_a_batch_that_does_not_divide_is_refused_in_one_sentence(place, tmp_path):
    with pytest.raises(ConfigError, match=r"^batch_size 8 does not divide into accumulate = 3 equal parts: change"):
        TrainConfig(accumulate=3)
    recipe = replace(RECIPE, accumulate=2)
    with pytest.raises(ConfigError, match=r"batch_size 4 does not divide into .*: use a multiple of 8$"):
        check_pieces(DiffusionLoss(place.card.build()[1], recipe), recipe, 4)
    with pytest.raises(ConfigError, match=r"train\.accumulate 2 is for diffusion networks alone: set it to 1"):
        check_pieces(lambda forward, batch, generator: None, recipe, 1)


def test_a_run_goes_on_with_another_number_of_parts(place):
    hashes = {
        run_hash({}, place.dataset(), replace(RECIPE, accumulate=count, checkpoint_activations=twice))
        for count, twice in ((1, False), (4, False), (1, True))
    }
    assert len(hashes) == 1


# Activations.


@contextmanager
def kept_activations(network):
    """Count what the backward pass will need: [bytes] of all tensors kept for it but weights, each storage once."""
    own, kept, total = {p.untyped_storage()._cdata for p in network.parameters()}, {}, [0]

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in kept:
            kept[storage._cdata] = tensor  # held, so that no other storage gets its address
            total[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total


def test_activations_computed_twice_change_no_bit(place, tmp_path):
    (once, losses), (twice, again) = (gradients(place, recomputed=recomputed) for recomputed in (False, True))
    assert torch.equal(losses, again) and once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    plain, sparing = (fit(place, tmp_path / str(on), steps=3, checkpoint_activations=on) for on in (False, True))
    assert tiny.curve_without_speed(plain) == tiny.curve_without_speed(sparing)
    first, second = (saved(tmp_path / str(on), "") for on in (False, True))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_names_of_weights_stay(place):
    network = ConditionedUNet(UNet(place.card.unet))
    before = list(network.state_dict())
    recompute_blocks(network)
    assert list(network.state_dict()) == before
    with pytest.raises(ConfigError, match="checkpoint_activations is for diffusion networks, not for Linear"):
        recompute_blocks(torch.nn.Linear(2, 2))


def test_a_fraction_of_the_activations_is_kept(place):
    found = []
    for recomputed in (False, True):
        network = ConditionedUNet(UNet(place.card.unet))
        if recomputed:
            recompute_blocks(network)
        loss, pairs = DiffusionLoss(place.card.build()[1], RECIPE), place.dataset()
        given = loss.prepare(collate([pairs[(i, 0)] for i in range(4)], place.text), step_generator(0, 0, 0))
        with kept_activations(network) as total:
            loss.compute(network, given)
        found += total
    assert found[1] < 0.5 * found[0], found
