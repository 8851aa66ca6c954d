"""Which stages a profile leads to, what each entry of `params.yaml` names, and the command that writes it."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from worlds.places import EVERY_KIND, make_repository

from gcdp.errors import ConfigError
from gcdp.experiments.profile import load_profile
from gcdp.experiments.selection import COMMENTS, selected, selection, use
from gcdp.validation import to_dict

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
STREETS, FACES = {"source": "toy_streets", "size": [8, 16]}, {"source": "toy_faces", "size": [16, 16]}
DESCRIBED = {"attributes": {"name": "classifier"}, "alignment": {"name": "two_tower"}}
MODELS = {"joint": {}, "gaussian": {"layout": False}}
EACH_MODEL = ("models", "samples", "evaluations")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of what makes a folder a repository, as working folder."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stages(section):
    """(domain, model) of the entries of a section, whose keys are made of both."""
    assert all(key == f"{entry['domain']}-{entry['model']}" for key, entry in selected()[section].items())
    return [(entry["domain"], entry["model"]) for entry in selected()[section].values()]


def test_the_selection_of_the_repository_is_one_of_its_profile():
    chosen = selected()
    whole = selection(load_profile(chosen["profile"]))
    assert list(chosen) == list(COMMENTS) and chosen["settings"] == whole["settings"]
    for section in COMMENTS:  # lines may be missing, none may be otherwise
        if isinstance(whole[section], dict):
            assert chosen[section].items() <= whole[section].items()
        elif isinstance(whole[section], list):
            assert set(chosen[section]) <= set(whole[section])


def test_use_selects_all_of_a_profile(empty):
    make_repository(empty, models=MODELS)
    use("tiny")
    pairs = "data/tiny/streets/pairs"
    assert selected() == {
        "profile": "tiny",
        "settings": "params/tiny.yaml",
        "domains": ["streets"],
        "attribute_domains": [],
        "class_domains": ["streets"],
        "tables": ["streets"],
        "referees": {
            "streets": {
                "domain": "streets", "layouts": f"{pairs}/train", "attributes": f"{pairs}/val",
                "alignment": f"{pairs}/test",
            }
        },
        "studies": {"streets": {"domain": "streets", "weights": "README.md"}},
        "features": {},
        "outpaintings": {},
        "directions": {},
        "guidances": {},
        "strokes": {},
        "enlargings": {},
        "report": {
            "claim": "results/tiny/metrics/claim",
            "features": "notebooks/fig8_kmeans.ipynb", "outpainting": "notebooks/fig9_outpainting.ipynb",
            "any_direction": "notebooks/any_direction.ipynb",
            "super_resolution": "notebooks/super_resolution.ipynb", "strokes": "notebooks/strokes_gradop.ipynb",
            "guidance": "notebooks/guidance_halves.ipynb",
        },
        "models": {
            f"streets-{model}": {
                "domain": "streets", "model": model, "weights": "README.md", "also": "streets/pairs/train",
            }
            for model in MODELS
        },
        **{
            section: {
                f"streets-{model}": {
                    "domain": "streets", "model": model, "first": f"streets-{model}",
                    "second": f"streets-{model}/config.json",
                }
                for model in MODELS
            }
            for section in ("samples", "evaluations")
        },
    }  # fmt: skip


def test_every_section_is_explained_in_one_line(empty):
    make_repository(empty)
    use("tiny")
    lines = (empty / "params.yaml").read_text().splitlines()
    for section, comment in COMMENTS.items():
        row = next(i for i, line in enumerate(lines) if line.startswith(f"{section}:"))
        assert lines[row - 1] == f"# {comment}" and len(lines[row - 1]) <= 120


def test_a_selection_that_fails_changes_nothing(repository):
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="unknown"):
        use("absent")
    slip = repository / "params" / "slip.yaml"
    slip.write_text("like: toy\ntrian: {}\n")
    with pytest.raises(ConfigError, match=r"params/slip\.yaml: 'trian' is unknown"):
        use("slip")
    slip.unlink()
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


def test_models_say_what_they_are_made_of(empty):
    make_repository(empty, models=EVERY_KIND)
    use("tiny")
    parts = {key: (entry["first"], entry["second"]) for key, entry in selected()["evaluations"].items()}
    assert parts["streets-two_stage"] == ("streets-layout_first", "streets-image_given_layout")
    assert parts["streets-pixel_classifier"] == ("streets-gaussian", "streets-gaussian/config.json")
    assert parts["streets-latent"] == ("streets-latent", "streets-latent/config.json")


def test_released_weights_are_named(empty):
    changes = {"models": {"lone": {}}, "referee": DESCRIBED}
    domains = {"streets": STREETS, "faces": FACES | {"changes": changes}}
    make_repository(empty, domains=domains, models=MODELS, released="big")
    use("tiny")
    chosen, pairs = selected(), "data/tiny/streets/pairs"
    assert {key: entry["weights"] for key, entry in chosen["models"].items()} == {
        key: f"big-{key}"
        for key in ("streets-joint", "streets-gaussian", "faces-joint", "faces-gaussian", "faces-lone")
    }
    referees = {
        domain: tuple(entry[part] for part in ("layouts", "attributes", "alignment"))
        for domain, entry in chosen["referees"].items()
    }
    assert referees["faces"] == tuple(f"weights/big-faces-{what}" for what in ("referee", "attributes", "alignment"))
    assert referees["streets"] == ("weights/big-streets-referee", f"{pairs}/val", f"{pairs}/test")
    assert chosen["studies"]["faces"] == {"domain": "faces", "weights": "big-faces-study"}
    make_repository(empty, domains={"streets": STREETS}, released="big", referee={"name": "nvidia/some-segformer"})
    use("tiny")
    assert selected()["referees"]["streets"]["layouts"] == f"{pairs}/train"  # published weights are not in weights/


def test_networks_whose_features_are_looked_into_are_named_and_trained(empty):
    looked_into = {"features": {"models": ["joint", "gaussian"]}, "evaluate": {"models": ["joint"]}}
    sampled = {"sample": {"models": ["joint"]}}
    make_repository(
        empty, domains={"streets": STREETS}, models=MODELS | {"idle": {}}, released="big", **looked_into, **sampled
    )
    use("tiny")
    networks = {"first": "streets-joint", "second": "streets-gaussian"}
    assert selected()["features"] == {"streets": {"domain": "streets", "weights": "big-streets-features", **networks}}
    assert list(selected()["models"]) == ["streets-joint", "streets-gaussian"]


def test_every_domain_has_its_own_models(empty):
    parts = {"kind": "two_stage", "parts": {"layout": "layout_first", "image": "joint"}}
    models = MODELS | {"layout_first": {"image": False}, "two_stage": parts}
    faces = {"models": {"lone": {}}, "evaluate": {"models": ["lone"]}, "sample": {"models": ["joint"]}}
    domains = {"streets": STREETS, "faces": FACES | {"changes": {**faces, "referee": DESCRIBED}}}
    evaluate, sample = {"models": ["two_stage", "gaussian"]}, {"models": ["gaussian"]}
    make_repository(empty, domains=domains, models=models, evaluate=evaluate, sample=sample)
    use("tiny")
    chosen = selected()
    assert (chosen["profile"], chosen["domains"]) == ("tiny", ["streets", "faces"])
    assert (chosen["attribute_domains"], chosen["class_domains"]) == (["faces"], ["streets"])
    trained = [("streets", model) for model in ("joint", "gaussian", "layout_first")]
    assert stages("models") == [*trained, ("faces", "joint"), ("faces", "lone")]
    assert stages("samples") == [("streets", "gaussian"), ("faces", "joint")]
    assert stages("evaluations") == [("streets", "two_stage"), ("streets", "gaussian"), ("faces", "lone")]


@pytest.mark.parametrize("missing", DESCRIBED)
def test_only_domains_with_both_referees_have_the_figures_of_attributes(empty, missing):
    referee = {name: part for name, part in DESCRIBED.items() if name != missing}
    make_repository(empty, domains={"streets": STREETS, "faces": FACES | {"changes": {"referee": referee}}})
    use("tiny")
    assert selected()["attribute_domains"] == [] and selected()["class_domains"] == ["streets", "faces"]


def at(content, key):
    """The value of a dotted key, as DVC finds it."""
    for part in key.split("."):
        content = content[part]
    return content


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_what_its_stages_track_and_compare(name, repository):
    """DVC reads every tracked key from the settings file itself, and every path must be there."""
    use(name)
    chosen, profile = selected(), load_profile(name)
    written = yaml.safe_load((repository / chosen["settings"]).read_text())
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values():
        loop, content = stage.get("foreach") or stage.get("matrix", {}).get("domain"), stage.get("do", stage)
        entries = chosen[loop.strip("${}")] if loop else [{}]
        items = entries.values() if isinstance(entries, dict) else ({"domain": entry} for entry in entries)
        tracked = [entry["${settings}"] for entry in content.get("params", ())]
        for item in items:
            for key in (key for keys in tracked for key in keys):
                key = key.replace("${domains[0]}", chosen["domains"][0])
                at(written, re.sub(r"\$\{item\.(\w+)\}", lambda found, item=item: item[found[1]], key))
    for entry in [*chosen["models"].values(), *chosen["studies"].values()]:
        assert (ROOT / "weights" / entry["weights"]).exists()
    for paths in chosen["referees"].values():
        assert all((ROOT / path).is_dir() for path in paths.values() if path.startswith("weights"))
    for domain in profile.domains:
        seen = profile.for_domain(domain)
        assert all(seen.model(model).trained for where, model in stages("models") if where == domain)
        assert len(seen.study.models) != 1  # the joint model and what it is compared with
        assert to_dict(load_profile(name, domain).study) == to_dict(seen.study)
    assert all(chosen[section] for section in EACH_MODEL)


def test_the_command_line(repository):
    command = [sys.executable, "-m", "gcdp.experiments.selection"]
    resolved = repository / "params/resolved/toy-scratch.yaml"
    resolved.unlink()
    before = (repository / "params.yaml").read_text()
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert (done.returncode, done.stderr, (repository / "params.yaml").read_text()) == (0, "", before)
    assert resolved.read_text() == (ROOT / "params/resolved/toy-scratch.yaml").read_text()
    resolved.unlink()
    done = subprocess.run([*command, "toy-scratch"], cwd=repository, capture_output=True, text=True)
    assert (done.returncode, done.stderr, resolved.is_file()) == (0, "", True)
    assert selected()["profile"] == "toy-scratch" and selected()["settings"] == "params/resolved/toy-scratch.yaml"


@pytest.mark.filterwarnings("ignore:.*gcdp.experiments.selection.*:RuntimeWarning")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tyo"], r"^error: profile 'tyo' is unknown: choose one of .*, or add params/tyo\.yaml$"),
        (["use", "smoke"], "^2$"),  # argparse has said what it takes
    ],
)
def test_wrong_commands_end_in_one_sentence(repository, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["gcdp.experiments.selection", *arguments])
    with pytest.raises(SystemExit, match=message):
        runpy.run_module("gcdp.experiments.selection", run_name="__main__")
    if message == "^2$":
        assert "usage: python -m gcdp.experiments.selection [-h] [profile]" in capsys.readouterr().err
