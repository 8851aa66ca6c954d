"""What DVC makes of the stages: for every profile, and what each stage depends on."""

import shutil

import pytest
from dvc.repo import Repo
from worlds.programs import ROOT, run

from gcdp.experiments.selection import selected, use


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
    groups = {
        "train": "models", "sample": "samples", "evaluate": "evaluations", "fig8_kmeans": "features",
        "fig9_outpainting": "outpaintings", "any_direction": "directions",
            "super_resolution": "enlargings", "strokes_gradop": "strokes", "guidance_halves": "guidances",
    }  # fmt: skip
    assert {stage for stage in found if stage.partition("@")[0] in groups} == {
        f"{stage}@{key}" for stage, kind in groups.items() for key in chosen[kind]
    }
    for figure in ("fig1_attribute_recall", "fig7_clip_tradeoff"):
        of_figure = {stage for stage in found if stage.startswith(figure)}
        assert of_figure == {f"{figure}@{domain}" for domain in chosen["attribute_domains"]}
    assert {f"{stage}@{domain}" for stage in ("data", "evaluators") for domain in chosen["domains"]} <= found
    assert {stage for stage in found if stage.startswith("claim")} == {f"claim@{name}" for name in chosen["studies"]}


def test_the_stages_of_a_fresh_clone_are_understood(bare, monkeypatch):
    """The committed params.yaml, from which `make` and `dvc repro` start, is what its profile would be chosen as."""
    monkeypatch.chdir(bare)
    use("toy")
    assert (bare / "params.yaml").read_text() == (ROOT / "params.yaml").read_text(), (
        "python -m gcdp.experiments.selection toy"
    )


def own(stage, start):
    """Dependencies of a stage below `start`."""
    return {str(dep.def_path) for dep in stage.deps if str(dep.def_path).startswith(start)}


def test_every_stage_depends_on_its_own_weights_models_and_domain(bare, monkeypatch):
    """So that one new model, or a change of one domain, runs no stage of another again."""
    monkeypatch.chdir(bare)
    use("toy")
    stages = {stage.addressing: stage for stage in Repo(str(bare)).index.stages}
    for name, stage in stages.items():
        domain = name.partition("@")[2].partition("-")[0] or "streets"  # the first one is that of single figures
        seen = {key for dep in stage.deps for key in getattr(dep, "params", ())}
        assert {key for key in seen if key.startswith("domains")} <= {f"domains.{domain}"}, name
        assert not {"models", "sample", "evaluate"} & seen or name.startswith("claim"), name
    assert own(stages["train@streets-joint"], "weights") == {"weights/toy-streets-joint"}
    assert own(stages["evaluators@streets"], "weights") == {"weights/toy-streets-referee"}
    assert own(stages["evaluators@faces"], "weights") == {
        f"weights/toy-faces-{what}" for what in ("referee", "attributes", "alignment")
    }
    assert own(stages["claim@faces"], "weights") == {"weights/toy-faces-study"}
    assert own(stages["fig8_kmeans@faces"], "weights") == {"weights/toy-faces-features"}
    assert own(stages["fig8_kmeans@faces"], "results/toy/models/") == {
        f"results/toy/models/faces-{model}" for model in ("joint", "gaussian")
    }
    assert own(stages["fig9_outpainting@faces"], "weights") == {"weights/toy-faces-directions"}
    models = "results/toy/models/"
    assert {f"{models}faces-{model}" for model in ("joint", "any_direction")} == own(
        stages["any_direction@faces"], models
    )
    for stage in ("sample@faces-joint", "evaluate@faces-joint"):
        assert own(stages[stage], models) == {f"{models}faces-joint", f"{models}faces-joint/config.json"}
    assert own(stages["evaluate@streets-two_stage"], models) == {
        f"{models}streets-layout_first", f"{models}streets-image_given_layout"
    }  # fmt: skip
