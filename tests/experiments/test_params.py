"""Profiles that hold only their differences from another, and the resolved files that DVC tracks in their place."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gcdp.errors import ConfigError
from gcdp.experiments.params import merged, profile_names, resolved, settings_file, tracked, write_resolved
from gcdp.experiments.profile import load_profile

ROOT = Path(__file__).resolve().parents[2]
BASE = {
    "domains": {
        "streets": {"source": "toy_streets", "size": [8, 16], "changes": {"train": {"steps": 9}}},
        "faces": {"source": "toy_faces", "size": [16, 16]},
    },
    "models": {"joint": {"train": {"steps": 4, "batch_size": 2}}, "gaussian": {"layout": False}},
    "unet": {"widths": [8, 16], "blocks": [1, 1], "self_attention": [False, True], "cross_attention": [False, True]},
}  # fmt: skip
TREES = st.recursive(st.integers() | st.none(), lambda deeper: st.dictionaries(st.sampled_from("abc"), deeper))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes params/<name>.yaml in an empty repository, the working folder."""
    (tmp_path / "params").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        (tmp_path / "params" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return tmp_path

    write("base", BASE)
    return write


def test_mappings_merge_at_every_depth_and_everything_else_replaces():
    base = {"a": {"b": {"c": 1, "d": [1, 2]}, "e": 3}, "f": 4}
    changes = {"a": {"b": {"d": [5], "g": None}}, "f": {"h": 6}}
    assert merged(base, changes) == {"a": {"b": {"c": 1, "d": [5], "g": None}, "e": 3}, "f": {"h": 6}}
    assert base == {"a": {"b": {"c": 1, "d": [1, 2]}, "e": 3}, "f": 4}
    assert merged({"a": {"b": 1}}, {"a": None}) == {"a": None}


@given(st.dictionaries(st.sampled_from("abc"), TREES), st.dictionaries(st.sampled_from("abc"), TREES))
def test_merging_twice_changes_nothing_more_and_shares_nothing(base, changes):
    once = merged(base, changes)
    assert merged(once, changes) == once and merged(base, {}) == base and merged({}, changes) == changes
    assert all(once[key] is not part[key] for part in (base, changes) for key in part if isinstance(part[key], dict))


def test_a_profile_holds_its_differences_and_its_resolved_file_everything(place):
    root = place("mine", {"like": "base", "short_run": 3, "models": {"joint": {"train": {"steps": 7}}}})
    write_resolved("mine")
    mine, base = load_profile("mine"), load_profile("base")
    assert mine.name == "mine" and mine.short_run == 3 and mine.unet == base.unet
    assert mine.model("joint").train == {"steps": 7, "batch_size": 2} and mine.model("gaussian") == base.model(
        "gaussian"
    )
    assert mine.for_domain("streets").train.steps == 9
    written = yaml.safe_load((root / "params/resolved/mine.yaml").read_text())
    assert written == resolved("mine") and "like" not in written and set(written) == {*BASE, "short_run"}
    assert (settings_file("mine"), settings_file("base")) == ("params/resolved/mine.yaml", "params/base.yaml")
    assert profile_names() == ["base", "mine"] and load_profile("mine") == mine


def test_a_profile_may_be_like_one_that_is_like_another(place):
    place("middle", {"like": "base", "short_run": 3, "released": "base"})
    place("mine", {"like": "middle", "released": ""})
    assert resolved("mine") == BASE | {"short_run": 3, "released": ""}


def test_a_profile_that_stands_alone_has_no_resolved_file(place):
    root = place("mine", BASE)
    write_resolved("mine")
    assert tracked("mine") == BASE and not (root / "params/resolved").exists()


REMEDY = r"write it( anew)? by `python -m gcdp\.experiments\.selection`$"


@pytest.mark.parametrize("name", ["mine", "base"])
def test_settings_that_dvc_does_not_see_are_refused(place, name):
    difference = {"like": "base", "short_run": 3}
    root = place("mine", difference)
    with pytest.raises(ConfigError, match=rf"^params/resolved/mine\.yaml is missing, .* params/mine\.yaml: {REMEDY}"):
        load_profile("mine")
    write_resolved("mine")
    place(name, {"mine": difference, "base": BASE}[name] | {"released": "other"})
    with pytest.raises(ConfigError, match=rf"^params/resolved/mine\.yaml is out of step .*mine\.yaml: {REMEDY}"):
        load_profile("mine")
    assert load_profile("base").short_run == 0  # stands alone
    done = subprocess.run([sys.executable, "-m", "gcdp.experiments.selection"], cwd=root, capture_output=True)
    assert done.returncode == 0 and load_profile("mine").released == "other"
    (root / "params/resolved/mine.yaml").write_text("a: b: c")
    with pytest.raises(ConfigError, match=r"^params/resolved/mine\.yaml cannot be read as YAML"):
        load_profile("mine")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("bsae", r"params/mine\.yaml: like: profile 'bsae' is unknown: choose one of back, base$"),
        (3, r"params/mine\.yaml: like: profile '3' is unknown"),
        (None, r"params/mine\.yaml: like: profile 'None' is unknown"),
        ("mine", r"params/mine\.yaml: like: 'mine' leads back to mine: name a profile that stands alone"),
        ("back", r"params/back\.yaml: like: 'mine' leads back to back: name a profile that stands alone"),
    ],
)
def test_a_slip_in_like_is_named(place, other, message):
    place("back", {"like": "mine"})
    place("mine", {"like": other})
    with pytest.raises(ConfigError, match=rf"^{message}"):
        load_profile("mine")


def test_a_slip_in_a_difference_names_the_profile_that_has_it(place):
    place("mine", {"like": "base", "domains": {"faces": {"changes": {"train": {"stepz": 3}}}}})
    write_resolved("mine")
    with pytest.raises(
        ConfigError, match=r"^params/mine\.yaml: domains\.faces\.changes\.train: 'stepz' is unknown; did"
    ):
        load_profile("mine")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "params").glob("*.yaml")))
def test_the_resolved_files_are_in_step(name):
    assert tracked(name) == resolved(name)
    like = "like" in yaml.safe_load((ROOT / "params" / f"{name}.yaml").read_text())
    assert (ROOT / "params" / "resolved" / f"{name}.yaml").is_file() == like
