"""What is measured of Fig. 9 and of models of any direction, as plain JSON, released or drawn here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcdp.diffusion.paths import ALONE
from gcdp.errors import CheckpointError, DataError
from gcdp.experiments.directions import SEGMENTER, Directions
from gcdp.experiments.few_layouts import few_layouts
from gcdp.experiments.profile import Profile
from gcdp.experiments.runs import released_folder
from gcdp.storage import sha256, write_json
from gcdp.validation import to_dict

RECORD = "record.json"
ORDER = (
    "repaint", "repaint_once", "repaint_authors", "repaint_fewer", "repaint_any", "direct", "direct_fewer", "direct_once",
    "specialist", "specialist_once", SEGMENTER, "referee", "real", "joint", *ALONE,
)  # fmt: skip


@dataclass(frozen=True)
class DirectionsRecord:
    """The measures of one domain.

    Args:
        settings: `directions` and `sampling` of the profile.
        minimum_area: pixels from which a class counts as seen.
        networks: {role: SHA-256 of the weights}.
        image, layout: {method: {"label", "model", "network_calls", "measures"}}, of halves drawn given the other.
        image_differences, layout_differences: {"method - method": Estimate} of mIoU.
        paths, path_differences: the same of pairs along paths, differences of the effect to the diagonal.
        few_layouts: see `gcdp.experiments.few_layouts`; empty where it was not compared.
    """

    settings: dict[str, Any]
    minimum_area: int
    networks: dict[str, list[str]]
    image: dict[str, Any]
    image_differences: dict[str, Any]
    layout: dict[str, Any]
    layout_differences: dict[str, Any]
    paths: dict[str, Any]
    path_differences: dict[str, Any]
    few_layouts: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Write <folder>/record.json, atomically; returns its path."""
        write_json(Path(folder) / RECORD, vars(self))
        return Path(folder) / RECORD

    @classmethod
    def load(cls, folder: Path) -> DirectionsRecord:
        """Raises CheckpointError where it is missing, DataError where it is damaged."""
        path = Path(folder) / RECORD
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: fetch it, or run fig9_outpainting of a profile that draws it")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tables = {name: _ordered(content[name]) for name in ("image", "layout", "paths")}
            return cls(**{**content, **tables})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is damaged or of an older form ({error!r}): fetch or make it again") from error


def make_directions(profile: Profile, domain: str, min_area: int) -> DirectionsRecord:
    """The record of a domain: the released one, else what is missing of it is drawn here.

    Raises CheckpointError where the released one is missing or of other settings, and what drawing and training raise.
    """
    wanted = settings_of(profile)
    if profile.released:
        record = DirectionsRecord.load(released_folder(profile, domain, "directions"))
        if (record.settings, record.minimum_area) != (wanted, min_area):
            raise CheckpointError(
                f"the released record of {domain} is of other settings than those of now (directions, sampling, area): "
                f"restore them, or make it again with profile '{profile.released}-scratch'"
            )
        record.save(records_folder(profile, domain))
        return record
    directions = Directions(profile, domain, min_area)
    roles = profile.directions.models
    networks = {
        role: [sha256(path) for path in directions.weights(role)] for role in ("diagonal", "any") if role in roles
    }
    parts = *directions.image_rows(), *directions.layout_rows(), *directions.path_rows()
    record = DirectionsRecord(wanted, min_area, networks, *parts, few_layouts(directions))
    record.save(records_folder(profile, domain))
    return record


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
    return json.loads(json.dumps({"directions": to_dict(profile.directions), "sampling": profile.sampling.keywords()}))
