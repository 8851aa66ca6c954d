"""What a reader may rely on in every file: size, length, clean notebooks, stages that match."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from gcdp.experiments.profile import CHANGEABLE, load_profile

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_BYTES = 6 * 1024**2
MAX_LINES = {"src": 320, "tools": 320, "tests": 400}
MAX_CELL_LINES = 18
MARKER = "NBVAL_CHECK_OUTPUT"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
# A word before the slash makes it part of a relative path or of an address.
MACHINE_PATH = re.compile(r"(?<![\w.:/>}-])/(?:home|Users|root|work|mnt|scratch|private|tmp|opt)/[\w.-]+")
BINARY_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".pdf", ".npy", ".npz", ".safetensors"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def git_files(*options):
    """Files git lists, as paths; skips the test where there is no checkout to ask."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip(f"git cannot list this checkout: {listing.stderr.strip()}")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def is_plain_text(output):
    if output.output_type == "stream":
        return output.name == "stdout"
    return set(output.get("data", ())) == {"text/plain"}


def make_dry_run(target):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # The flags of an outer make (its job server among them) do not belong to this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "-n", target]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return run.stdout


def test_no_tracked_file_is_large():
    large = [path.relative_to(ROOT) for path in git_files() if path.stat().st_size > MAX_FILE_BYTES]
    assert not large, f"over 6 MB: {large}"


def test_no_generated_data_is_tracked():
    generated = re.compile(r"data/(?!README\.md)|results/(smoke|toy|toy-scratch)/|\.venv/|.*__pycache__/")
    tracked = [path.relative_to(ROOT).as_posix() for path in git_files()]
    assert not [name for name in tracked if generated.match(name)]


def test_no_text_names_a_path_of_one_machine():
    found = []
    for path in git_files():
        if path.suffix not in BINARY_SUFFIXES and path.stat().st_size <= MAX_FILE_BYTES:
            text = path.read_text(encoding="utf-8", errors="ignore")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["a " + "/" + "home/ann/x", '"' + "/" + "tmp/run1"])
def test_machine_paths_are_recognized(text):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["https://a.org/home/ann", "data/tmp/x", "${P}/tmp/x", "/path/to/x"])
def test_other_paths_are_not_taken_for_machine_paths(text):
    assert not MACHINE_PATH.search(text)


def test_modules_stay_short():
    for folder, limit in MAX_LINES.items():
        lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
        assert not {path.relative_to(ROOT).as_posix(): length for path, length in lengths.items() if length > limit}


def test_there_are_notebooks_and_profiles():
    assert NOTEBOOKS and {"smoke", "toy"} <= set(PROFILES)


@each_notebook
def test_notebook_is_stripped(path):
    for number, cell in enumerate(code_cells(path), start=1):
        assert "papermill" not in cell.metadata and "execution" not in cell.metadata
        if MARKER not in cell.source:
            clean = cell.execution_count is None and not cell.outputs
            assert clean, f"code cell {number} was left executed: run `make strip`"


@each_notebook
def test_checked_cells_hold_the_text_they_are_checked_against(path):
    for number, cell in enumerate(code_cells(path), start=1):
        if MARKER in cell.source:
            assert cell.outputs, f"code cell {number} is marked as checked but has no saved output"
            # Without a count nbval would pass the cell unread; any other count would change with each run.
            assert cell.execution_count == number, f"code cell {number}: run `make strip`"
            assert all(is_plain_text(output) for output in cell.outputs), f"code cell {number}: text only"


@each_notebook
def test_notebook_has_one_parameters_cell_and_kernel_python3(path):
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


@each_notebook
def test_notebook_cells_are_small(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= MAX_CELL_LINES


def test_notebooks_and_stages_match():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    run = {}
    for name, stage in stages.items():
        command = stage.get("do", stage)["cmd"]
        command = command if isinstance(command, str) else "\n".join(command)
        # Executed copies lie in another folder of that name, results/<profile>/notebooks.
        run[name] = set(re.findall(r"(?<![\w./}-])notebooks/([\w-]+\.ipynb)", command))
    assert all(run.values()), f"stages without a notebook: {[name for name in run if not run[name]]}"
    assert set().union(*run.values()) == {path.name for path in NOTEBOOKS}


def test_stages_run_for_what_is_selected_and_track_what_a_domain_changes():
    lists = (
        "domains",
        "attribute_domains",
        "class_domains",
        "referees",
        "studies",
        "features",
        "outpaintings",
        "directions",
        "tables",
        "enlargings",
        "strokes",
        "guidances",
    )
    each = {None, *(f"${{{name}}}" for name in (*lists, "models", "samples", "evaluations"))}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        assert (loop := stage.get("foreach", stage.get("matrix", {}).get("domain"))) in each, name
        content = stage.get("do", stage)
        assert {file for entry in content.get("params", ()) for file in entry} <= {"${settings}"}, name
        tracked = [key for entry in content.get("params", ()) for keys in entry.values() for key in keys]
        changeable = [key for key in tracked if key.partition(".")[0] in CHANGEABLE]
        assert not (loop and changeable) or "domains.${item.domain}" in tracked, name
        assert (loop == "${attribute_domains}") == name.startswith(("fig1_", "fig7_")), name


@pytest.mark.parametrize("name", PROFILES)
def test_profile_loads(name):
    load_profile(name)


def test_shell_scripts_can_be_read_and_run():
    for path in git_files("*.sh", ".ci/run"):
        assert subprocess.run(["bash", "-n", path]).returncode == 0
        assert os.access(path, os.X_OK), f"{path} cannot be run: chmod +x"


def test_license_is_the_declared_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^(exec )?make test\b", script.read_text(), flags=re.MULTILINE)


def test_make_test_runs_all_tests_with_the_pipeline_beside_them():
    plan = make_dry_run("test")
    assert re.search(r"pytest tests -n 2 --dist loadfile", plan) and "--ignore" not in plan
    assert (ROOT / "tests" / "pipeline" / "test_smoke.py").is_file()
