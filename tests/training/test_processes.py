"""Several processes train what one trains: losses, weights, resuming, and the end when one of them dies. Seed 1.

Two processes on one machine, which talk by gloo.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from worlds import tiny

import gcdp
from gcdp.errors import TrainingError
from gcdp.storage import load_tensors
from gcdp.training.curve import Curve, read_curve
from gcdp.training.distributed import OwnRows, lost_processes

PROGRAM = Path(tiny.__file__).with_name("launched.py")


def launch(folder, processes, optimizer="adamw", steps=8, die_at=0, timeout=240, accumulate=1):
    """Run the training with so many processes; returns what came of the command."""
    paths = os.pathsep.join([str(PROGRAM.parents[1]), str(Path(gcdp.__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": paths, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    args = [str(folder), str(steps), str(die_at), f'optimizer="{optimizer}"', f"accumulate={accumulate}"]
    return subprocess.run([*command, str(PROGRAM), *args], capture_output=True, text=True, timeout=timeout, env=env)


def weights(folder):
    return load_tensors(folder / "state" / "state.safetensors")[0]


def assert_same_weights(one, other):
    """Weights and their average, but for biases that the next normalization takes out again: groups have one
    channel here, so that their gradient is rounding alone, which Adam scales up."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if name.startswith("optimizer/") or name.endswith("conv1.bias"):
            continue
        torch.testing.assert_close(value, second[name], atol=2e-5, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}")


def rows(folder):
    return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in read_curve(folder / "model/curve.csv")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Folders of runs of one process, made when they are asked for."""
    made = {}

    def run(optimizer):
        if optimizer not in made:
            made[optimizer] = tmp_path_factory.mktemp(f"alone-{optimizer}")
            done = launch(made[optimizer], 1, optimizer)
            assert done.returncode == 0, done.stderr
        return made[optimizer]

    return run


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_processes_end_where_one_does(alone, tmp_path, optimizer):
    done = launch(tmp_path, 2, optimizer)
    assert done.returncode == 0, done.stderr
    assert_same_weights(alone(optimizer), tmp_path)
    for one, other in zip(rows(alone(optimizer)), rows(tmp_path), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_two_processes_that_take_their_batch_in_parts_end_there_too(alone, tmp_path):
    done = launch(tmp_path, 2, accumulate=2)
    assert done.returncode == 0, done.stderr
    assert_same_weights(alone("adamw"), tmp_path)
    for one, other in zip(rows(alone("adamw")), rows(tmp_path), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("numbers", [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(alone, tmp_path, numbers):
    for processes, steps in zip(numbers, (5, 8), strict=True):
        done = launch(tmp_path, processes, "muon", steps)
        assert done.returncode == 0, done.stderr
    assert_same_weights(alone("muon"), tmp_path)


def test_one_dead_process_ends_all_soon_and_leaves_a_usable_checkpoint(alone, tmp_path):
    """Its steps take a fraction of a second: from the last checkpoint to the end of all, most is the launcher's."""
    done, path = launch(tmp_path, 2, die_at=8), tmp_path / "state" / "state.safetensors"
    assert time.time() - path.stat().st_mtime < 45
    assert done.returncode != 0 and "Signal 9 (SIGKILL)" in done.stderr
    told = [line for line in done.stderr.splitlines() if "another process of this training is gone" in line]
    assert any(line.endswith(f"; run again to go on from the checkpoint of step 5, {path}") for line in told)
    facts = json.loads(load_tensors(path)[1]["facts"])
    assert facts["step"] == 5 and not (tmp_path / "model").exists()  # the last checkpoint before it
    done = launch(tmp_path, 2)
    assert done.returncode == 0, done.stderr
    assert_same_weights(alone("adamw"), tmp_path)


def test_only_a_lost_process_is_called_that():
    one, two = (SimpleNamespace(num_processes=count) for count in (1, 2))
    gone = "Connection closed by peer [127.0.0.1]:1 (gloo)"
    for accelerator, error in ((two, RuntimeError("shapes differ")), (one, RuntimeError(gone))):
        with pytest.raises(RuntimeError, match=str(error).split()[0]), lost_processes(accelerator, str):
            raise error
    before = signal.getsignal(signal.SIGTERM)
    for error in (RuntimeError(gone), torch.distributed.DistBackendError("NCCL error")):
        with pytest.raises(TrainingError, match=r"is gone .*; run again"), lost_processes(two, lambda: "run again"):
            raise error
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # the launcher's would cut the sentence short
        signal.signal(signal.SIGTERM, before)


class Draws:
    """A loss that keeps what it drew."""

    def prepare(self, batch, generator):
        return {"x": batch["x"], "noise": torch.randn(len(batch["x"]), 2, generator=generator)}

    def compute(self, forward, given):
        return given


def test_processes_share_out_the_random_numbers_of_one():
    x = torch.arange(6.0)
    alone = Draws().prepare({"x": x}, torch.Generator().manual_seed(3))
    parts = [
        OwnRows(Draws(), rank, 3)(
            None, {"x": x[2 * rank : 2 * rank + 2], "key": "text"}, torch.Generator().manual_seed(3)
        )
        for rank in range(3)
    ]
    for name in ("x", "noise"):
        assert torch.equal(torch.cat([part[name] for part in parts]), alone[name])


def test_a_row_of_the_curve_is_the_mean_of_all_processes(tmp_path):
    curve = Curve(tmp_path / "curve.csv")
    curve.add({"image": torch.tensor(2.0), "layout": torch.tensor(4.0)}, 3)
    several = SimpleNamespace(
        num_processes=2, device="cpu", reduce=lambda own, how: (own + torch.tensor([4.0, 0.0])) / 2
    )
    curve.average(several)
    curve.log(1, 0.1, 0)
    assert (curve.rows[0]["image"], curve.rows[0]["layout"]) == (3, 2)
    curve.average(SimpleNamespace(num_processes=2))  # nothing was collected since
