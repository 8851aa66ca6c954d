"""What one domain of a profile has otherwise: how it is merged, and what is refused."""

from dataclasses import replace

import pytest
from worlds.places import make_repository

from gcdp.errors import ConfigError
from gcdp.evaluation.referees.segmenter import SegmenterConfig
from gcdp.experiments.profile import CHANGEABLE, load_profile

TWO = {
    "domains": {
        "streets": {"source": "toy_streets", "size": [8, 16]},
        "faces": {"source": "toy_faces", "size": [16, 16]},
    },
    "models": {"joint": {}, "gaussian": {"layout": False}},
}
DESCRIBED = {"attributes": {"name": "classifier"}, "alignment": {"name": "two_tower"}}


def changed(domains, **changes):
    """The section `domains` with what each domain of that name has otherwise."""
    return {name: data | ({"changes": changes[name]} if name in changes else {}) for name, data in domains.items()}


def two(repository, faces=None, **sections):
    """A profile of streets and faces, with what the faces have otherwise."""
    domains = changed(TWO["domains"], **{} if faces is None else {"faces": faces})
    return make_repository(repository, **TWO | {"domains": domains} | sections)


def test_named_settings_replace_those_of_the_section_and_the_rest_stay(empty):
    profile = two(empty, {"train": {"steps": 7}, "sample": {"guidance": 5.0}})
    seen = profile.for_domain("faces")
    assert seen.train == replace(profile.train, steps=7) and seen.train.batch_size == 2
    assert seen.sample == replace(profile.sample, guidance=5.0)
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
    assert seen.domain("faces").changes == {} and seen.for_domain("faces") is seen
    assert load_profile("tiny", "faces") == seen
    assert load_profile("tiny", "streets") == load_profile("tiny")


def test_a_model_is_changed_key_by_key_added_or_emptied(empty):
    models = {
        "joint": {"train": {"steps": 9, "batch_size": 4}, "diffusion": {"p2": False}},
        "gaussian": {"layout": False}, "plain": {"image": False},
    }  # fmt: skip
    faces = {"models": {"joint": {"train": {"steps": 5}}, "lone": {"image": False}, "plain": None}}
    profile = two(empty, faces, models=models)
    seen = profile.for_domain("faces")
    assert list(seen.models) == ["joint", "gaussian", "plain", "lone"]
    assert list(profile.models) == ["joint", "gaussian", "plain"] and profile.train_for("joint").steps == 9
    assert seen.model("joint").train == {"steps": 5, "batch_size": 4} and seen.model("joint").diffusion == {"p2": False}
    assert seen.model("gaussian") == profile.model("gaussian") and not seen.model("lone").image
    assert seen.model("plain").image and not profile.model("plain").image  # no setting at all: the defaults


def test_a_mapping_inside_a_section_is_merged_and_a_list_is_replaced(empty):
    referee = {"scenes": 5, "network": {"widths": [4, 8], "blocks": 2}, "train": {"steps": 9, "batch_size": 3}}
    faces = {"referee": {"network": {"widths": [4, 4]}, "train": {"steps": 7}, **DESCRIBED}}
    profile = two(empty, faces, referee=referee)
    seen = profile.for_domain("faces").referee
    assert seen.network == SegmenterConfig(widths=(4, 4), blocks=2) and seen.attributes.name == "classifier"
    assert seen.train == replace(profile.referee.train, steps=7) and seen.train.batch_size == 3
    assert seen.scenes == 5 and profile.referee.attributes.name == "" and profile.referee.train.steps == 9


def test_a_domain_may_have_another_network_and_then_its_own_sizes(empty):
    shallow = {"widths": [8], "blocks": [1], "self_attention": [False], "cross_attention": [True]}
    sizes = {"domains": TWO["domains"] | {"faces": {"source": "toy_faces", "size": [6, 6]}}}
    with pytest.raises(ConfigError, match=r"domains\.faces\.size \[6, 6\] must be multiples of 4: .* 2 times"):
        make_repository(empty, **TWO | sizes)
    seen = make_repository(empty, **TWO | {"domains": changed(sizes["domains"], faces={"unet": shallow})}).for_domain(
        "faces"
    )
    assert seen.unet.widths == (8,) and seen.unet.downsampling == 2
    odd = {"domains": TWO["domains"] | {"faces": {"source": "toy_faces", "size": [7, 7]}}}
    with pytest.raises(ConfigError, match=r"size \[7, 7\] must be multiples of 2: .* 1 times"):
        make_repository(empty, **TWO | {"domains": changed(odd["domains"], faces={"unet": shallow})})


SLIPS = {
    "domains.faces.changes: section 'text' is unknown: choose one of models, diffusion": {"text": {"encoder": "x"}},
    "domains.faces.changes: section 'trian' is unknown": {"trian": {}},
    "domains.faces.changes.train: 'stepz' is unknown; did you mean 'steps'": {"train": {"stepz": 3}},
    "domains.faces.changes.train: steps must be of type int, got 'ten'": {"train": {"steps": "ten"}},
    "domains.faces.changes.train: log_every must be at least 1": {"train": {"log_every": 0}},
    "domains.faces.changes.train must be a mapping of names to values, got 3": {"train": 3},
    "domains.faces.changes.models must be a mapping of names to values, got None": {"models": None},
    "domains.faces.changes.models.joint must be a mapping of names to values, got 0": {"models": {"joint": 0}},
    "domains.faces.changes.models.joint: 'stpes' is unknown": {"models": {"joint": {"stpes": 3}}},
    "domains.faces.changes.models.joint: image and layout are both false": {
        "models": {"joint": {"image": False, "layout": False}}
    },
    "domains.faces.changes: models.joint.train: 'stpes' is unknown": {"models": {"joint": {"train": {"stpes": 3}}}},
    "domains.faces.changes: profile 'tiny' has no model 'duet'": {"evaluate": {"models": ["duet"]}},
    "domains.faces.changes.referee: attributes: name 'clip' is unknown": {"referee": {"attributes": {"name": "clip"}}},
    "domains.faces.changes.referee: train must be a mapping of names to values, got None": {"referee": {"train": None}},
    "domains.faces: changes must be of type dict.*, got None": None,
    "domains.faces: changes must be of type dict.*, got .'train'.": ["train"],
}


@pytest.mark.parametrize("message", SLIPS)
def test_a_slip_is_named_with_its_file_and_key(empty, message):
    with pytest.raises(ConfigError, match=rf"^params/tiny\.yaml: {message}") as caught:
        make_repository(empty, **TWO | {"domains": changed(TWO["domains"], faces=SLIPS[message])})
    assert str(caught.value).count("params/tiny.yaml") == 1 and "\n" not in str(caught.value)


def test_an_unknown_domain_is_refused(empty):
    with pytest.raises(ConfigError, match="profile 'tiny' has no domain 'lanes': choose one of streets, faces"):
        two(empty).for_domain("lanes")
    with pytest.raises(ConfigError, match="profile 'tiny' has no domain 'lanes'"):
        load_profile("tiny", "lanes")
