"""Every notebook of the paper's profiles, run on drawn scenes in the form of its data (`worlds.paper`).

The cells of all stages run in one process, stage after stage in the order of dvc.yaml: a kernel for each notebook, as
`dvc repro` starts it, would take longer than what it runs. Left out are `cost` and Fig. 4, which read no data.

A profile takes five minutes and more of a core, too long for every commit: set GCDP_DRY_RUNS=1 to run them.
"""

import json
import os

import pytest
from worlds.paper import write_paper
from worlds.programs import copy_sources, run

from gcdp.storage import read_json

SOURCES = ("notebooks", "params", "src", "results/reference/tuning", ".dvc", "dvc.yaml")
PROGRAM = """
import sys
from pathlib import Path

import nbformat
import yaml
from dvc.repo import Repo

from gcdp.experiments.selection import use

use(sys.argv[1])
order = list(yaml.safe_load(Path("dvc.yaml").read_text())["stages"])
stages = sorted(Repo(".").index.stages, key=lambda stage: order.index(stage.addressing.partition("@")[0]))
for stage in stages:
    words = stage.cmd.split()
    source = next(word for word in words if word.startswith("notebooks/"))
    if source in ("notebooks/cost.ipynb", "notebooks/fig4_distribution.ipynb"):
        continue
    given = {words[i + 1]: yaml.safe_load(words[i + 2]) for i, word in enumerate(words) if word == "-p"}
    print("stage", stage.addressing, flush=True)
    names = {"__name__": "__main__"}
    for cell in nbformat.read(source, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{source}:{cell.id}", "exec"), names)
            names |= given if "parameters" in cell.metadata.get("tags", ()) else {}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the sources with a profile for each dataset."""
    folder = tmp_path_factory.mktemp("dry")
    copy_sources(folder, SOURCES)
    (folder / "weights").mkdir()
    (folder / "weights" / "README.md").touch()
    (folder / "dry_run.py").write_text(PROGRAM)
    run(folder, "dvc", "config", "--local", "core.no_scm", "true")
    return folder


@pytest.mark.skipif(not os.environ.get("GCDP_DRY_RUNS"), reason="minutes a profile: set GCDP_DRY_RUNS=1")
@pytest.mark.parametrize("name", ["cityscapes", "celeba"])
def test_every_notebook_of_the_paper_s_profile_runs(repository, monkeypatch, name):
    monkeypatch.chdir(repository)
    profile = write_paper(repository, name)
    output = run(repository, "dry_run", profile)
    stages = [line.removeprefix("stage ") for line in output.splitlines() if line.startswith("stage ")]
    assert stages[0].startswith("data@") and stages[-1] == "report"
    results = repository / "results" / profile
    domain = "streets" if name == "cityscapes" else "faces"
    assert (results / "tables" / f"table1_{domain}.md").is_file() and (results / "tables" / "summary.md").is_file()
    scored = {path.stem for path in (results / "metrics/evaluation").glob("*/*.json")}
    assert {"joint", "gaussian", "latent", "resized", "cascade"} <= scored
    assert ({"two_stage", "pixel_classifier"} <= scored) == (name == "cityscapes")
    if name == "celeba":
        claim = json.loads((results / "metrics/faces.json").read_text())["claim"]
        assert claim["pairs"] == [3, 6, 12] and len(claim["seeds"]) == 2  # a quarter, a half and all
        assert (results / "figures/fig7_clip_tradeoff_faces.png").is_file()
    else:
        record = read_json(results / "metrics/referee/streets.json", "run 04_evaluators")
        assert record["referee"].startswith("segformer")
