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
from conftest import cpu_alone
from worlds import launched

import gcdp
from gcdp.errors import TrainingError
from gcdp.storage import load_tensors
from gcdp.training.curve import Curve, read_curve
from gcdp.training.distributed import OwnRows, lost_processes

PROGRAM = Path(launched.__file__)


def launch(jobs, timeout=240):
    """Run trainings, one after the other, with two processes; returns what came of the command."""
    paths = os.pathsep.join([str(PROGRAM.parents[1]), str(Path(gcdp.__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": paths, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(PROGRAM), json.dumps(jobs)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)


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
def place(tmp_path_factory):
    """A folder of trainings of eight steps: <processes>/<name>, and from5/<processes> that changed their number."""
    place = tmp_path_factory.mktemp("processes")
    jobs = {"adamw": {}, "muon": {"optimizer": "muon"}}

    def moved(started_with, steps):
        return {"folder": f"{place}/from5/{started_with}", "steps": steps, "optimizer": "muon"}

    def first(processes, **more):
        whole = [{"folder": f"{place}/{processes}/{name}", "steps": 8, **job} for name, job in {**jobs, **more}.items()]
        return [*whole, moved(processes, 5)]

    for alone, together in ((first(1), first(2, in_parts={"accumulate": 2})), ([moved(2, 8)], [moved(1, 8)])):
        with cpu_alone():
            for job in alone:
                launched.run(**job)
        done = launch(together)
        assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("name, whole", [("adamw", "adamw"), ("muon", "muon"), ("in_parts", "adamw")])
def test_two_processes_end_where_one_does(place, name, whole):
    one, two = place / "1" / whole, place / "2" / name
    assert_same_weights(one, two)
    for row, other in zip(rows(one), rows(two), strict=True):
        assert row == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(place, processes):
    assert_same_weights(place / "1" / "muon", place / "from5" / str(processes))


def test_one_dead_process_ends_all_soon_and_leaves_a_usable_checkpoint(place, tmp_path):
    """Its steps take a fraction of a second: from the last checkpoint to the end of all, most is the launcher's."""
    job, path = {"folder": str(tmp_path), "steps": 8}, tmp_path / "state" / "state.safetensors"
    done = launch([{**job, "die_at": 8}])
    assert time.time() - path.stat().st_mtime < 45
    assert done.returncode != 0 and "Signal 9 (SIGKILL)" in done.stderr
    told = [line for line in done.stderr.splitlines() if "another process of this training is gone" in line]
    assert any(line.endswith(f"; run again to go on from the checkpoint of step 5, {path}") for line in told)
    facts = json.loads(load_tensors(path)[1]["facts"])
    assert facts["step"] == 5 and not (tmp_path / "model").exists()  # the last checkpoint before it
    done = launch([job])
    assert done.returncode == 0, done.stderr
    assert_same_weights(place / "1" / "adamw", tmp_path)


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
