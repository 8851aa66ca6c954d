"""What is measured of guidance of each half, as plain JSON, released or drawn here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcdp.errors import CheckpointError, DataError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.guidance import GuidedHalves, choose
from gcdp.experiments.json_record import JsonRecord
from gcdp.experiments.models import model_folder, network_hash
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import referee_hashes
from gcdp.experiments.runs import released_folder
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint
from gcdp.validation import to_dict


@dataclass(frozen=True)
class GuidanceRecord(JsonRecord):
    """The measures of one domain.

    Args:
        settings: `guidance` and `sampling` of the profile.
        minimum_area: pixels from which a class counts as seen.
        identity: fingerprint of all that decides the measures but the network.
        network: fingerprint of the weights.
        grid: `GuidedHalves.grid`, on validation captions.
        tested, differences: `GuidedHalves.tested` of what `choose` chose, on test captions.
    """

    notebook = "guidance_halves"

    settings: dict[str, Any]
    minimum_area: int
    identity: str
    network: str
    grid: list[dict[str, Any]]
    tested: dict[str, dict[str, Any]]
    differences: dict[str, Any]


def make_guidance(profile: Profile, domain: str, area: int) -> GuidanceRecord:
    """The record of a domain: the released one, else that which is kept, else it is drawn here.

    Raises CheckpointError where the released one is missing, or of other settings or another network, and what drawing
    raises.
    """
    if profile.released:
        record = GuidanceRecord.load(released_folder(profile, domain, "guidance"))
        mine = record.settings, record.minimum_area, record.network
        if mine != (settings_of(profile), area, _network(profile, domain)):
            raise CheckpointError(
                f"the released record of {domain} is of other settings (guidance, sampling, area) or another network "
                f"than those of now: fetch the whole repository, or make it again with profile "
                f"'{profile.released}-scratch'"
            )
        record.save(records_folder(profile, domain))
        return record
    return current(profile, domain, area) or _compute(profile, domain, area)


def current(profile: Profile, domain: str, area: int) -> GuidanceRecord | None:
    """The kept record, where it is that of the settings, referees, pairs, code and network of now; else None."""
    try:
        record = GuidanceRecord.load(records_folder(profile, domain))
        same = record.identity == _identity(profile, domain, area) and record.network == _network(profile, domain)
    except (CheckpointError, DataError):
        return None
    return record if same else None


def _compute(profile: Profile, domain: str, area: int) -> GuidanceRecord:
    halves = GuidedHalves(profile, domain, area)
    facts = settings_of(profile), area, _identity(profile, domain, area), _network(profile, domain)
    grid = halves.grid()
    record = GuidanceRecord(*facts, grid, *halves.tested(choose(grid)))
    record.save(records_folder(profile, domain))
    return record


def _network(profile: Profile, domain: str) -> str:
    return network_hash(model_folder(profile, domain, profile.guidance.model))


def _identity(profile: Profile, domain: str, area: int) -> str:
    """Fingerprint of all that decides a record but its network."""
    decisive = {
        "settings": settings_of(profile),
        "area": area,
        "referees": referee_hashes(profile, domain),
        "pairs": {split: open_pairs(profile, domain, split).checksums for split in ("val", "test")},
        "code": source_fingerprint("gcdp.experiments.guidance"),
    }
    return fingerprint(decisive)


def records_folder(profile: Profile, domain: str) -> Path:
    """Where a run keeps the record of a domain, and what was drawn for it: results/<profile>/guidance/<domain>."""
    return profile.results_folder("guidance", domain)


def settings_of(profile: Profile) -> dict[str, Any]:
    """What decides a record but for weights, referees and data, as JSON reads it."""
    settings = {"guidance": to_dict(profile.guidance), "sampling": profile.sampling.keywords()}
    return json.loads(json.dumps({**settings, "grid": profile.sampling.guidances}))
