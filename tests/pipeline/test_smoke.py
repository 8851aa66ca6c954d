"""The pipeline as a user runs it: `dvc repro` of the smoke profile in a copy of the checkout, and every notebook."""

import json
import re

import pytest
from worlds.programs import copy_sources, run

from gcdp.experiments.profile import load_profile
from gcdp.experiments.study_record import Study

STUDIED = {"joint", "gaussian", "joint_paper_settings", "gaussian_same_time"}
SOURCES = (
    "notebooks", "params", "src", "tools", "weights", "results/reference/tuning", ".dvc/config", ".dvcignore",
    "dvc.yaml", "pyproject.toml",
)  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the sources with the smoke profile chosen and the whole pipeline run once."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_sources(folder, SOURCES)
    run(folder, "dvc", "config", "--local", "core.no_scm", "true")
    run(folder, "gcdp.experiments.selection", "smoke")
    run(folder, "tools.repro")
    return folder


def test_every_stage_leaves_its_figures_metrics_and_executed_notebook(repository):
    results = repository / "results" / "smoke"
    for name in ("fig2_datasets", "fig3_process", "fig4_distribution", "fig5_samples"):
        figure = results / "figures" / f"{name}.png"
        assert figure.stat().st_size > 10_000 and figure.with_suffix(".pdf").is_file()
    models = load_profile("smoke").models
    training = json.loads((results / "metrics" / "training.json").read_text())
    trained = {name for name, model in models.items() if model.trained and model.kind != "enlarger"}
    repeated = {"joint_paper_settings", "gaussian_same_time", "few_layouts"}  # of the study and of any_direction
    assert set(training["streets_large"]) == {"enlarger"}
    looked_into = set(load_profile("smoke").features.models)
    assert set(training["streets"]) == trained - repeated and set(training["faces"]) == looked_into
    listed = ("fig6_recall_tradeoff", "fig6_rivals", "fig6_correspondence", "fig6_classes")
    described = ("fig1_attribute_recall", "fig1_chance", "fig7_clip_tradeoff", "fig7_rivals", "fig7_gain")
    for name, domains in {
        **dict.fromkeys(("claim", "referee", "fig8_kmeans", "fig8_controls", "fig8_agreement"), ("streets", "faces")),
        **dict.fromkeys(("fig9_outpainting", "fig9_noise", "fig9_calls"), ("streets", "faces")),
        **dict.fromkeys((f"any_direction_{part}" for part in ("drawn", "calls", "paths")), ("streets", "faces")),
        **dict.fromkeys(listed, ("streets",)),
        **dict.fromkeys(("guidance_halves", "guidance_drawn"), ("streets",)),
        "super_resolution": ("streets_large",),
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
        record = json.loads((results / "metrics" / "evaluation" / f"streets/{model}.json").read_text())
        assert [point["guidance"] for point in record["curve"]["points"]] == [1.0, 2.0]  # the grid of every model
        for measure in ("semantic_recall", "semantic_recall_pooled", "precision", "frechet", "fsd"):
            assert row[measure]["low"] <= row[measure]["value"] <= row[measure]["high"] and row[measure]["n"] == 8
        assert ("miou" in row) == ("miou_all" in row) == (model not in ("gaussian", "latent")) and row["guidance"] >= 1
    claim = streets["claim"]
    assert len(claim["seeds"]) == 2 and claim["pairs"] == [12, 48]
    names = ("effect", "j", "semantic_recall", "semantic_recall_area", "frechet", "kid")
    assert all(set(claim[name]) == {"value", "low", "high", "n", "seeds"} for name in names)
    assert set(claim["C1"]) == {"12", "48"} and claim["C2"]["effect"]["pairs"] == [12, 48]
    assert set(claim["C3"]) == {"gaussian_same_time"} and set(claim["C4"]) == {"two_stage", "pixel_classifier"}
    table = (results / "tables" / "table1_streets.md").read_text()
    assert table.count("without text") == len(evaluated) + 4 and table.count("with text |") == len(evaluated)


def test_faces_are_scored_by_their_attributes_on_two_numbers_of_pairs(repository):
    results = repository / "results" / "smoke"
    faces = json.loads((results / "metrics" / "faces.json").read_text())
    assert {"ceiling", "claim", "subsets", "attributes", "alignment", "joint"} <= set(faces)
    assert faces["claim"]["pairs"] == [12, 48] and set(faces["subsets"]) == STUDIED
    drawn, points = [faces["ceiling"], faces["joint"]], []
    for rows in faces["subsets"].values():
        assert list(rows) in (["12", "48"], ["48"])
        points += rows.values()
    for point in [*drawn, *points]:
        for measure in ("attribute_recall", "alignment"):
            assert point[measure]["low"] <= point[measure]["value"] <= point[measure]["high"]
        assert point["chance"]["attribute_recall"]["value"] is not None
    assert all(point["chance"]["alignment"]["value"] is not None for point in drawn)
    for point in [*drawn, *points]:
        assert point["per_attribute"].keys() == faces["ceiling"]["per_attribute"].keys()
    assert faces["alignment"]["name"] == "toy alignment score" and 0 <= faces["attributes"]["macro_recall"] <= 1
    assert {"attribute_recall", "alignment", "frechet"} <= set(faces["claim"])
    assert "attribute_recall" not in json.loads((results / "metrics" / "streets.json").read_text())["ceiling"]
    study = Study.load(results / "study" / "faces")
    assert len(study.tests) == len(study.validations) == 12
    assert not {"precision", "precision_1px", "f1"} & {*faces["ceiling"], *faces["claim"], *faces["joint"]}
    assert (results / "tables" / "attributes_faces.md").read_text().count("\n| ") > 10


def test_features_are_compared_over_all_seeds_of_both_models(repository):
    results = repository / "results" / "smoke"
    features = json.loads((results / "metrics" / "features.json").read_text())
    assert set(features) == {"streets", "faces"}
    for domain, found in features.items():
        assert found["seeds"] == {"joint": [0, 1], "gaussian": [0, 1]} and found["n"] == 8
        assert set(found["difference"]) == {"paired", "blank", "swapped"}
        table = (results / "tables" / f"features_{domain}.csv").read_text().splitlines()
        # blocks x times of three conditions and one, each against two layouts; baselines
        assert len(table) == 1 + 3 * 2 * 6 + 2 * 2 * 2 + 2 * 3 + 3 * 2 + 3


def test_halves_are_drawn_given_the_other_and_networks_with_few_layouts_compared(repository):
    metrics = repository / "results" / "smoke" / "metrics"
    outpainting, found = (
        json.loads((metrics / f"{name}.json").read_text()) for name in ("outpainting", "any_direction")
    )
    assert set(outpainting) == set(found) == {"streets", "faces"}
    for domain, kept in found.items():
        assert kept["image"]["repaint"] == outpainting[domain]["image"]["repaint"] and {"0", "1"} < set(kept["paths"])
        assert {"direct - repaint", "repaint - repaint_authors"} <= set(kept["image_differences"])
    assert ("specialist" in found["streets"]["image"]) and ("specialist" not in found["faces"]["image"])
    arms = found["faces"]["few_layouts"]
    assert (
        arms["seeds"] == [0] and 4 * arms["layouts"] == arms["pairs"] and set(arms["arms"]) == {"few", "alone", "all"}
    )
    assert not found["streets"]["few_layouts"]


def test_a_second_run_runs_nothing(repository):
    output = run(repository, "dvc", "repro")
    assert "Running stage" not in output and "up to date" in output


def test_a_stage_run_again_gives_the_same_bytes(repository):
    executed = repository / "results" / "smoke" / "notebooks" / "fig3_process.ipynb"
    figure = repository / "results" / "smoke" / "figures" / "fig3_process.png"
    before = executed.read_bytes(), figure.read_bytes()
    run(repository, "dvc", "repro", "--force", "--single-item", "fig3_process")
    assert (executed.read_bytes(), figure.read_bytes()) == before


def test_a_change_of_the_sampler_is_seen_and_trains_nothing(repository):
    """Stages that reach the sampler are run again; a finished training is found as it is."""
    sampler = repository / "src" / "gcdp" / "diffusion" / "sampling.py"
    sampler.write_text(sampler.read_text() + "\n# a comment\n")
    status = run(repository, "dvc", "status")
    for domain in ("streets", "faces"):
        assert f"sample@{domain}-joint" in status and f"evaluate@{domain}-joint" in status
        assert not [stage for stage in ("data", "captions", "text") if f"{stage}@{domain}" in status]
    results = repository / "results" / "smoke"
    state, model = (results / path for path in ("checkpoints/faces-joint", "models/faces-joint/model.safetensors"))
    before = (state / "state.safetensors").stat().st_mtime_ns, model.read_bytes()
    run(repository, "dvc", "repro", "--single-item", "train@faces-joint")
    assert ((state / "state.safetensors").stat().st_mtime_ns, model.read_bytes()) == before


def test_the_checked_cells_of_every_notebook_say_what_they_said(repository):
    """nbval runs all notebooks at their defaults once more, in reading order, on what the pipeline left."""
    names = sorted(path.name for path in (repository / "notebooks").glob("*.ipynb"))
    listed = [f"notebooks/{name}" for name in names if name != "report.ipynb"] + ["notebooks/report.ipynb"]
    options = (
        "-q",
        "-n2",
        "--dist=loadfile",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=900",
    )
    output = run(repository, "pytest", *options, *listed)
    assert re.search(r"\d+ passed", output) and "failed" not in output
