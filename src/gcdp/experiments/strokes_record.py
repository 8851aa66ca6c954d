"""What is measured of pictures after strokes, as plain JSON, released or drawn here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcdp.errors import CheckpointError, DataError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.json_record import JsonRecord
from gcdp.experiments.models import model_folder, network_hash
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import referee_hashes
from gcdp.experiments.runs import released_folder
from gcdp.experiments.strokes import StrokePictures
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint
from gcdp.validation import to_dict


@dataclass(frozen=True)
class StrokesRecord(JsonRecord):
    """The measures of one domain.

    Args:
        settings: `strokes` and `sampling` of the profile.
        identity: fingerprint of all that decides the measures but the networks.
        networks: {role: fingerprint of the weights}.
        rows: `StrokePictures.rows`.
        differences: `StrokePictures.differences`.
        compared: `StrokePictures.compared`.
        renaming: `StrokePictures.renaming`.
    """

    notebook = "strokes_gradop"

    settings: dict[str, Any]
    identity: str
    networks: dict[str, str]
    rows: dict[str, Any]
    differences: dict[str, Any]
    compared: dict[str, Any]
    renaming: dict[str, Any]


def make_strokes(profile: Profile, domain: str) -> StrokesRecord:
    """The record of a domain: the released one, else that which is kept, else it is drawn here.

    Raises CheckpointError where the released one is missing, or of other settings or networks, and what drawing raises.
    """
    if profile.released:
        record = StrokesRecord.load(released_folder(profile, domain, "strokes"))
        if record.settings != settings_of(profile) or record.networks != _networks(profile, domain):
            raise CheckpointError(
                f"the released record of {domain} is of other settings (strokes, sampling) or networks than those of "
                f"now: fetch the whole repository, or make it again with profile '{profile.released}-scratch'"
            )
        record.save(records_folder(profile, domain))
        return record
    return current(profile, domain) or _compute(profile, domain)


def current(profile: Profile, domain: str) -> StrokesRecord | None:
    """The kept record, where it is that of the settings, referees, pairs, code and networks of now; else None."""
    try:
        record = StrokesRecord.load(records_folder(profile, domain))
        same = record.identity == _identity(profile, domain) and record.networks == _networks(profile, domain)
    except (CheckpointError, DataError):
        return None
    return record if same else None


def _compute(profile: Profile, domain: str) -> StrokesRecord:
    pictures = StrokePictures(profile, domain)
    facts = settings_of(profile), _identity(profile, domain), _networks(profile, domain)
    measures = pictures.rows(), pictures.differences(), pictures.compared(), pictures.renaming()
    record = StrokesRecord(*facts, *measures)
    record.save(records_folder(profile, domain))
    return record


def _networks(profile: Profile, domain: str) -> dict[str, str]:
    models = profile.strokes.models
    return {role: network_hash(model_folder(profile, domain, model)) for role, model in models.items()}


def _identity(profile: Profile, domain: str) -> str:
    """Fingerprint of all that decides a record but its networks."""
    decisive = {
        "settings": settings_of(profile),
        "referees": referee_hashes(profile, domain),
        "pairs": open_pairs(profile, domain, profile.strokes.split).checksums,
        "code": source_fingerprint("gcdp.experiments.strokes"),
    }
    return fingerprint(decisive)


def records_folder(profile: Profile, domain: str) -> Path:
    """Where a run keeps the record of a domain, and what was drawn for it: results/<profile>/strokes/<domain>."""
    return profile.results_folder("strokes", domain)


def settings_of(profile: Profile) -> dict[str, Any]:
    """What decides a record but for weights, referees and data, as JSON reads it."""
    return json.loads(json.dumps({"strokes": to_dict(profile.strokes), "sampling": profile.sampling.keywords()}))
