"""Trees of files that the drawn worlds are written as: drawn once, resumed, and begun anew for another request."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import PIL

from gcdp.errors import ConfigError, DataError
from gcdp.processes import in_shares
from gcdp.storage import atomic_write, read_json

SPLITS = {"train": 0, "val": 1, "test": 2}
"""Numbers by which a drawn pair's seed names its split."""


@dataclass(frozen=True)
class Tree:
    """A form of dataset that is drawn.

    Args:
        names: files and folders directly below the root that make up the dataset.
        code: folder of the modules that draw it.
        grows: whether the pairs of smaller counts are those that larger counts begin with.
    """

    names: tuple[str, ...]
    code: Path
    grows: bool

    def fill(
        self, root: Path, counts: dict[str, int], settings: dict[str, Any], write: Callable[[int, str, int], Any]
    ) -> tuple[dict[str, int], list[Any]]:
        """Call ``write(number, split, index)`` for every pair, split after split, in several processes where that
        helps; the counts of all three splits, and what the calls returned, in order. ``write`` must be picklable.

        ``world.json`` notes ``settings`` (plain JSON values), counts and drawing code; files that another request
        left are removed first.
        Raises ConfigError for an unknown split or a negative count, DataError where ``root`` holds a dataset that was
        not drawn here.
        """
        for split, count in counts.items():
            if split not in SPLITS:
                raise ConfigError(f"counts names the unknown split {split!r}; choose from {', '.join(SPLITS)}.")
            if count < 0:
                raise ConfigError(f"counts asks for {count} pairs of {split!r}; give zero or more.")
        counts = {split: counts.get(split, 0) for split in SPLITS}
        self._begin(root, {**settings, "drawing": drawing_version(self.code), "counts": counts})
        pairs = [(split, index) for split, count in counts.items() for index in range(count)]
        return counts, in_shares(partial(_written, write, pairs), len(pairs))

    def _begin(self, root: Path, world: dict[str, Any]) -> None:
        """Remove a tree that this request does not continue, and note the request in world.json."""
        manifest = root / "world.json"
        there = [root / name for name in self.names if (root / name).exists()]
        if there and not manifest.is_file():
            raise DataError(
                f"{root} holds a dataset that was not drawn here: choose an empty folder for the toy world."
            )
        if there and not self._continues(read_json(manifest, f"delete {root} and draw the toy world again"), world):
            for path in there:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with atomic_write(manifest, DataError) as partial:
            partial.write_text(json.dumps(world, indent=1) + "\n", encoding="utf-8")

    def _continues(self, former: dict[str, Any], world: dict[str, Any]) -> bool:
        if not self.grows or former.keys() != world.keys():
            return former == world
        larger = all(former["counts"].get(split, 0) <= count for split, count in world["counts"].items())
        return larger and former | {"counts": world["counts"]} == world


def _written(write: Callable[[int, str, int], Any], pairs: list[tuple[str, int]], share: range) -> list[Any]:
    return [write(number, *pairs[number]) for number in share]


def drawing_version(code: Path) -> str:
    """Fingerprint of what draws: the modules in ``code``, those that all worlds share, and Pillow."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for path in (*sorted(code.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_once(path: Path, save: Callable[[Path], object]) -> None:
    """Have ``save`` write a file that is not there yet; no half-written one keeps its name.

    Raises DataError where it cannot be written.
    """
    if not path.exists():
        with atomic_write(path, DataError) as partial:
            save(partial)
