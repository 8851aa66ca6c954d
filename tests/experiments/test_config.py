"""Profiles: every slip in a params file becomes one sentence that names the file, the key and the remedy."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gcdp.diffusion.joint import DiffusionConfig
from gcdp.errors import ConfigError
from gcdp.experiments.params import resolved
from gcdp.experiments.profile import Profile, load_profile, repository_root
from gcdp.experiments.sections import StudyConfig
from gcdp.experiments.selection import selection
from gcdp.network.unet import UNetConfig
from gcdp.training.recipe import TrainConfig
from gcdp.validation import build, to_dict

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
LEAST = {"domains": {"streets": {"source": "toy_streets", "size": [16, 32]}}, "models": {"joint": {}}}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of what makes a folder a repository, as working folder."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(repository: Path, content) -> str:
    """Write params/mine.yaml, from text or a mapping; returns the profile's name."""
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (repository / "params" / "mine.yaml").write_text(text, encoding="utf-8")
    return "mine"


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads(name):
    profile = load_profile(name)
    assert profile.name == name and profile.domains and profile.models
    for model in profile.models:
        unet = profile.unet_for(model, num_classes=20, text_width=384)
        halves = profile.model(model)
        assert (unet.image_channels > 0, unet.num_classes > 0) == (halves.image, halves.layout)
        assert unet.text_width == 384
    assert profile.sampling.num_steps <= profile.diffusion.T
    for domain in selection(profile)["studies"]:  # 08_claim compares two models, and without them nothing
        assert profile.for_domain(domain).study.compared == ("joint", "gaussian")
    # what DVC tracks section by section has to be there in the file
    assert {"domains", "text", "diffusion", "unet", "models", "train", "sampling", "sample"} <= set(resolved(name))


def test_a_study_of_one_model_compares_nothing():
    with pytest.raises(ConfigError, match=r"study.models must name two models .* \[joint, gaussian\]"):
        _ = StudyConfig(models=("joint",)).compared


def test_defaults_fill_the_gaps(repository):
    profile = load_profile(write(repository, LEAST | {"models": {"joint": None, "lone": {"layout": False}}}))
    assert profile.train == TrainConfig() and profile.unet == UNetConfig() and profile.diffusion == DiffusionConfig()
    assert profile.domain("streets").size == (16, 32) and profile.model("joint").layout
    assert profile.unet_for("lone", 20, 384).num_classes == 0
    assert profile.raw_folder("streets") == repository / "data/mine/streets/raw"
    assert profile.results_folder("metrics").is_dir()
    elsewhere = {"streets": LEAST["domains"]["streets"] | {"root": "data/elsewhere"}}
    assert load_profile(write(repository, LEAST | {"domains": elsewhere})).raw_folder("streets") == (
        repository / "data/elsewhere"
    )


SLIPS = {
    "'trian' is unknown; did you mean 'train'": {"trian": {}},
    "'zzz' is unknown; known: name, domains": {"zzz": 1},
    "train: 'step' is unknown; did you mean 'steps'": {"train": {"step": 3}},
    "'name' is unknown: a profile is called as its file": {"name": "other"},
    "'models' is missing": {"models": ...},
    "domains.streets: 'source' is missing": {"domains": {"streets": {"size": [16, 32]}}},
    "train must be a mapping of names to values, got 3": {"train": 3},
    "train must be a mapping of names to values, got None": {"train": None},
    "train: steps must be of type int, got 'ten'": {"train": {"steps": "ten"}},
    "train: steps must be of type int, got True": {"train": {"steps": True}},
    "train: steps must be of type int, got 1.5": {"train": {"steps": 1.5}},
    "train: learning_rate must be of type float, got '8e-4': write 8.0e-4": {"train": {"learning_rate": "8e-4"}},
    "train: betas needs 2 values, got 1": {"train": {"betas": [0.9]}},
    "train: betas must be of type tuple.float, float., got 0.9": {"train": {"betas": 0.9}},
    "unet: self_attention must be of type bool, got 1": {"unet": {"self_attention": [1, 1, 1, 1]}},
    "unet: widths, blocks, self_attention and cross_attention must have one": {"unet": {"widths": [8]}},
    "diffusion: T must be of type int": {"diffusion": {"T": "1000"}},
    "image prediction 'noise' is unknown: choose one of eps, x0, v": {"diffusion": {"prediction": "noise"}},
    "schedule 'cos' is unknown": {"diffusion": {"layout_schedule": "cos"}},
    "train: log_every must be at least 1, got 0": {"train": {"log_every": 0}},
    "train: diagonal must be within 0..1, got 1.5": {"train": {"diagonal": 1.5}},
    "train: learning_rate must be within 0..1, got nan": {"train": {"learning_rate": float("nan")}},
    "train: precision 'half' is unknown: choose one of no, fp16, bf16": {"train": {"precision": "half"}},
    "sampling: num_steps must be at least 1": {"sampling": {"num_steps": 0}},
    "sampling: eta and threshold must lie in 0..1, got 1.5": {"sampling": {"eta": 1.5}},
    "sampling: order must be 1, or 2 together with eta = 0": {"sampling": {"order": 2}},
    "sampling: guidances must be at least one scale, in rising order": {"sampling": {"guidances": [2, 1]}},
    "sampling: guidances must be at least 0": {"sampling": {"guidances": [-1]}},
    "sampling: guidances must be at least one scale": {"sampling": {"guidances": []}},
    r"sample: guidance must be of type float \| tuple.float, float., got .1, 2, 3.": {
        "sample": {"guidance": [1, 2, 3]}
    },
    "sample: guidance must be of type float .* got 'two'": {"sample": {"guidance": "two"}},
    r"sample: guidance must be at least 0, got \[1.0, -2.0\]": {"sample": {"guidance": [1, -2]}},
    "sample: 'num_steps' is unknown": {"sample": {"num_steps": 5}},
    "evaluate: 'guidances' is unknown": {"evaluate": {"guidances": [1]}},
    "domains.streets: 'fallback' is unknown": {
        "domains": {"streets": {"source": "x", "size": [16, 32], "fallback": "../beside"}}
    },
    "sample: split 'dev' is unknown: choose one of train, val, test": {"sample": {"split": "dev"}},
    "text: max_tokens must be at least 1": {"text": {"max_tokens": 0}},
    "models.joint: image and layout are both false": {"models": {"joint": {"image": False, "layout": False}}},
    r"domains.streets: size must be at least 1, got \[0, 32\]": {
        "domains": {"streets": {"source": "x", "size": [0, 32]}}
    },
    r"domains.streets.size \[24, 32\] must be multiples of 16: .* 4 times .unet.widths.": {
        "domains": {"streets": {"source": "x", "size": [24, 32]}}
    },
    "domains.streets: counts: split 'trian' is unknown": {
        "domains": {"streets": {"source": "toy_streets", "size": [16, 32], "counts": {"trian": 4}}}
    },
    "domains.streets: subset_seed must be at least 0, got -2": {
        "domains": {"streets": {"source": "x", "size": [16, 32], "subset_seed": -2}}
    },
    "domains.streets: captions_per_pair must be at least 0, got -1": {
        "domains": {"streets": {"source": "x", "size": [16, 32], "captions_per_pair": -1}}
    },
    "referee: attributes: name 'clip' is unknown: choose one of , classifier": {
        "referee": {"attributes": {"name": "clip"}}
    },
    "referee: alignment: 'tower' is unknown": {"referee": {"alignment": {"tower": 3}}},
    "referee: attributes: network: widths must be at least 1": {
        "referee": {"attributes": {"network": {"widths": [0]}}}
    },
    r"study: sizes must be numbers of pairs of at least 1, or 'all', got 0": {"study": {"sizes": [0]}},
    "study: 'pairs' is unknown": {"study": {"pairs": [4]}},
    "models.joint.unet: 'width' is unknown; did you mean 'widths'": {"models": {"joint": {"unet": {"width": 3}}}},
    "domains.streets: counts.val must be of type int, got None": {
        "domains": {"streets": {"source": "toy_streets", "size": [16, 32], "counts": {"val": None}}}
    },
}


@pytest.mark.parametrize("message", SLIPS)
def test_a_slip_is_named(repository, message):
    content = {key: value for key, value in (LEAST | SLIPS[message]).items() if value is not ...}
    with pytest.raises(ConfigError, match=rf"^params/mine\.yaml: {message}") as caught:
        load_profile(write(repository, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: b: c", r"params/mine\.yaml cannot be read as YAML \(line 1, mapping values .*\): correct the file"),
        ("train: {steps: 3\nmodels: 1", r"params/mine\.yaml cannot be read as YAML \(line 2"),
        ("- one\n- two", r"params/mine\.yaml must hold a mapping"),
        ("", r"params/mine\.yaml must hold a mapping"),
    ],
)
def test_files_that_are_no_mapping(repository, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile(write(repository, content))
    assert "\n" not in str(caught.value)


def test_text_in_another_encoding(repository):
    (repository / "params" / "mine.yaml").write_bytes("# Straße\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params/mine\.yaml cannot be read as YAML"):
        load_profile("mine")


def test_unknown_names_list_the_known_ones(repository):
    with pytest.raises(ConfigError, match=r"profile 'tyo' is unknown: choose one of .*smoke.*toy.*, or add params/tyo"):
        load_profile("tyo")
    profile = load_profile("smoke")
    with pytest.raises(ConfigError, match="profile 'smoke' has no domain 'lanes': choose one of streets"):
        profile.domain("lanes")
    with pytest.raises(ConfigError, match="profile 'smoke' has no model 'duet': choose one of joint"):
        profile.model("duet")


def test_the_root_is_the_nearest_repository_above(repository, monkeypatch):
    inside = repository / "notebooks" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert repository_root() == repository
    (repository / "dvc.yaml").unlink()
    assert repository_root() == ROOT  # outside of any repository the checkout of the code serves


SECTIONS = {
    f.name: f.default for f in fields(Profile) if f.name in ("text", "diffusion", "unet", "train", "sampling", "sample")
}


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_survive_being_written_down(section):
    config = SECTIONS[section]
    assert build(type(config), to_dict(config), section) == config
    assert build(type(config), yaml.safe_load(yaml.safe_dump(to_dict(config))), section) == config
    assert build(type(config), {}, section) == config


def test_guidance_is_one_scale_or_one_for_each_half(repository):
    one, two = (load_profile(write(repository, LEAST | {"sample": {"guidance": value}})) for value in (2, [1, 3]))
    assert one.sample.guidance == 2.0 and two.sample.guidance == (1.0, 3.0)


@given(
    st.builds(
        replace, st.just(TrainConfig()), steps=st.integers(1, 10**7), learning_rate=st.floats(0, 1),
        betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)), decay=st.booleans(), diagonal=st.floats(0, 1),
        precision=st.sampled_from(["no", "fp16", "bf16"]),
    )
)  # fmt: skip
@settings(deadline=None)
def test_any_recipe_survives_yaml(config):
    assert build(TrainConfig, yaml.safe_load(yaml.safe_dump(to_dict(config))), "train") == config


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists), max_size=4))
@settings(max_examples=40, deadline=None)
def test_nothing_but_config_errors(mapping):
    for cls in (Profile, TrainConfig, UNetConfig):
        try:
            build(cls, mapping, "file")
        except ConfigError as error:
            assert str(error).startswith("file: ")
        else:
            assert not mapping or set(mapping) <= {f.name for f in fields(cls)}
