"""Measures of one domain in one JSON file, read back as it was written or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from gcdp.errors import CheckpointError, DataError
from gcdp.storage import write_json

RECORD = "record.json"


class JsonRecord:
    """Base of frozen dataclasses whose fields JSON can hold. `notebook` is the one that makes the record."""

    notebook: ClassVar[str]

    def save(self, folder: Path) -> Path:
        """Write <folder>/record.json, atomically; returns its path."""
        write_json(Path(folder) / RECORD, vars(self))
        return Path(folder) / RECORD

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises CheckpointError where it is missing, DataError where it is damaged."""
        path = Path(folder) / RECORD
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: fetch it, or run {cls.notebook} of a profile that draws it")
        try:
            return cls(**cls._read(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is damaged or of an older form ({error!r}): fetch or make it again") from error

    @classmethod
    def _read(cls, content: dict[str, Any]) -> dict[str, Any]:
        """The fields, from what the file holds."""
        return content
