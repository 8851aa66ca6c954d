"""Pairs drawn by several processes are those of one, to the bit. Seed 3."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from worlds import launched_sweep
from worlds.places import make_repository

import gcdp
from gcdp.experiments import draw, models
from gcdp.experiments.datasets import held_out
from gcdp.experiments.runs import prepare_run, sweep_folder
from gcdp.experiments.sharing import of_the_first, place_in_launch
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import save_model

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_evaluate.ipynb"
PROGRAM = Path(launched_sweep.__file__)


@pytest.mark.parametrize("processes", [2])
def test_processes_draw_the_pairs_of_one_and_the_first_keeps_them(tmp_path, processes):
    paths = os.pathsep.join([str(PROGRAM.parents[1]), str(Path(gcdp.__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": paths, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(PROGRAM), str(tmp_path / "shared")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
    assert done.returncode == 0, done.stderr
    for number, alone in enumerate(launched_sweep.drawings(tmp_path / "alone")):
        for rank in range(processes):
            shared = Samples.load(tmp_path / "shared" / str(rank) / str(number))
            assert shared.captions == alone.captions and shared.seeds == alone.seeds
            assert shared.settings == alone.settings
            for ours, theirs in ((shared.images, alone.images), (shared.layouts, alone.layouts)):
                assert np.array_equal(ours, theirs)
    one, several = (sorted((tmp_path / name).rglob("*.npy")) for name in ("alone", "shared/kept"))
    assert [path.relative_to(tmp_path / "alone") for path in one] == [
        path.relative_to(tmp_path / "shared/kept") for path in several
    ]
    assert all(ours.read_bytes() == theirs.read_bytes() for ours, theirs in zip(one, several, strict=True))


def test_each_process_draws_its_share_alone(tmp_path, monkeypatch):
    """Two shares of five captions, one after the other: what the first draws and what the second does."""
    whole = next(launched_sweep.drawings(tmp_path / "whole"))
    for rank, rows in ((0, slice(0, 2)), (1, slice(2, 5))):
        asked, model = [], launched_sweep.pipeline()
        sample = model.sample
        model.sample = lambda captions, **keywords: asked.append(captions) or sample(captions, **keywords)  # noqa: B023
        monkeypatch.setattr("gcdp.experiments.sweep.place_in_launch", lambda: (rank, 2))  # noqa: B023
        monkeypatch.setattr("gcdp.experiments.sharing.place_in_launch", lambda: (rank, 2))  # noqa: B023
        monkeypatch.setattr("torch.distributed.broadcast_object_list", lambda answer, src: None)
        monkeypatch.setattr("torch.distributed.all_gather_object", lambda parts, own: parts.__setitem__(0, own))
        own = next(launched_sweep.drawings(tmp_path / str(rank), model))
        assert asked == [list(launched_sweep.CAPTIONS[rows])]
        assert np.array_equal(own.images, whole.images[rows]) and own.seeds == whole.seeds[rows]


def test_without_a_launch_there_is_one_process():
    assert place_in_launch() == (0, 1) and of_the_first(lambda: 7) == 7


def test_the_command_draws_what_the_evaluation_reads(monkeypatch, tmp_path):
    """Every guidance of both splits, and without text; one guidance needs no choice on validation captions."""
    drawn = []

    class Kept:
        def __init__(self, split):
            self.split = split

        def draw(self, guidance):
            drawn.append((self.split, guidance))
            return "ab"

    class Settings:
        class sampling:
            guidances = (1.0, 2.0)

    monkeypatch.setattr(draw, "evaluation_sweeps", lambda *names: {split: Kept(split) for split in ("val", "test")})
    assert draw.draw_evaluation(Settings, "streets", "joint") == 2 * 5
    assert drawn == [("val", 1.0), ("val", 2.0), ("test", 1.0), ("test", 2.0), ("test", 0.0)]
    Settings.sampling.guidances = (3.0,)
    assert draw.draw_evaluation(Settings, "streets", "joint") == 2 * 2


def test_it_draws_by_the_sweeps_of_the_notebook(repository):
    """The cell of `07_evaluate` that makes them, without its referee, and the command: same folders, same identity."""
    profile = make_repository(repository)
    run = prepare_run(profile, "streets", "joint")
    save_model(run.model_folder, UNet(run.card.unet).state_dict(), run.card)
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = [cell.source for cell in cells if cell.cell_type == "code" and "= Sweep(" in cell.source]
    names = {"settings": profile, "domain": "streets", "model": "joint", "chosen": profile.evaluate}
    names |= {"generator": models.open_model(profile, "streets", "joint"), "referee": SimpleNamespace(read=len)}
    names |= {
        "RealReference": lambda *of: None,
        "held_out": held_out,
        "sweep_folder": sweep_folder,
        "weight_files": models.weight_files,
        "Sweep": Sweep,
    }
    exec(cell, names)
    ours = draw.evaluation_sweeps(profile, "streets", "joint")
    for split, sweep in names["sweeps"].items():
        assert (ours[split].folder, ours[split].identity) == (sweep.folder, sweep.identity)
    assert ours.keys() == names["sweeps"].keys()
