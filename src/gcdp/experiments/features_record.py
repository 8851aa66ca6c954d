"""What is kept of a grid of clusterings: for every row, how well its clusters agree with true classes, image by image.

A few numbers an image stand for feature maps of megabytes, so that intervals over images and training seeds can be
computed wherever the records are read (`gcdp.experiments.features_measures`). Every network has a file of its own; a
release joins them to one file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcdp.errors import CheckpointError
from gcdp.evaluation.agreement import AGREEMENT
from gcdp.experiments.study_record import SUFFIX, Trial
from gcdp.storage import load_compressed, save_compressed

# What a network is given. "paired": image and layout of one pair at the same t, as the paper trains it; an image-only
# network has no other. "blank": the layout at t_y = T, random labels, and it is told so. "swapped": the layout of
# another pair at the same t, so that what fits the image's own layout comes from the image.
PAIRED, BLANK, SWAPPED = CONDITIONS = ("paired", "blank", "swapped")
# Behind one of these: the same clusters held against the layout of the other pair. That is what both layouts share, by
# place alone, and, of "swapped", what was copied from the input.
OTHER = "_other"
BASELINES = "baselines"
RELEASE = f"features{SUFFIX}"
FORMAT = 1
LEVELS = 127  # of the integers that hold how far single images lie from the mean


class Row(NamedTuple):
    """One clustering of the grid.

    Args:
        condition: one of CONDITIONS, perhaps with OTHER behind it, or a baseline (`FeatureGrid.baselines`).
        tap: block whose features were clustered; "" where there is none to choose.
        time: t of the noise; 0 where there is none to choose.
        clusters: how many; 0 where there is no number to choose.
    """

    condition: str
    tap: str = ""
    time: int = 0
    clusters: int = 0


@dataclass(frozen=True)
class FeatureRecord:
    """All rows of one network, or of the baselines.

    Args:
        network: fingerprint of its weights; empty for baselines.
        identity: fingerprint of all else that decides the rows.
        values: {row: float64 (measures, N)}: by the order of `AGREEMENT`, values of N images whose mean is the measure.
    """

    network: str
    identity: str
    values: dict[Row, np.ndarray]

    def find(self, condition: str, tap: str = "", time: int = 0, clusters: int = 0) -> Row | None:
        """The row of that condition; where it has no tap, time or number to choose, these do not matter. None: none."""
        taps, times, counts = dict.fromkeys((tap, "")), dict.fromkeys((time, 0)), dict.fromkeys((clusters, 0))
        rows = (Row(condition, a, b, c) for a in taps for b in times for c in counts)
        return next((row for row in rows if row in self.values), None)

    def get(self, row: Row, measure: str) -> np.ndarray:
        """Values (N,) of one measure in one row."""
        return self.values[row][list(AGREEMENT).index(measure)]

    def save(self, path: Path) -> None:
        """Write a file, atomically."""
        save_compressed(Path(path), *self.to_parts())

    @classmethod
    def load(cls, path: Path) -> FeatureRecord:
        """Raises CheckpointError where it is missing or damaged."""
        return cls.from_parts(*load_compressed(Path(path)), Path(path))

    def to_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As arrays and JSON types: means as float32, what each image adds to them as integers of 8 bits."""
        values = np.stack(list(self.values.values()))
        means = values.mean(-1, keepdims=True)
        scales = np.abs(values - means).max(-1, keepdims=True) / LEVELS
        steps = np.divide(values - means, scales, out=np.zeros_like(values), where=scales > 0)
        arrays = {"means": means.astype(np.float32), "scales": scales.astype(np.float32)}
        arrays["steps"] = steps.round().astype(np.int8)
        content = {"format": FORMAT, "network": self.network, "identity": self.identity, "measures": list(AGREEMENT)}
        return arrays, {**content, "rows": [list(row) for row in self.values]}

    @classmethod
    def from_parts(cls, arrays: dict[str, np.ndarray], content: dict[str, Any], path: Path) -> FeatureRecord:
        """What `to_parts` gave; `path` is for the error."""
        if content.get("format") != FORMAT or content.get("measures") != list(AGREEMENT):
            raise CheckpointError(f"{path} is a record of another form than {FORMAT}: delete it and compute it again")
        steps = arrays["steps"] * arrays["scales"].astype(np.float64)
        values = arrays["means"].astype(np.float64) + steps - steps.mean(-1, keepdims=True)
        rows = [Row(*row) for row in content["rows"]]
        return cls(content["network"], content["identity"], dict(zip(rows, values, strict=True)))


@dataclass
class FeatureRecords:
    """The records of a domain that are there: networks by trial, and the baselines."""

    networks: dict[Trial, FeatureRecord] = field(default_factory=dict)
    baselines: FeatureRecord | None = None

    @classmethod
    def load(cls, folder: Path, identity: str | None = None) -> FeatureRecords:
        """The released records of a folder, else those of its files; of these, others than of `identity` are left out.

        Raises CheckpointError where one is damaged.
        """
        if (Path(folder) / RELEASE).is_file():
            return cls._released(Path(folder) / RELEASE)
        records = cls()
        for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
            record, name = FeatureRecord.load(path), path.name.removesuffix(SUFFIX)
            if identity in (None, record.identity):
                records._add(name, record)
        return records

    def release(self, folder: Path) -> Path:
        """Write all records as one file into `folder`; returns its path."""
        arrays, content = {}, {}
        for name, record in self.by_name().items():
            own, content[name] = record.to_parts()
            arrays |= {f"{name}/{key}": array for key, array in own.items()}
        save_compressed(Path(folder) / RELEASE, arrays, content)
        return Path(folder) / RELEASE

    @classmethod
    def _released(cls, path: Path) -> FeatureRecords:
        arrays, content = load_compressed(path)
        records = cls()
        for name, own in content.items():
            parts = {key.rpartition("/")[2]: each for key, each in arrays.items() if key.startswith(f"{name}/")}
            records._add(name, FeatureRecord.from_parts(parts, own, path))
        return records

    def _add(self, name: str, record: FeatureRecord) -> None:
        if name == BASELINES:
            self.baselines = record
        else:
            self.networks[Trial.of(name)] = record

    def by_name(self) -> dict[str, FeatureRecord]:
        """All records by the names of their files."""
        named = {trial.key: record for trial, record in sorted(self.networks.items())}
        return named if self.baselines is None else {**named, BASELINES: self.baselines}
