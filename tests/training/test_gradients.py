"""Gradients of the two losses by module: against autograd by hand, and how they scale."""

import math
from dataclasses import replace

import pytest
import torch
from worlds import tiny

from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss
from gcdp.training.gradients import fixed_batches, gradients_by_module, modules

SHARED = ["text", "noise levels", "layout embedding", "stem", "down.0", "down.1", "mid", "up.1", "up.0", "end"]
HEADS = ["image head", "layout head"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def network(place, **changes) -> UNet:
    torch.manual_seed(0)
    return tiny.awake(UNet(replace(place.card.unet, **changes)))


def loss_of(place, **process) -> DiffusionLoss:
    card = replace(place.card, diffusion=replace(place.card.diffusion, **process))
    return DiffusionLoss(card.build()[1], tiny.RECIPE)


def rows_of(place, unet, batches=2, **process):
    loss = loss_of(place, **process)
    given = fixed_batches(loss, place.dataset(augment=False), batches)
    return {row.module: row for row in gradients_by_module(unet, loss, given)}


@pytest.mark.parametrize("own_ends", [False, True])
def test_each_parameter_is_in_one_module_in_the_order_of_computation(place, own_ends):
    unet = network(place, own_ends=own_ends)
    found = modules(unet)
    ends = {"stem": ["image stem", "layout stem"], "end": ["image end", "layout end"]} if own_ends else {}
    assert list(found) == [name for shared in [*SHARED, *HEADS] for name in ends.get(shared, [shared])]
    listed = [id(parameter) for parameters in found.values() for parameter in parameters]
    assert sorted(listed) == sorted(id(parameter) for parameter in unet.parameters())


def test_norms_and_cosine_are_those_of_autograd_by_hand(place):
    unet, loss = network(place), loss_of(place)
    batches = fixed_batches(loss, place.dataset(augment=False), 2)
    rows = {row.module: row for row in gradients_by_module(unet, loss, batches)}
    squares = {"image": 0.0, "layout": 0.0, "both": 0.0}
    for given in batches:
        by_hand = {}
        for half, weight in (("image", 1.0), ("layout", 0.3)):
            unet.zero_grad()
            (weight * loss.each(ConditionedUNet(unet), given)[half].mean()).backward()
            by_hand[half] = torch.cat([p.grad.double().flatten() for p in unet.down[1].parameters()])
            by_hand[half] = torch.cat([by_hand[half], *(p.grad.flatten() for p in unet.downsample[1].parameters())])
            squares[half] += float(by_hand[half].square().sum()) / 2
        squares["both"] += float(by_hand["image"] @ by_hand["layout"]) / 2
    row = rows["down.1"]
    assert row.image == pytest.approx(math.sqrt(squares["image"]), rel=1e-5)
    assert row.layout == pytest.approx(math.sqrt(squares["layout"]), rel=1e-5)
    assert row.cosine == pytest.approx(squares["both"] / math.sqrt(squares["image"] * squares["layout"]), rel=1e-4)
    assert row.ratio == pytest.approx(row.layout / row.image)


def test_squares_of_the_modules_add_up_to_the_whole(place):
    rows = rows_of(place, network(place))
    *parts, whole = rows.values()
    assert whole.module == "all"
    for half in ("image", "layout"):
        assert getattr(whole, half) ** 2 == pytest.approx(sum(getattr(row, half) ** 2 for row in parts))


def test_the_ratio_is_proportional_to_the_layout_weight(place):
    unet = network(place)
    low, high = rows_of(place, unet, layout_weight=0.1), rows_of(place, unet, layout_weight=0.4)
    for module in (name for name in low if name not in HEADS):
        assert high[module].image == pytest.approx(low[module].image)
        assert high[module].ratio == pytest.approx(4 * low[module].ratio, rel=1e-4)
        assert high[module].cosine == pytest.approx(low[module].cosine, abs=1e-4)


def test_a_head_learns_from_its_own_loss_alone(place):
    rows = rows_of(place, network(place, own_ends=True))
    assert rows["image head"].ratio == 0 and rows["layout head"].ratio == math.inf
    assert rows["image end"].layout == 0 and rows["layout end"].image == 0
    assert math.isnan(rows["image head"].cosine) and -1 <= rows["text"].cosine <= 1
    assert rows["layout embedding"].image > 0  # the image half sees the layout


def test_batches_are_the_same_in_every_call_and_the_network_stays_as_it_is(place):
    unet = network(place).requires_grad_(False)  # as loaded networks are
    assert rows_of(place, unet)["mid"] == rows_of(place, unet)["mid"]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in unet.parameters())


def test_one_loss_alone_or_no_batch_is_refused(place):
    both, unet = loss_of(place), network(place)
    image = DiffusionLoss(GaussianCategoricalDiffusion(both.process.gaussian, None), tiny.RECIPE)
    given = fixed_batches(both, place.dataset(augment=False), 1)
    for loss, batches in ((both, []), (image, given)):
        with pytest.raises(ValueError, match="both halves and at least one batch"):
            gradients_by_module(unet, loss, batches)
