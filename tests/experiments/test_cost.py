"""What runs cost, against counts by hand. Networks stand on the meta device; seed 0 where weights are drawn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gcdp.experiments.cost import Costing, by_stage, hours, pairs_of, works
from gcdp.experiments.cost_networks import NetworkCost, count_unet, counted
from gcdp.experiments.profile import load_profile
from gcdp.network.unet import UNetConfig
from gcdp.reporting.cost import amount
from gcdp.training.recipe import TrainConfig


def test_a_product_counts_twice_its_size_and_keeps_its_input():
    layer = nn.Linear(3, 5, bias=False)
    x = torch.zeros(7, 3)
    found = counted(layer, lambda: layer(x), [layer.weight])
    assert found == NetworkCost(parameters=15, hidden=15, forward=2 * 7 * 3 * 5, kept=7 * 3 * 4)
    assert found.step_operations(batch=4) == 3 * 4 * 2 * 7 * 3 * 5


def test_memory_of_a_step_by_hand():
    cost, adamw = NetworkCost(parameters=1000, hidden=600, forward=1, kept=500), TrainConfig(precision="no")
    weights = 3 * 4000 + 8000  # with gradients, average and two moments
    assert cost.memory(adamw, batch=100) == weights + 50_000
    assert cost.memory(adamw, batch=1) == weights + 4000  # the copy that the average needs is more
    assert cost.memory(replace(adamw, precision="bf16"), batch=100) == weights + 25_000 + 2000
    muon = replace(adamw, optimizer="muon")
    assert cost.memory(muon, batch=1) == weights - 4 * 600 + 4000


def test_operations_on_the_meta_device_are_those_of_a_true_pass():
    config = UNetConfig(
        num_classes=4, stem_width=16, stem_kernels=(3,), widths=(16,), blocks=(1,), self_attention=(True,),
        cross_attention=(True,), heads=2, head_width=16, time_width=32, text_width=8, context_width=16,
        context_latents=4, resampler_depth=1,
    )  # fmt: skip
    one, four = count_unet(config, (8, 8)), count_unet(config, (16, 16))
    assert one.parameters == four.parameters > one.hidden > 0
    assert one.forward < four.forward < 16 * one.forward and one.kept < four.kept


def test_pairs_of_published_sources_follow_the_splits():
    assert pairs_of(load_profile("cityscapes").domain("streets")) == {"train": 2975, "val": 500, "test": 500}
    assert sum(pairs_of(load_profile("celeba").domain("faces")).values()) == 30_000
    assert pairs_of(load_profile("smoke").domain("faces")) == {"train": 48, "val": 12, "test": 12}


def test_parts_of_the_smoke_profile_by_hand():
    profile = load_profile("smoke")
    streets = Costing(profile, "streets")
    joint, gaussian = (streets.network(model).forward for model in ("joint", "gaussian"))
    assert streets.training("joint").operations == 12 * 8 * 3 * joint  # steps, pairs, passes
    assert streets.samples("joint").operations == 8 * 4 * 2 * joint  # pairs, jumps, with and without text
    # scales 1 and 2 on 8 test and 4 validation captions, 8 without text, 2 swaps of each of 19 classes
    passes = 12 * 1 + 12 * 2 + 8 * 1 + 19 * 2 * 2
    assert streets.evaluation("gaussian").operations == passes * 4 * gaussian
    assert streets.data().disk == (12 + 12 + 48 + 48 * 4) * 16 * 32 * 4  # training zooms into pairs twice as large
    large = Costing(profile, "streets_large")
    enlarger = large.network("enlarger").forward
    assert large.operations("cascade") == joint + enlarger and large.operations("resized") == joint
    assert large.training("enlarger").operations < 12 * 8 * 3 * enlarger  # it learns from crops


def test_what_is_released_is_not_trained():
    profile = load_profile("toy")
    seen = Costing(profile, "faces")
    assert not seen.referees() and not seen.study() and not seen.directions()
    assert seen.training("gaussian").operations == 0
    joint = seen.training("joint").operations
    assert joint == profile.short_run * seen.network("joint").step_operations(64)


def test_stages_are_sums_of_their_parts():
    parts = works(load_profile("smoke"))
    stages = by_stage(parts)
    assert list(stages) == ["data", "text", "referees", "training", "study", "drawing", "directions"]
    trained = [part for part in parts if part.stage == "training"]
    assert stages["training"].operations == sum(part.operations for part in trained)
    assert stages["training"].memory == max(part.memory for part in trained)


def test_hours_and_amounts():
    assert hours(3.6e15, rate=1e12, share=0.5) == 2
    shown = [amount(value) for value in (0, 0.00234, 1.44, 12.6, 1234)]
    assert shown == ["–", "0.0023", "1.4", "13", "1,200"]


@pytest.mark.parametrize("name", ["cityscapes", "celeba"])
def test_studies_of_the_paper_fit_their_data(name):
    """Numbers of pairs are shares of what the train split has."""
    profile = load_profile(name)
    every = pairs_of(next(iter(profile.domains.values())))["train"]
    shares = [size / every for size in profile.study.sizes if size != "all"]
    assert shares == pytest.approx([0.25, 0.5] if name == "celeba" else [], abs=1e-4)
