"""The pipeline as a user runs it: `dvc repro` of the smoke profile in a copy of the checkout, twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from gcdp.experiments.profile import load_profile
from gcdp.experiments.selection import selected, use

ROOT = Path(__file__).resolve().parents[2]
FACES_MODELS = ("joint", "gaussian", "latent")
SOURCES = ("notebooks", "params", "src", "tools", "weights", ".dvc/config", ".dvcignore", "dvc.yaml", "pyproject.toml")


def run(folder, *command):
    """Run a program of this environment in `folder`, with the copied sources in front; returns its output."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the sources with the smoke profile chosen and the whole pipeline run once."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copyfile(source, target)
    run(folder, "dvc", "config", "--local", "core.no_scm", "true")
    run(folder, "gcdp.experiments.selection", "smoke")
    run(folder, "dvc", "repro")
    return folder


def test_every_stage_leaves_its_figures_metrics_and_executed_notebook(repository):
    results = repository / "results" / "smoke"
    for name in ("fig2_datasets", "fig3_process", "fig4_distribution", "fig5_samples"):
        figure = results / "figures" / f"{name}.png"
        assert figure.stat().st_size > 10_000 and figure.with_suffix(".pdf").is_file()
    models = load_profile("smoke").models
    training = json.loads((results / "metrics" / "training.json").read_text())
    assert set(training["streets"]) == {name for name, model in models.items() if model.trained}
    assert set(training["faces"]) == set(FACES_MODELS)
    listed = ("fig6_recall_tradeoff", "fig6_correspondence", "fig6_classes")
    described = ("fig1_attribute_recall", "fig1_chance", "fig7_clip_tradeoff", "fig7_gain")
    for name, domains in {
        **dict.fromkeys(("claim", "referee"), ("streets", "faces")),
        **dict.fromkeys(listed, ("streets",)),
        **dict.fromkeys(described, ("faces",)),
    }.items():
        for domain in domains:
            assert (results / "figures" / f"{name}_{domain}.png").stat().st_size > 10_000
            assert (results / "figures" / f"{name}_{domain}.pdf").is_file()
    assert not [*results.glob("figures/fig[17]*streets*"), *results.glob("figures/fig6*faces*")]
    sources = {path.stem for path in (repository / "notebooks").glob("*.ipynb")}
    executed = {path.stem.split("-")[0]: path for path in (results / "notebooks").glob("*.ipynb")}
    assert set(executed) == sources
    assert max(path.stat().st_size for path in executed.values()) <= 1_000_000


def test_every_scored_model_has_its_scores_and_its_rows(repository):
    results, evaluated = repository / "results" / "smoke", load_profile("smoke").evaluate.models
    streets = json.loads((results / "metrics" / "streets.json").read_text())
    assert {"ceiling", "claim", *evaluated} <= set(streets)
    for model in evaluated:
        row = streets[model]
        record = json.loads((results / "metrics" / "evaluation" / f"streets-{model}.json").read_text())
        assert [point["guidance"] for point in record["curve"]["points"]] == [1.0, 2.0]  # the grid of every model
        for measure in ("semantic_recall", "semantic_recall_pooled", "precision", "frechet", "fsd"):
            assert row[measure]["low"] <= row[measure]["value"] <= row[measure]["high"] and row[measure]["n"] == 8
        assert ("miou" in row) == ("miou_all" in row) == (model not in ("gaussian", "latent")) and row["guidance"] >= 1
    claim = streets["claim"]
    assert len(claim["seeds"]) == 2 and claim["pairs"] == [24, 48]
    names = ("semantic_recall", "semantic_recall_pooled", "semantic_recall_area", "f1", "frechet")
    assert all(set(claim[name]) == {"value", "low", "high"} for name in names)
    table = (results / "tables" / "table1_streets.md").read_text()
    assert table.count("without text") == len(evaluated) + 4 and table.count("with text |") == len(evaluated)


def test_faces_are_scored_by_their_attributes_on_three_numbers_of_pairs(repository):
    results = repository / "results" / "smoke"
    faces = json.loads((results / "metrics" / "faces.json").read_text())
    assert {"ceiling", "claim", "subsets", "attributes", "alignment", *FACES_MODELS} <= set(faces)
    assert faces["claim"]["pairs"] == [12, 24, 48] and set(faces["subsets"]) == set(FACES_MODELS)
    points = [faces["ceiling"], *(faces[model] for model in FACES_MODELS)]
    for rows in faces["subsets"].values():
        assert list(rows) == ["12", "24", "48"]
        points += rows.values()
    for point in points:
        for measure in ("attribute_recall", "alignment"):
            assert point[measure]["low"] <= point[measure]["value"] <= point[measure]["high"]
            assert point["chance"][measure]["value"] is not None
        assert point["per_attribute"].keys() == faces["ceiling"]["per_attribute"].keys()
    assert faces["alignment"]["name"] == "toy alignment score" and 0 <= faces["attributes"]["macro_recall"] <= 1
    assert {"attribute_recall", "alignment", "frechet"} <= set(faces["claim"])
    assert "attribute_recall" not in json.loads((results / "metrics" / "streets.json").read_text())["ceiling"]
    study = json.loads((results / "study" / "faces" / "study.json").read_text())
    assert set(study["sweeps"]) == set(study["trials"]) and len(study["trials"]) == 9
    assert not {"precision", "precision_1px", "f1"} & {*faces["ceiling"], *faces["claim"], *faces["joint"]}
    assert (results / "tables" / "attributes_faces.md").read_text().count("\n| ") > 10


def test_a_second_run_runs_nothing(repository):
    output = run(repository, "dvc", "repro")
    assert "Running stage" not in output and "up to date" in output


def test_a_stage_run_again_gives_the_same_bytes(repository):
    executed = repository / "results" / "smoke" / "notebooks" / "fig3_process.ipynb"
    figure = repository / "results" / "smoke" / "figures" / "fig3_process.png"
    before = executed.read_bytes(), figure.read_bytes()
    run(repository, "dvc", "repro", "--force", "--single-item", "fig3_process")
    assert (executed.read_bytes(), figure.read_bytes()) == before


def test_a_change_of_the_sampler_does_not_train_again(repository):
    sampler = repository / "src" / "gcdp" / "sampling.py"
    sampler.write_text(sampler.read_text() + "\n# a comment\n")
    status = run(repository, "dvc", "status")
    for domain in ("streets", "faces"):
        assert f"sample@{domain}-joint" in status and f"train@{domain}-joint" not in status
        assert f"data@{domain}" not in status


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A repository of profiles and stages alone."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copytree(ROOT / "params", folder / "params")
    shutil.copy(ROOT / "dvc.yaml", folder)
    run(folder, "dvc", "init", "--no-scm", "--quiet")
    return folder


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "params").glob("*.yaml")))
def test_dvc_understands_the_stages_of_every_profile(bare, monkeypatch, name):
    """Whether a domain or a model has a stage follows from the profile; a profile without faces has no Fig. 1."""
    monkeypatch.chdir(bare)
    use(name)
    found, chosen = set(run(bare, "dvc", "stage", "list", "--name-only").split()), selected()
    groups = {"train": "models", "sample": "samples", "evaluate": "evaluations"}
    assert {stage for stage in found if stage.partition("@")[0] in groups} == {
        f"{stage}@{key}" for stage, kind in groups.items() for key in chosen[kind]
    }
    for figure in ("fig1_attribute_recall", "fig7_clip_tradeoff"):
        of_figure = {stage for stage in found if stage.startswith(figure)}
        assert of_figure == {f"{figure}@{domain}" for domain in chosen["attribute_domains"]}
    assert {f"{stage}@{domain}" for stage in ("data", "evaluators", "claim") for domain in chosen["domains"]} <= found


def own(stage, start):
    """Dependencies of a stage below `start`."""
    return {str(dep.def_path) for dep in stage.deps if str(dep.def_path).startswith(start)}


def test_every_stage_depends_on_its_own_weights_models_and_domain(bare, monkeypatch):
    """So that one new model, or a change of one domain, runs no stage of another again."""
    monkeypatch.chdir(bare)
    use("toy")
    stages = {stage.addressing: stage for stage in Repo(str(bare)).index.stages}
    for name, stage in stages.items():
        domain = name.partition("@")[2].partition("-")[0]
        seen = {key for dep in stage.deps for key in getattr(dep, "params", ())}
        assert {key for key in seen if key.startswith("domains")} <= {f"domains.{domain}"}, name
        assert not {"models", "sample", "evaluate"} & seen or name.startswith("claim"), name
    assert own(stages["train@streets-joint"], "weights") == {"weights/toy-streets-joint"}
    assert own(stages["evaluators@streets"], "weights") == {"weights/toy-streets-referee"}
    assert own(stages["evaluators@faces"], "weights") == {
        f"weights/toy-faces-{what}" for what in ("referee", "attributes", "alignment")
    }
    assert own(stages["claim@faces"], "weights") == {"weights/toy-faces-study"}
    models = "results/toy/models/"
    for stage in ("sample@faces-joint", "evaluate@faces-joint"):
        assert own(stages[stage], models) == {f"{models}faces-joint", f"{models}faces-joint/config.json"}
    assert own(stages["evaluate@streets-two_stage"], models) == {
        f"{models}streets-layout_first", f"{models}streets-image_given_layout"
    }  # fmt: skip
