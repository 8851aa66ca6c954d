"""Training: times, rates, averages, the fall of the loss, and settings that do not fit."""

import csv
import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from worlds import tiny
from worlds.tiny import RECIPE, awake, cpu, fit

import gcdp.training.distributed as processes
from gcdp.errors import CheckpointError, ConfigError
from gcdp.network.unet import Prediction, UNet
from gcdp.storage import load_tensors
from gcdp.training.checkpoint import load_card, load_model
from gcdp.training.curve import Curve, read_curve
from gcdp.training.diffusion import (
    ConditionedUNet,
    DiffusionLoss,
    train,
    validate,
    validation_times,
)
from gcdp.training.loop import batches, share_of_rate, step_generator
from gcdp.training.recipe import TrainConfig
from gcdp.training.state import TrainingState


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def test_noise_of_a_step_is_its_own():
    seeds = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    draws = [torch.rand(4, generator=step_generator(*seed)) for seed in seeds]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert torch.equal(draws[0], torch.rand(4, generator=step_generator(0, 0, 0)))


def test_schedule_of_the_rate():
    plain = TrainConfig(steps=100)
    assert {share_of_rate(plain, step) for step in range(100)} == {1}
    warm = replace(plain, warmup=10)
    assert [share_of_rate(warm, step) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1, 1, 1]
    full = replace(warm, decay=True)
    assert share_of_rate(full, 9) == share_of_rate(full, 10) == 1
    assert share_of_rate(full, 55) == pytest.approx(0.5)
    rates = [share_of_rate(full, step) for step in range(10, 100)]
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False)) and 0 < rates[-1] < 0.001
    assert share_of_rate(replace(full, steps=5), 4) == 0.5  # a run that ends within its warm-up


def test_average_of_weights_follows_its_recursion(tmp_path):
    torch.manual_seed(0)
    unet = awake(UNet(tiny.NETWORK))
    state = TrainingState(unet, torch.optim.AdamW(unet.parameters()), 0.6, tmp_path, "hash", cpu())
    name, weight = next(iter(unet.named_parameters()))
    history = [weight.detach().clone()]
    for step in range(1, 13):
        with torch.no_grad():
            weight.add_(torch.randn_like(weight))
        history.append(weight.detach().clone())
        state.update_ema(state.ema_share(step, every=2))
    # closed form: the weight of step 2n keeps the share (1 - d_n) d_(n+1) ... d_6
    rates = [min(0.6, (1 + n) / (10 + n)) for n in range(1, 7)]
    shares = [math.prod(rates)] + [(1 - rates[i]) * math.prod(rates[i + 1 :]) for i in range(6)]
    assert sum(shares) == pytest.approx(1)
    expected = sum(share * history[2 * i] for i, share in enumerate(shares))
    torch.testing.assert_close(state.ema[name], expected)
    with state.ema_weights():
        torch.testing.assert_close(unet.state_dict()[name], expected)
        assert torch.equal(state.ema[name], history[-1])
    assert torch.equal(weight, history[-1])


def test_the_loss_falls_on_both_halves(place, tmp_path):
    recipe = {"steps": 60, "batch_size": 8, "learning_rate": 1e-2, "validate_every": 20, "log_every": 10}
    result = fit(place, tmp_path, place.dataset(augment=False), **recipe)
    rows = result.curve.rows
    for half, share in (("image", 0.75), ("layout", 0.5)):
        assert rows[-1][half] < share * rows[0][half], half
    measured = [row for row in rows if "val_image" in row]
    assert measured[-1]["val_layout"] < measured[0]["val_layout"]
    assert result.steps_run == 60 and read_curve(result.folder / "curve.csv") == rows


def test_model_folder_holds_the_average_and_its_facts(place, tmp_path):
    result = fit(place, tmp_path)
    unet, _, card = load_model(result.folder, expected=place.card)
    state, _ = load_tensors(tmp_path / "state" / "state.safetensors")
    for name, w in unet.state_dict().items():
        assert torch.equal(w, state[f"ema/unet.{name}"].half().float())
    assert not torch.equal(state["ema/unet.ends.0.heads.image.weight"], state["model/unet.ends.0.heads.image.weight"])
    assert card.training["domain"] == "tiny" and card.training["steps"] == 12 and card.training["device"] == "cpu"
    assert card.training["settings"]["learning_rate"] == RECIPE.learning_rate
    with open(result.folder / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6", "9", "12"]
    assert all(math.isfinite(float(row["val_image"])) for row in rows if row["step"] in ("6", "12"))


@pytest.mark.parametrize("half", ["image", "layout"])
def test_models_with_one_half_train(place, tmp_path, half):
    absent = {"image": {"num_classes": 0}, "layout": {"image_channels": 0}}[half]
    lone = replace(place, card=replace(place.card, unet=replace(place.card.unet, **absent)))
    rows = fit(lone, tmp_path, steps=4, log_every=2, validate_every=4).curve.rows
    assert half in rows[0] and not {"image", "layout"} - {half} & set(rows[0])
    assert f"val_{half}" in rows[-1]


def test_validation_repeats_itself(place):
    torch.manual_seed(0)
    unet = awake(UNet(place.card.unet))
    network, process, pairs = ConditionedUNet(unet), place.card.build()[1], place.dataset(augment=False)
    first, again, other = (validate(network, DiffusionLoss(process, RECIPE), pairs, seed=seed) for seed in (0, 0, 1))
    assert first == again != other and set(first) == {"image", "layout"}
    assert validate(network, DiffusionLoss(process, replace(RECIPE, seed=7)), pairs) == first
    assert validate(network, DiffusionLoss(process, replace(RECIPE, validate_pairs=0)), pairs) == {}


@given(st.integers(1, 2000), st.integers(1, 1000), st.integers(0, 3))
@settings(deadline=None)
def test_every_slice_of_the_times_is_validated_once(count, T, seed):
    """Slice i of n equal ones of 1..T holds the times t with i T / n < t <= (i + 1) T / n."""
    times = validation_times(count, T, seed)
    assert times.dtype == torch.int64 and 1 <= times.min() and times.max() <= T
    assert torch.equal(times, validation_times(count, T, seed))
    if count <= T:
        assert sorted(((times * count - 1) // T).tolist()) == list(range(count))
    else:  # slices narrower than a time: every time is taken, equally often up to one
        counts = torch.bincount(times, minlength=T + 1)[1:]
        assert counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_early_and_late_times_are_validated_alike(place, monkeypatch):
    """Of 128 pairs and T = 1000, as everywhere in the profiles: no cluster of early times."""
    seen = []

    class Network(torch.nn.Linear):
        def forward(self, x, y, log_snr_x, log_snr_y, tokens, mask, keep):
            seen.extend(log_snr_x.tolist())
            return Prediction(torch.zeros_like(x), torch.zeros(len(x), 5, *x.shape[2:]), {})

    process = replace(place.card, diffusion=replace(tiny.PROCESS, T=1000)).build()[1]
    pairs = [place.dataset(augment=False)[(i % 12, 0)] for i in range(128)]
    data = type("Pairs", (list,), {"text": place.text})(pairs)
    monkeypatch.setattr(type(data), "__getitem__", lambda self, item: pairs[item[0]])
    validate(Network(1, 1), DiffusionLoss(process, replace(RECIPE, validate_pairs=128)), data)
    assert len(seen) == 128
    early = process.gaussian.schedule.log_snr(torch.tensor([28]))
    assert sum(value >= float(early) for value in seen) in (3, 4)  # 128 * 28 / 1000 = 3.6
    first = torch.tensor(seen[:16])  # the order is mixed: neighbors in the split lie far apart in time
    assert not torch.equal(first, first.sort().values) and not torch.equal(first, first.sort(descending=True).values)


def test_brain_float_runs_and_comes_near(place, tmp_path):
    plain, brain = (fit(place, tmp_path / p, steps=6, precision=p).curve.rows for p in ("no", "bf16"))
    assert plain != brain
    for half in ("image", "layout", "val_image", "val_layout"):
        assert brain[-1][half] == pytest.approx(plain[-1][half], rel=0.1)


def test_precisions_of_two_runs_in_one_program(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    AcceleratorState._reset_state(reset_partial_state=True)
    for precision, computed, native in (("no", "no", True), ("bf16", "bf16", True), ("bf16", "no", False)):
        monkeypatch.setattr(processes, "has_bfloat16", lambda device, native=native: native)
        config, folder = replace(RECIPE, steps=1, precision=precision), tmp_path / f"{precision}-{native}"
        train(place.card, place.dataset(), config, folder, tmp_path / "model")
        assert AcceleratorState().mixed_precision == computed
        assert load_card(tmp_path / "model").training["precision"] == computed  # emulated bf16 would be slower

    with pytest.raises(ConfigError, match=r"train\.precision 'fp16' needs a GPU: set it to 'bf16' or 'no'"):
        train(place.card, place.dataset(), replace(RECIPE, precision="fp16"), tmp_path / "fp16", tmp_path / "model")

    def refuse(mixed_precision):
        raise ValueError(f"{mixed_precision} mixed precision requires a newer device")

    monkeypatch.setattr(processes, "Accelerator", refuse)
    with pytest.raises(ConfigError, match=r"train\.precision 'bf16' is impossible here: bf16 .* a newer device"):
        processes.make_accelerator("bf16")


def test_launched_processes_that_train_alone_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "Accelerator", lambda mixed_precision: SimpleNamespace(num_processes=1))
    assert processes.make_accelerator("no").num_processes == 1  # a cluster may set the variable without launching
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match=r"2 processes were launched but 1 found each other: .*ACCELERATE_USE_CPU=1"):
        processes.make_accelerator("no")


def test_captions_are_dropped_and_gradients_clipped_as_asked(place, tmp_path, monkeypatch):
    process, kept, clipped = place.card.build()[1], [], []

    def network(x, y, log_snr_x, log_snr_y, tokens, mask, keep):
        kept.append(keep.float().mean().item())
        return Prediction(x, torch.zeros(len(x), 5, 2, 2), {})

    x, y = torch.zeros(4000, 3, 2, 2), torch.zeros(4000, 2, 2, dtype=torch.int64)
    batch = {"x": x, "y": y, "tokens": x, "mask": x}
    for share in (0.0, 0.3, 1.0):
        DiffusionLoss(process, replace(RECIPE, text_drop=share))(network, batch, step_generator(0, 0, 0))
    assert kept == pytest.approx([1, 0.7, 0], abs=0.03)

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda self, parameters, norm: clipped.append(norm))
    for clip in (0.0, 0.7):
        fit(place, tmp_path / str(clip), steps=1, clip=clip)
    assert clipped == [0.7]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker:UserWarning")
def test_workers_change_nothing(place, tmp_path):
    alone, helped = (fit(place, tmp_path / str(n), steps=3, workers=n) for n in (0, 2))
    for ours, theirs in zip(*(load_model(r.folder)[0].parameters() for r in (alone, helped)), strict=True):
        assert torch.equal(ours, theirs)


def test_the_loader_can_be_sent_to_spawned_workers(place):
    loader = batches(place.dataset(), RECIPE, cpu(), text=place.text).iterable
    assert isinstance(loader, DataLoader)
    again, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    batch = collate([again[entry] for entry in loader.batch_sampler.batch(0)])
    assert torch.equal(batch["tokens"], next(iter(loader))["tokens"])


def test_curve_files(tmp_path):
    curve = Curve(tmp_path / "curve.csv")
    for value in (1.0, 3.0):
        curve.add({"image": torch.tensor(value)}, pairs=4)
    curve.log(2, 0.1, 0)
    curve.validated(3, {"image": 0.5})
    curve.flush()
    rows = read_curve(tmp_path / "curve.csv")
    assert rows[0]["image"] == 2.0 and rows[1] == {"step": 3, "val_image": 0.5}
    assert [row["step"] for row in Curve(tmp_path / "curve.csv", first_step=2).rows] == [2]
    (tmp_path / "curve.csv").write_text("step,image\n1,x\n")
    with pytest.raises(CheckpointError, match=r"curve\.csv is missing or damaged: delete it and train again"):
        Curve(tmp_path / "curve.csv")
