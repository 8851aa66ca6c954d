"""No result older than its code: every stage of dvc.yaml depends on all source files that its notebook reaches."""

import sys
from pathlib import Path

import pytest
import yaml

from gcdp import provenance

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from stage_dependencies import rewrite

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
REMEDY = "run `python tools/stage_dependencies.py`"


def sources(stage: dict) -> tuple[Path, list[Path]]:
    """Notebook of a stage, and the folders and files of source code among its dependencies."""
    deps = stage.get("do", stage)["deps"]
    (notebook,) = [path for path in deps if path.endswith(".ipynb")]
    return ROOT / notebook, [ROOT / path for path in deps if path.startswith("src/")]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_its_notebook_reaches(name):
    notebook, paths = sources(STAGES[name])
    reached = provenance.closure(provenance.notebook_imports(notebook))
    files = {provenance.module_path(module) for module in reached if module != "gcdp"}
    missing = [file for file in files if not any(file == path or path in file.parents for path in paths)]
    packages = [file for file in missing if file.name == "__init__.py"]  # of rooms named file by file: one docstring
    assert set(missing) <= set(packages), f"{name} lacks {sorted(set(missing) - set(packages))}: {REMEDY}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_nothing_that_its_notebook_does_not_reach(name):
    notebook, paths = sources(STAGES[name])
    files = {provenance.module_path(module) for module in provenance.closure(provenance.notebook_imports(notebook))}
    files |= {template for file in files for template in file.parent.glob(f"{file.stem}.*.jinja")}
    idle = [path for path in paths if not any(file == path or path in file.parents for file in files)]
    assert not idle, f"{name} depends on {idle} without need: {REMEDY}"


def test_the_tool_has_nothing_to_rewrite():
    text = (ROOT / "dvc.yaml").read_text()
    assert rewrite(text) == text, REMEDY


def test_the_sampler_is_code_of_whatever_samples():
    """What the gaps of a hand-written list left out: the chains, the network, and how a model is opened."""
    for name in ("sample", "evaluate"):
        notebook, _ = sources(STAGES[name])
        reached = provenance.closure(provenance.notebook_imports(notebook))
        method = {f"gcdp.diffusion.{part}" for part in ("categorical", "gaussian", "joint", "sampling", "schedules")}
        assert method | {"gcdp.network.unet"} <= reached
