"""What is kept of repeated trainings: one bit for each caption and label, a few numbers a network, and no features.

Whatever a study reports is computed from these bits, wherever they are read (`gcdp.experiments.study_measures`). Every
trial has files of its own, so that processes side by side never write the same one; a release joins them to one file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcdp.errors import CheckpointError
from gcdp.experiments.study import Trial
from gcdp.storage import load_compressed, save_compressed

SUFFIX = ".safetensors.xz"
RELEASE = f"study{SUFFIX}"
SETUP = f"setup{SUFFIX}"
PASSES = ("validation", "test")
FORMAT = 3


class Point(NamedTuple):
    """What the referees found in the samples drawn at one guidance.

    Args:
        bits: bool (N, L) by name: classes "seen_1px", and "seen" from the calibrated area on; classes of the own
            layout from that area on, "drawn"; "attributes" that are seen.
        values: float (N,) by name: the "alignment" of image and caption.
        scalars: of the whole set: "frechet", "kid", "miou", "miou_all", "fsd".
    """

    bits: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    scalars: dict[str, float]


@dataclass(frozen=True)
class Setup:
    """What all trials of a study share.

    Args:
        identity: fingerprint of all that decides scores but the networks.
        minimum_area: pixels from which a class counts.
        facts: names of the labels ("classes", "attributes"; those of attributes empty where captions name classes),
            "labeled": which classes count, "nameable": which attributes captions can name, and "alignment_name".
        named: bool (N, L) by "<split>/classes" and "<split>/attributes": what captions name.
        swaps: int (M,) by name: "caption" and "label" of each swap.
    """

    identity: str
    minimum_area: int
    facts: dict[str, Any]
    named: dict[str, np.ndarray]
    swaps: dict[str, np.ndarray]

    @property
    def labels(self) -> str:
        """What correspondence is about: "attributes" where captions name them, else "classes"."""
        return "attributes" if self.facts["attributes"] else "classes"

    def save(self, folder: Path) -> None:
        """Write <folder>/setup."""
        save_compressed(Path(folder) / SETUP, *self.to_parts())

    @classmethod
    def load(cls, folder: Path) -> Setup:
        """Raises CheckpointError where it is missing or damaged."""
        return cls.from_parts(*load_compressed(Path(folder) / SETUP), Path(folder) / SETUP)

    def to_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As arrays and JSON types."""
        bits, shapes = _packed({f"named/{name}": bits for name, bits in self.named.items()})
        swaps = {f"swaps/{name}": values.astype(np.uint16) for name, values in self.swaps.items()}
        facts = {"format": FORMAT, "identity": self.identity, "minimum_area": self.minimum_area}
        return {**bits, **swaps}, {**facts, "facts": self.facts, "shapes": shapes}

    @classmethod
    def from_parts(cls, arrays: dict[str, np.ndarray], content: dict[str, Any], path: Path) -> Setup:
        """What `to_parts` gave; `path` is for the error."""
        _check(content, path)
        named = _unpacked(arrays, content["shapes"], "named/")
        swaps = {n.removeprefix("swaps/"): v.astype(np.int64) for n, v in arrays.items() if n.startswith("swaps/")}
        return cls(content["identity"], content["minimum_area"], content["facts"], named, swaps)


@dataclass(frozen=True)
class Record:
    """One pass over a trained network: on validation captions to choose its guidance, or on test captions.

    Args:
        network: fingerprint of its weights.
        identity: that of the setup it was scored in.
        points: by guidance scale.
        guidance: the chosen scale, of a test.
        facts: of the training: "seconds", "steps", "batch_size".
        swapped: bool (M,) by name, of a test at the chosen scale: whether the referee sees the label of each swap,
            "seen_with" and "seen_without", and whether the own layout holds it, "drawn_with" and "drawn_without".
    """

    network: str
    identity: str
    points: dict[float, Point]
    guidance: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    swapped: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def chosen(self) -> Point:
        """What was found at the chosen scale."""
        return self.points[self.guidance]

    def save(self, folder: Path, name: str) -> None:
        """Write <folder>/<name>, atomically."""
        save_compressed(Path(folder) / f"{name}{SUFFIX}", *self.to_parts())

    @classmethod
    def load(cls, folder: Path, name: str) -> Record:
        """Raises CheckpointError where it is missing or damaged."""
        path = Path(folder) / f"{name}{SUFFIX}"
        return cls.from_parts(*load_compressed(path), path)

    def to_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As arrays and JSON types; all scales stand in one array."""
        points = list(self.points.values())
        bits, shapes = _packed({f"bits/{name}": np.stack([p.bits[name] for p in points]) for name in points[0].bits})
        swapped, more = _packed({f"swapped/{name}": bits for name, bits in self.swapped.items()})
        names = points[0].values
        values = {f"values/{name}": np.stack([p.values[name] for p in points]).astype(np.float16) for name in names}
        content = {"format": FORMAT, "network": self.network, "identity": self.identity, "guidance": self.guidance}
        content |= {"scales": list(self.points), "scalars": [p.scalars for p in points], "facts": self.facts}
        return {**bits, **swapped, **values}, {**content, "shapes": shapes | more}

    @classmethod
    def from_parts(cls, arrays: dict[str, np.ndarray], content: dict[str, Any], path: Path) -> Record:
        """What `to_parts` gave; `path` is for the error."""
        _check(content, path)
        bits, swapped = (_unpacked(arrays, content["shapes"], part) for part in ("bits/", "swapped/"))
        values = {n.removeprefix("values/"): each for n, each in arrays.items() if n.startswith("values/")}
        points = {
            scale: Point(
                {name: rows[i] for name, rows in bits.items()},
                {name: rows[i].astype(np.float64) for name, rows in values.items()},
                content["scalars"][i],
            )
            for i, scale in enumerate(content["scales"])
        }
        facts = {"guidance": content["guidance"], "facts": content["facts"], "swapped": swapped}
        return cls(content["network"], content["identity"], points, **facts)


@dataclass
class Study:
    """All records of a study that are there, finished or growing: validations and tests by trial."""

    setup: Setup
    validations: dict[Trial, Record] = field(default_factory=dict)
    tests: dict[Trial, Record] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Study:
        """The released study of a folder, else the records of its trials; those of another setup are left out.

        Raises CheckpointError where there is neither, or a file is damaged.
        """
        folder = Path(folder)
        if (folder / RELEASE).is_file():
            return cls._released(folder / RELEASE)
        study = cls(Setup.load(folder))
        for kept, name in zip((study.validations, study.tests), PASSES):
            for path in sorted(folder.glob(f"*/{name}{SUFFIX}")):
                record = Record.load(path.parent, name)
                if record.identity == study.setup.identity:
                    kept[Trial.of(path.parent.name)] = record
        return study

    def release(self, folder: Path) -> Path:
        """Write all records as one file into `folder`; returns its path."""
        arrays, content = {}, {"format": FORMAT}
        parts = {"setup": self.setup}
        for name, kept in zip(PASSES, (self.validations, self.tests)):
            parts |= {f"{name}/{trial.key}": record for trial, record in sorted(kept.items())}
        for prefix, part in parts.items():
            own, content[prefix] = part.to_parts()
            arrays |= {f"{prefix}/{name}": array for name, array in own.items()}
        save_compressed(Path(folder) / RELEASE, arrays, content)
        return Path(folder) / RELEASE

    @classmethod
    def _released(cls, path: Path) -> Study:
        arrays, content = load_compressed(path)
        _check(content, path)

        def parts(prefix: str):
            own = {n.removeprefix(f"{prefix}/"): each for n, each in arrays.items() if n.startswith(f"{prefix}/")}
            return own, content[prefix], path

        kept: dict[str, dict[Trial, Record]] = {name: {} for name in PASSES}
        for prefix in content:
            name, _, key = prefix.partition("/")
            if key:
                kept[name][Trial.of(key)] = Record.from_parts(*parts(prefix))
        return cls(Setup.from_parts(*parts("setup")), *(kept[name] for name in PASSES))


def _packed(bits: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Bits, eight to a byte, and the shapes that they had."""
    packed = {name: np.packbits(np.asarray(each, bool)) for name, each in bits.items()}
    return packed, {name: list(np.shape(each)) for name, each in bits.items()}


def _unpacked(arrays: dict[str, np.ndarray], shapes: dict[str, list[int]], prefix: str) -> dict[str, np.ndarray]:
    """Bits by their names without the prefix."""
    return {
        name.removeprefix(prefix): np.unpackbits(arrays[name], count=int(np.prod(shape))).astype(bool).reshape(shape)
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }


def _check(content: dict[str, Any], path: Path) -> None:
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of another format than {FORMAT}: delete it and run the study again")
