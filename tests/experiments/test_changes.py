"""What one domain of a profile has otherwise: how it is merged, what is refused, and which stages it leads to."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from worlds.places import make_repository

from gcdp.errors import ConfigError
from gcdp.evaluation.referees.segmenter import SegmenterConfig
from gcdp.experiments.profile import CHANGEABLE, load_profile, selected, use
from gcdp.validation import to_dict

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
TWO = {
    "domains": {
        "streets": {"source": "toy_streets", "size": [8, 16]},
        "faces": {"source": "toy_faces", "size": [16, 16]},
    },
    "models": {"joint": {}, "gaussian": {"layout": False}},
}
DESCRIBED = {"attributes": {"name": "classifier"}, "alignment": {"name": "two_tower"}}


def two(repository, faces=None, **changes):
    """A profile of streets and faces, with what the faces have otherwise."""
    return make_repository(repository, **TWO, changes={"streets": {}, "faces": faces or {}}, **changes)


def test_named_settings_replace_those_of_the_section_and_the_rest_stay(empty):
    profile = two(empty, {"train": {"steps": 7}, "sample": {"guidance_image": 5.0}})
    seen = profile.for_domain("faces")
    assert seen.train == replace(profile.train, steps=7) and seen.train.batch_size == 2
    assert seen.sample == replace(profile.sample, guidance_image=5.0)
    untouched = set(CHANGEABLE) - {"train", "sample"} | {"text", "released", "short_run", "name"}
    assert all(getattr(seen, section) == getattr(profile, section) for section in untouched)
    assert seen.train_for("joint").steps == 7


def test_other_domains_are_left_alone(empty):
    profile = two(empty, {"train": {"steps": 7}, "models": {"joint": {"layout": False}}})
    assert profile.for_domain("streets") is profile and profile.train.steps == 3 and profile.model("joint").layout
    assert list(profile.for_domain("faces").domains) == ["faces"]
    with pytest.raises(ConfigError, match="profile 'tiny' has no domain 'streets': choose one of faces"):
        profile.for_domain("faces").domain("streets")


def test_a_change_is_made_once(empty):
    seen = two(empty, {"train": {"steps": 7}, "models": {"lone": {"image": False}}}).for_domain("faces")
    assert seen.changes == {} and seen.for_domain("faces") is seen
    assert load_profile("tiny", "faces") == seen
    assert load_profile("tiny", "streets") == load_profile("tiny")


def test_a_model_is_replaced_or_added_as_a_whole(empty):
    profile = two(empty, {"models": {"gaussian": {"train": {"steps": 9}}, "lone": {"image": False}, "plain": None}})
    seen = profile.for_domain("faces")
    assert list(seen.models) == ["joint", "gaussian", "lone", "plain"] and list(profile.models) == ["joint", "gaussian"]
    assert seen.model("gaussian").layout  # what the profile said of it is gone
    assert seen.train_for("gaussian").steps == 9 and seen.model("joint") == profile.model("joint")


def test_a_mapping_inside_a_section_is_replaced_whole(empty):
    referee = {"scenes": 5, "network": {"widths": [4, 8], "blocks": 2}, "train": {"steps": 9}}
    profile = two(empty, {"referee": {"network": {"widths": [4, 4]}, **DESCRIBED}}, referee=referee)
    seen = profile.for_domain("faces").referee
    assert seen.network == SegmenterConfig(widths=(4, 4)) and seen.attributes.name == "classifier"
    assert seen.train == profile.referee.train and seen.scenes == 5 and profile.referee.attributes.name == ""


def test_a_domain_may_have_another_network_and_then_its_own_sizes(empty):
    shallow = {"widths": [8], "blocks": [1], "self_attention": [False], "cross_attention": [True]}
    sizes = {"domains": TWO["domains"] | {"faces": {"source": "toy_faces", "size": [6, 6]}}}
    with pytest.raises(ConfigError, match=r"domains\.faces\.size \[6, 6\] must be multiples of 4: .* 2 times"):
        make_repository(empty, **TWO | sizes)
    seen = make_repository(empty, **TWO | sizes, changes={"faces": {"unet": shallow}}).for_domain("faces")
    assert seen.unet.widths == (8,) and seen.unet.downsampling == 2
    odd = {"domains": TWO["domains"] | {"faces": {"source": "toy_faces", "size": [7, 7]}}}
    with pytest.raises(ConfigError, match=r"size \[7, 7\] must be multiples of 2: .* 1 times"):
        make_repository(empty, **TWO | odd, changes={"faces": {"unet": shallow}})


SLIPS = {
    "changes: domain 'lanes' is unknown: choose one of streets, faces": {"lanes": {}},
    "changes.faces: section 'text' is unknown: choose one of models, diffusion": {"faces": {"text": {"encoder": "x"}}},
    "changes.faces: section 'trian' is unknown": {"faces": {"trian": {}}},
    "changes.faces.train: 'step' is unknown; did you mean 'steps'": {"faces": {"train": {"step": 3}}},
    "changes.faces.train: steps must be of type int, got 'ten'": {"faces": {"train": {"steps": "ten"}}},
    "changes.faces.train: log_every must be at least 1": {"faces": {"train": {"log_every": 0}}},
    "changes.faces.train must be a mapping of names to values, got 3": {"faces": {"train": 3}},
    "changes.faces.models must be a mapping of names to values, got None": {"faces": {"models": None}},
    "changes.faces.models.joint: 'stpes' is unknown": {"faces": {"models": {"joint": {"stpes": 3}}}},
    "changes.faces.models.joint: image and layout are both false": {
        "faces": {"models": {"joint": {"image": False, "layout": False}}}
    },
    "changes.faces: models.joint.train: 'stpes' is unknown": {"faces": {"models": {"joint": {"train": {"stpes": 3}}}}},
    "changes.faces: profile 'tiny' has no model 'duet'": {"faces": {"evaluate": {"models": ["duet"]}}},
    "changes.faces.referee: attributes: name 'clip' is unknown": {
        "faces": {"referee": {"attributes": {"name": "clip"}}}
    },
    "changes.faces must be of type dict": {"faces": None},
    "changes.streets must be of type dict": {"streets": ["train"]},
}


@pytest.mark.parametrize("message", SLIPS)
def test_a_slip_is_named_with_its_file_and_key(empty, message):
    with pytest.raises(ConfigError, match=rf"^params/tiny\.yaml: {message}") as caught:
        make_repository(empty, **TWO, changes=SLIPS[message])
    assert str(caught.value).count("params/tiny.yaml") == 1 and "\n" not in str(caught.value)


def test_an_unknown_domain_is_refused(empty):
    with pytest.raises(ConfigError, match="profile 'tiny' has no domain 'lanes': choose one of streets, faces"):
        two(empty).for_domain("lanes")
    with pytest.raises(ConfigError, match="profile 'tiny' has no domain 'lanes'"):
        load_profile("tiny", "lanes")


def stages(*pairs):
    return {f"{domain}-{model}": {"domain": domain, "model": model} for domain, model in pairs}


def test_use_selects_every_domain_with_its_own_models(empty):
    parts = {"kind": "two_stage", "parts": {"layout": "layout_first", "image": "joint"}}
    models = TWO["models"] | {"layout_first": {"image": False}, "two_stage": parts}
    faces = {"models": {"lone": {}}, "evaluate": {"models": ["lone"]}, "sample": {"models": ["joint"]}}
    changes = {"faces": {**faces, "referee": DESCRIBED}}
    evaluate = {"models": ["two_stage", "gaussian"]}
    sample = {"models": ["gaussian"]}
    make_repository(empty, **TWO | {"models": models}, evaluate=evaluate, sample=sample, changes=changes)
    use("tiny")
    chosen = selected()
    assert (chosen["profile"], chosen["domains"]) == ("tiny", ["streets", "faces"]) and chosen["described"] == ["faces"]
    trained = [("streets", model) for model in ("joint", "gaussian", "layout_first")]
    assert chosen["models"] == stages(*trained, ("faces", "joint"), ("faces", "lone"))
    assert chosen["sampled"] == stages(("streets", "gaussian"), ("faces", "joint"))
    assert chosen["evaluated"] == stages(("streets", "two_stage"), ("streets", "gaussian"), ("faces", "lone"))


@pytest.mark.parametrize("missing", DESCRIBED)
def test_only_domains_with_both_referees_have_the_figures_of_attributes(empty, missing):
    two(empty, {"referee": {name: part for name, part in DESCRIBED.items() if name != missing}})
    use("tiny")
    assert selected()["described"] == []


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_what_its_stages_track_and_compare(name, empty):
    """DVC reads `changes.<domain>` and `models.<model>` from the file itself."""
    make_repository(empty)
    shutil.copy(ROOT / "params" / f"{name}.yaml", empty / "params")
    written = yaml.safe_load((empty / "params" / f"{name}.yaml").read_text())
    use(name)
    chosen, profile = selected(), load_profile(name)
    assert chosen["domains"] == list(profile.domains) and set(written["changes"]) == set(profile.domains)
    for kind in ("models", "sampled", "evaluated"):
        assert chosen[kind] and all(stage["model"] in written["models"] for stage in chosen[kind].values()), kind
    for domain in profile.domains:
        seen = profile.for_domain(domain)
        trained = {stage["model"] for stage in chosen["models"].values() if stage["domain"] == domain}
        assert all(seen.model(model).trained for model in trained)
        assert (domain in chosen["described"]) == bool(seen.referee.attributes.name and seen.referee.alignment.name)
        assert all({*pair} <= {*seen.study.models, *seen.study.ablations} for pair in seen.study.claims.values())
        # a curve for every number of pairs, where Fig. 7 shows them; an ablation is trained on all pairs alone
        assert seen.study.sweep or domain not in chosen["described"]
        assert to_dict(load_profile(name, domain).study) == to_dict(seen.study)
