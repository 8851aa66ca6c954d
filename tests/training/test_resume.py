"""An interrupted run that continues ends with the weights and the curve of an uninterrupted one, to the bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import tiny
from worlds.tiny import Deadly, cpu, curve_without_speed, fit

import gcdp.experiments.datasets as datasets
import gcdp.experiments.runs as runs
import gcdp.experiments.train as train
import gcdp.training.diffusion as training
from gcdp.errors import TrainingError
from gcdp.experiments.profile import load_profile
from gcdp.storage import load_tensors
from gcdp.training.checkpoint import load_model
from gcdp.training.curve import read_curve
from gcdp.training.distributed import graceful_stop
from gcdp.training.state import TrainingState

TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS), os.environ.get("PYTHONPATH", "")]),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """The uninterrupted run of 12 steps, with a checkpoint every 5, in each precision asked for."""
    done = {}

    def of(precision: str = "no"):
        if precision not in done:
            done[precision] = fit(place, tmp_path_factory.mktemp(f"whole-{precision}"), precision=precision)
        return done[precision]

    return of


def assert_same(result, whole) -> None:
    ours, theirs = (load_model(r.folder)[0].state_dict() for r in (result, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert curve_without_speed(result) == curve_without_speed(whole)
    for state in ("model", "ema", "optimizer"):
        (ours, _), (theirs, _) = (
            load_tensors(r.folder.parents[0] / "state" / "state.safetensors") for r in (result, whole)
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs if key.startswith(state))


def stopped(place, folder, step: int, signum=signal.SIGTERM, **recipe) -> TrainingError:
    """Train until the process sends itself `signum` while it reads the batch of `step` (from 1)."""
    pairs = place.dataset(cls=Deadly)
    pairs.signum, pairs.at = signum, (step - 1) * tiny.RECIPE.batch_size + 2
    with pytest.raises(TrainingError) as caught:
        fit(place, folder, pairs, **recipe)
    return caught.value


@pytest.mark.parametrize("step", [1, 4, 6, 11])
def test_a_stop_at_any_step_leaves_no_trace(place, whole, tmp_path, step):
    message = str(stopped(place, tmp_path, step))
    assert message == f"training was interrupted at step {step} of 12; run again to go on from there"
    assert not (tmp_path / "model").exists()
    result = fit(place, tmp_path)
    assert result.steps_run == 12 - step
    assert_same(result, whole())


def test_mixed_precision_resumes_to_the_bit(place, whole, tmp_path):
    stopped(place, tmp_path, 7, precision="bf16")
    assert_same(fit(place, tmp_path, precision="bf16"), whole("bf16"))


def test_the_scale_of_half_precision_is_kept(place, tmp_path):
    def fresh(accelerator):
        unet = place.card.build()[0]
        optimizer = accelerator.prepare(torch.optim.AdamW(unet.parameters()))
        return TrainingState(unet, optimizer, 0.9, tmp_path, "hash", accelerator)

    def half_precision():
        accelerator = cpu()
        accelerator.scaler = torch.amp.GradScaler("cpu")
        return accelerator

    state = fresh(half_precision())
    state.accelerator.scaler.load_state_dict(state.accelerator.scaler.state_dict() | {"scale": 128.0})
    state.save(3, {})
    again = fresh(half_precision())
    assert again.resume() == again.last_saved == 3 and again.accelerator.scaler.get_scale() == 128


def test_two_stops_and_other_intervals(place, whole, tmp_path):
    stopped(place, tmp_path, 4, signal.SIGINT, checkpoint_every=3)
    stopped(place, tmp_path, 4, checkpoint_every=2)  # its fourth step is step 8 of the run
    assert read_curve(tmp_path / "state" / "curve.csv")[-1]["step"] == 6
    result = fit(place, tmp_path, checkpoint_every=12)
    assert result.steps_run == 4
    assert_same(result, whole())


def test_a_stop_at_the_last_step_is_no_interruption(place, whole, tmp_path):
    pairs = place.dataset(cls=Deadly)
    pairs.signum, pairs.at = signal.SIGTERM, 12 * tiny.RECIPE.batch_size
    assert_same(fit(place, tmp_path, pairs), whole())


def test_a_finished_run_is_only_written_again(place, whole, tmp_path):
    fit(place, tmp_path)
    (tmp_path / "model" / "model.safetensors").unlink()
    result = fit(place, tmp_path)
    assert result.steps_run == 0
    assert_same(result, whole())


def test_a_killed_process_resumes_from_its_checkpoint(place, whole, tmp_path):
    """SIGKILL while the batch of step 8 is read: the process has no time for anything."""
    command = [
        sys.executable,
        str(TESTS / "worlds" / "tiny.py"),
        str(tmp_path),
        "12",
        str(7 * tiny.RECIPE.batch_size + 2),
    ]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == -signal.SIGKILL
    state = tmp_path / "state"
    assert sorted(os.listdir(state)) == ["curve.csv", "state.safetensors"] and not (tmp_path / "model").exists()
    result = fit(place, tmp_path)
    assert result.steps_run == 7
    assert_same(result, whole())


def test_a_kill_between_curve_and_state_loses_no_row(place, whole, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(self, step, pending):
        raise Killed

    stopped(place, tmp_path, 6)
    monkeypatch.setattr("gcdp.training.state.TrainingState.save", die)
    with pytest.raises(Killed):
        fit(place, tmp_path)
    monkeypatch.undo()
    assert read_curve(tmp_path / "state" / "curve.csv")[-1]["step"] == 9
    assert_same(fit(place, tmp_path), whole())


@pytest.fixture
def repository(place, tmp_path, monkeypatch):
    """A repository with a profile `tiny` whose data are the tiny world's."""
    (tmp_path / "params").mkdir()
    (tmp_path / "dvc.yaml").touch()
    unet = {
        "layout_embedding": 4, "stem_width": 8, "stem_kernels": [3], "widths": [8, 16], "blocks": [1, 1],
        "self_attention": [False, True], "cross_attention": [False, True], "heads": 2, "head_width": 8,
        "time_width": 16, "context_width": 16, "context_latents": 3, "resampler_depth": 1,
    }  # fmt: skip
    profile = {
        "domains": {"streets": {"source": "toy_streets", "size": list(tiny.SIZE), "counts": {}}},
        "unet": unet,
        "models": {"joint": {}},
        "train": {
            "steps": 48,
            "batch_size": 4,
            "ema_every": 1,
            "log_every": 7,
            "checkpoint_every": 4,
            "validate_every": 24,
        },
    }
    (tmp_path / "params" / "tiny.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "open_source", lambda kind, root: tiny.Scenes())
    monkeypatch.setattr(datasets, "_draw", lambda *arguments: None)
    monkeypatch.setattr(datasets, "load_encoder", lambda *args, **settings: tiny.StubEncoder())
    for prepare in (datasets.prepare_pairs, datasets.prepare_captions, datasets.prepare_text):
        prepare(load_profile("tiny"), "streets")
    return tmp_path


def launch(repository, *arguments):
    command = [sys.executable, *arguments, "-m", "gcdp.experiments.train", "--profile", "tiny"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=repository, env=ENVIRONMENT, text=True, **pipes)


def test_a_terminated_command_says_one_sentence_and_goes_on(repository):
    process = launch(repository)
    state = repository / "results/tiny/checkpoints/streets-joint/state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    complaint = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 1 and "Traceback" not in "".join(complaint)
    assert complaint[-1].startswith("error: training was interrupted at step ")
    assert complaint[-1].endswith(" of 48; run again to go on from there")

    run = runs.prepare_run("tiny", "streets", "joint")
    rest = training.train(run.card, run.pairs, run.config, run.state_folder, run.model_folder, run.validation, cpu())
    assert 0 < rest.steps_run < 48
    fresh = repository / "fresh"
    whole = training.train(run.card, run.pairs, run.config, fresh / "state", fresh / "model", run.validation, cpu())
    assert curve_without_speed(rest) == curve_without_speed(whole)
    for ours, theirs in zip(*(load_model(r.folder)[0].parameters() for r in (rest, whole)), strict=True):
        assert torch.equal(ours, theirs)


def test_a_command_without_data_says_one_sentence(repository, monkeypatch):
    (repository / "data/tiny/streets/text/index.json").unlink()
    monkeypatch.setattr(sys, "argv", ["training", "--profile", "tiny"])
    with pytest.raises(SystemExit, match=r"^error: .*text/index\.json does not exist: encode the captions first\.$"):
        train.main()
    monkeypatch.setattr(sys, "argv", ["training", "--profile", "tinny"])
    with pytest.raises(SystemExit, match=r"^error: profile 'tinny' is unknown: choose one of tiny, or add"):
        train.main()


def test_two_processes_train_one_model(repository):
    path = repository / "params" / "tiny.yaml"
    path.write_text(path.read_text().replace("steps: 48", "steps: 8"))
    process = launch(repository, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    output, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert output.count("model written to") == 1
    unet, _, card = load_model(repository / "results/tiny/models/streets-joint")
    assert card.training["processes"] == 2 and all(head.weight.any() for head in unet.heads.values())
    assert [row["step"] for row in read_curve(repository / "results/tiny/models/streets-joint/curve.csv")] == [7, 8]
    assert runs.prepare_run("tiny", "streets", "joint").card.hash() == card.hash()


@given(st.lists(st.sampled_from([signal.SIGINT, signal.SIGTERM]), max_size=3))
@settings(deadline=None)
def test_signals_are_noted_and_handlers_restored(signals):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with graceful_stop() as stop:
        for signum in signals:
            signal.raise_signal(signum)
        assert stop.requested == bool(signals)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
