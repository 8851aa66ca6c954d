"""What is measured of Fig. 9 and of models of any direction, as plain JSON, released or drawn here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcdp.diffusion.paths import ALONE
from gcdp.errors import CheckpointError, DataError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.directions import SEGMENTER, Directions
from gcdp.experiments.few_layouts import few_layouts
from gcdp.experiments.json_record import JsonRecord
from gcdp.experiments.models import model_folder, network_hash
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import referee_hashes
from gcdp.experiments.runs import released_folder
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint
from gcdp.training.recipe import decisive
from gcdp.validation import to_dict

ORDER = (
    "repaint", "repaint_once", "repaint_authors", "repaint_fewer", "repaint_any", "direct", "direct_fewer",
    "direct_once", "specialist", "specialist_once", SEGMENTER, "referee", "real", "joint", *ALONE,
)  # fmt: skip


@dataclass(frozen=True)
class DirectionsRecord(JsonRecord):
    """The measures of one domain.

    Args:
        settings: `directions` and `sampling` of the profile.
        minimum_area: pixels from which a class counts as seen.
        identity: fingerprint of all that decides the measures but the networks.
        networks: {role: fingerprint of the weights}.
        image, layout: {method: {"label", "model", "network_calls", "measures"}}, of halves drawn given the other.
        image_differences, layout_differences: {"method - method": Estimate} of mIoU.
        paths, path_differences: the same of pairs along paths, differences of the effect to the diagonal.
        few_layouts: see `gcdp.experiments.few_layouts`; empty where it was not compared.
    """

    notebook = "fig9_outpainting"

    settings: dict[str, Any]
    minimum_area: int
    identity: str
    networks: dict[str, str]
    image: dict[str, Any]
    image_differences: dict[str, Any]
    layout: dict[str, Any]
    layout_differences: dict[str, Any]
    paths: dict[str, Any]
    path_differences: dict[str, Any]
    few_layouts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def _read(cls, content: dict[str, Any]) -> dict[str, Any]:
        rows = {name: _ordered(content[name]) for name in ("image", "layout", "paths")}
        return {**content, **rows, "settings": _decisive(content["settings"])}


def make_directions(profile: Profile, domain: str, min_area: int) -> DirectionsRecord:
    """The record of a domain: the released one, else that which is kept, else it is drawn here.

    Raises CheckpointError where the released one is missing, or of other settings or networks, and what drawing and
    training raise.
    """
    if profile.released:
        record = DirectionsRecord.load(released_folder(profile, domain, "directions"))
        _check(profile, domain, record, min_area)
        record.save(records_folder(profile, domain))
        return record
    return current(profile, domain, min_area) or _compute(profile, domain, min_area)


def current(profile: Profile, domain: str, min_area: int) -> DirectionsRecord | None:
    """The kept record, where it is that of the settings, referees, pairs, code and networks of now; else None."""
    try:
        record = DirectionsRecord.load(records_folder(profile, domain))
        networks = _networks(profile, domain)
    except (CheckpointError, DataError):
        return None
    same = record.identity == _identity(profile, domain, min_area) and record.networks == networks
    return record if same else None


def _compute(profile: Profile, domain: str, min_area: int) -> DirectionsRecord:
    directions = Directions(profile, domain, min_area)
    facts = settings_of(profile), min_area, _identity(profile, domain, min_area), _networks(profile, domain)
    parts = *directions.image_rows(), *directions.layout_rows(), *directions.path_rows()
    record = DirectionsRecord(*facts, *parts, few_layouts(directions))
    record.save(records_folder(profile, domain))
    return record


def _check(profile: Profile, domain: str, record: DirectionsRecord, min_area: int) -> None:
    """Refuse a released record that is not about what this profile draws with."""
    live = _networks(profile, domain)
    if (record.settings, record.minimum_area) != (settings_of(profile), min_area):
        other = "settings (directions, sampling, area)"
    elif record.networks | live != record.networks:
        other = "networks"
    else:
        return
    raise CheckpointError(
        f"the released record of {domain} is of other {other} than those of now: fetch the whole repository, or make "
        f"it again with profile '{profile.released}-scratch'"
    )


def _networks(profile: Profile, domain: str) -> dict[str, str]:
    """{role: fingerprint of its weights}; beside released records those of the specialists are not there."""
    roles = ("diagonal", "any") if profile.released else tuple(profile.directions.networks)
    networks = {role: model for role, model in profile.directions.networks.items() if role in roles}
    return {role: network_hash(model_folder(profile, domain, model)) for role, model in networks.items()}


def _identity(profile: Profile, domain: str, min_area: int) -> str:
    """Fingerprint of all that decides a record but its networks."""
    decisive = {
        "settings": settings_of(profile),
        "area": min_area,
        "referees": referee_hashes(profile, domain),
        "pairs": {split: open_pairs(profile, domain, split).checksums for split in ("train", profile.directions.split)},
        "code": source_fingerprint("gcdp.experiments.directions"),
    }
    return fingerprint(decisive)


def records_folder(profile: Profile, domain: str) -> Path:
    """Where a run keeps the record of a domain, and what was drawn for it: results/<profile>/directions/<domain>."""
    return profile.results_folder("directions", domain)


def _ordered(rows: dict[str, Any]) -> dict[str, Any]:
    """Rows in the order of tables: leads from the lowest on, then what else there is by `ORDER`."""
    rank = {name: number for number, name in enumerate(ORDER)}

    def place(name: str) -> tuple[int, float]:
        return (1, rank[name]) if name in rank else (0, float(name))

    return {name: rows[name] for name in sorted(rows, key=place)}


def settings_of(profile: Profile) -> dict[str, Any]:
    """What decides a record but for weights, referees and data, as JSON reads it."""
    settings = {"directions": to_dict(profile.directions), "sampling": profile.sampling.keywords()}
    return _decisive(json.loads(json.dumps(settings)))


def _decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those of the segmenter's training that decide nothing, which a newer recipe may have more of."""
    directions = settings["directions"]
    return settings | {"directions": directions | {"segmenter_train": decisive(directions["segmenter_train"])}}
