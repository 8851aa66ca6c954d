"""What `dvc repro` runs: `params.yaml`, written from a profile, with one entry for every stage that repeats.

`python -m gcdp.experiments.selection toy` chooses a profile; edit `params.yaml` to run fewer domains or models. Without
a name the choice stays, and the resolved files of all profiles that say `like` are written anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import yaml

from gcdp.errors import ConfigError
from gcdp.experiments.enlarging import enlarging_models
from gcdp.experiments.params import (
    COMMAND,
    profile_names,
    read_yaml,
    repository_root,
    resolved,
    settings_file,
    write_resolved,
)
from gcdp.experiments.profile import Profile, make_profile
from gcdp.experiments.sections import BASE
from gcdp.training.recipe import TIMES

# section of params.yaml -> what stands above it
COMMENTS = {
    "profile": f"Written by `{COMMAND} <profile>`; take lines out to run fewer domains or models.",
    "settings": "Its file with all settings, whose keys DVC tracks.",
    "domains": "Each has its data, captions and text.",
    "attribute_domains": "Captions name attributes, and two referees ask for them: Fig. 1 and 7.",
    "class_domains": "Captions name every class of the layout: Fig. 6.",
    "tables": "Those with a study and Table 1: all but the ones of super-resolution.",
    "referees": "Released weights of each, or else a part of the pairs, tracked anyway: DVC takes no path twice.",
    "studies": "Released records below weights/, README.md without them.",
    "features": "Networks that Fig. 8 looks into; released records below weights/, README.md without them.",
    "outpaintings": "Networks that draw one half given the other, for Fig. 9; released records as above.",
    "directions": "Those of Fig. 9 with a network that answers in any direction.",
    "guidances": "Networks whose halves are guided apart, for guidance_halves; released records as above.",
    "strokes": "Networks that draw after strokes, for strokes_gradop; released records as above.",
    "enlargings": "Domains with super-resolution: two networks, below results/<profile>/models.",
    "report": "Metrics of figures that not every profile has; where it has none, their notebook stands for them.",
    "models": "To be trained. Released weights below weights/, or README.md; <also>: more pairs, below data/<profile>.",
    "samples": "Models that draw for Fig. 5, each from results/<profile>/models/<first> and <second>.",
    "evaluations": "Models that the referees score. Where there is but one network, <second> is a file of <first>.",
}
NETWORK = "model.safetensors"
UNRELEASED = "README.md"  # of weights/: a path that is always there and decides nothing
# Sections with one entry a line.
FLAT = (
    "referees", "studies", "features", "outpaintings", "directions", "guidances", "strokes", "enlargings", "report",
    "models", "samples", "evaluations",
)  # fmt: skip

REPORTED = {  # folder of metrics -> section of its stages, and their notebook
    "claim": ("studies", "08_claim"),
    "features": ("features", "fig8_kmeans"),
    "outpainting": ("outpaintings", "fig9_outpainting"),
    "any_direction": ("directions", "any_direction"),
    "super_resolution": ("enlargings", "super_resolution"),
    "guidance": ("guidances", "guidance_halves"),
    "strokes": ("strokes", "strokes_gradop"),
}


def selected() -> dict[str, Any]:
    """What `params.yaml` selects: a value for each of COMMENTS."""
    return read_yaml(repository_root() / "params.yaml")


def use(name: str) -> None:
    """Select a profile: rewrite `params.yaml` with all of its domains and models, and its resolved file.

    Raises ConfigError for an unknown profile or a slip in its settings; then nothing is written.
    """
    chosen = selection(make_profile(name, resolved(name)))
    write_resolved(name)
    parts = []
    for section, comment in COMMENTS.items():
        style = None if section in FLAT else False
        parts += [f"# {comment}\n"]
        parts += [yaml.safe_dump({section: chosen[section]}, sort_keys=False, default_flow_style=style, width=1000)]
    (repository_root() / "params.yaml").write_text("".join(parts), encoding="utf-8")


def selection(profile: Profile) -> dict[str, Any]:
    """The content of `params.yaml` for all domains and models of a profile."""
    seen = {domain: profile.for_domain(domain) for domain in profile.domains}
    own_size = {name: view for name, view in seen.items() if not profile.domain(name).enlarges}
    named = [name for name, view in own_size.items() if view.referee.attributes.name and view.referee.alignment.name]
    chosen = {
        "profile": profile.name,
        "settings": settings_file(profile.name),
        "domains": list(seen),
        "attribute_domains": named,
        "class_domains": [domain for domain in own_size if domain not in named],
        "tables": list(own_size),
        "referees": {domain: _referees(view, domain) for domain, view in seen.items()},
        "studies": {
            domain: {"domain": domain, "weights": view.released_name(domain, "study") or UNRELEASED}
            for domain, view in own_size.items()
        },
        "features": {domain: _features(view, domain) for domain, view in seen.items() if view.features.models},
        "outpaintings": {
            domain: _outpaintings(view, domain) for domain, view in seen.items() if view.directions.diagonal
        },
        "directions": {domain: _directions(view, domain) for domain, view in seen.items() if view.directions.any},
        "guidances": {domain: _guidances(view, domain) for domain, view in seen.items() if view.guidance.model},
        "strokes": {domain: _strokes(view, domain) for domain, view in seen.items() if view.strokes.models},
        "enlargings": {
            domain: _enlargings(view, domain) for domain, view in seen.items() if "cascade" in enlarging_models(view)
        },
        "report": {},
        "models": _entries(seen, trained_models, _weights),
        "samples": _entries(seen, _sampled, _networks),
        "evaluations": _entries(seen, _evaluated, _networks),
    }
    for name, (section, notebook) in REPORTED.items():
        metrics = f"results/{profile.name}/metrics/{name}"
        chosen["report"][name] = metrics if chosen[section] else f"notebooks/{notebook}.ipynb"
    return chosen


def _entries(seen: dict[str, Profile], choose, more) -> dict[str, dict[str, str]]:
    """{domain-model: {"domain", "model", and what `more` adds}} for the models that `choose` picks in each domain."""
    return {
        f"{domain}-{model}": {"domain": domain, "model": model, **more(view, domain, model)}
        for domain, view in seen.items()
        for model in choose(view)
    }


def _evaluated(profile: Profile) -> list[str]:
    drawing = [name for name, config in profile.models.items() if profile.belongs(name) and config.kind != "enlarger"]
    return list(profile.evaluate.models or drawing)


def _sampled(profile: Profile) -> list[str]:
    kinds = ("diffusion", "cascade")
    drawn = [model for model, config in profile.models.items() if config.kind in kinds and profile.belongs(model)]
    return list(profile.sample.models or drawn)


def trained_models(profile: Profile) -> list[str]:
    """The networks behind what is sampled, evaluated, looked into and asked for halves; where records of the last are
    released, the networks that stand in them alone are not needed."""
    live = ("diagonal", "any") if profile.released else profile.directions.networks
    needed = {*_evaluated(profile), *_sampled(profile), *profile.features.models, *profile.strokes.models.values()}
    needed |= {profile.guidance.model} - {""}
    needed |= {model for role, model in profile.directions.networks.items() if role in live}
    needed |= {part for model in needed for role, part in profile.model(model).parts.items() if role != BASE}
    return [model for model, config in profile.models.items() if model in needed and config.trained]


def _weights(profile: Profile, domain: str, model: str) -> dict[str, str]:
    """Released weights, and further pairs that a training reads: smaller ones; else a part of its own, which decides
    nothing."""
    smaller = profile.domain(domain).enlarges
    also = f"{smaller}/pairs" if smaller else f"{domain}/pairs/train"
    return {"weights": profile.released_name(domain, model) or UNRELEASED, "also": also}


def _features(profile: Profile, domain: str) -> dict[str, str]:
    """The two networks of Fig. 8, and the records of those that are not there."""
    return _two_networks(profile, domain, "features", profile.features.models)


def _guidances(profile: Profile, domain: str) -> dict[str, str]:
    """The network, below results/<profile>/models, and its record."""
    weights = profile.released_name(domain, "guidance") or UNRELEASED
    return {"domain": domain, "weights": weights, "network": f"{domain}-{profile.guidance.model}"}


def _strokes(profile: Profile, domain: str) -> dict[str, str]:
    return _two_networks(profile, domain, "strokes", profile.strokes.models.values())


def _two_networks(profile: Profile, domain: str, record: str, models: Iterable[str]) -> dict[str, str]:
    """Two networks, below results/<profile>/models, and a record."""
    networks = zip(("first", "second"), (f"{domain}-{model}" for model in models))
    return {"domain": domain, "weights": profile.released_name(domain, record) or UNRELEASED, **dict(networks)}


def _directions(profile: Profile, domain: str) -> dict[str, str]:
    networks = _outpaintings(profile, domain)
    return {name: networks[name] for name in ("domain", "first", "second")}


def _outpaintings(profile: Profile, domain: str) -> dict[str, str]:
    """Four networks below results/<profile>/models; files of the first stand for those that are absent or the same."""
    trained, chosen = trained_models(profile), profile.directions
    first, *others = chosen.diagonal, chosen.any, *(chosen.models.get(role, "") for role in TIMES if role != "joint")
    paths = {"domain": domain, "weights": profile.released_name(domain, "directions") or UNRELEASED}
    paths["first"], taken = f"{domain}-{first}", {first}
    for place, name, file in zip(("second", "third", "fourth"), others, ("config.json", "curve.csv", NETWORK)):
        apart = name in trained and name not in taken
        paths[place] = f"{domain}-{name}" if apart else f"{domain}-{first}/{file}"
        taken.add(name)
    return paths


def _enlargings(profile: Profile, domain: str) -> dict[str, str]:
    networks = _networks(profile, domain, enlarging_models(profile)["cascade"])
    return {"domain": domain, "smaller": profile.domain(domain).enlarges, **networks}


def _networks(profile: Profile, domain: str, model: str) -> dict[str, str]:
    """The trained networks behind a model, below results/<profile>/models."""
    parts = profile.model(model).parts or {"": model}
    names = [f"{profile.domain_of(domain, role)}-{name}" for role, name in parts.items()]
    return dict(zip(("first", "second"), [*names, f"{names[0]}/config.json"], strict=False))


def _referees(profile: Profile, domain: str) -> dict[str, str]:
    """Paths of the weights of each referee that is released."""
    settings, pairs = profile.referee, f"data/{profile.name}/{domain}/pairs"
    ours = {
        "layouts": (settings.name == "segmenter", "referee", "train"),
        "attributes": (settings.attributes.name == "classifier", "attributes", "val"),
        "alignment": (settings.alignment.name == "two_tower", "alignment", "test"),
    }
    paths = {"domain": domain}
    for part, (trained, what, split) in ours.items():
        name = profile.released_name(domain, what) if trained else ""
        paths[part] = f"weights/{name}" if name else f"{pairs}/{split}"
    return paths


def main() -> None:
    """Command line: select a profile, or only bring the resolved files up to date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Choose the profile that `dvc repro` runs.")
    parser.add_argument("profile", nargs="?", help="a file of params/; without one the choice stays as it is")
    name = parser.parse_args().profile
    try:
        if name:
            use(name)
        else:
            for each in profile_names():
                write_resolved(each)
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
