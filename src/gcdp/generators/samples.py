"""Generated pairs, with what made them, in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gcdp.errors import DataError
from gcdp.storage import read_json, write_json

FORMAT = 1
HALVES = ("images", "layouts")
REMEDY = "draw the samples again"


@dataclass(frozen=True)
class Samples:
    """Generated pairs: images uint8 (B, H, W, 3), layouts uint8 (B, H, W), and what made them.

    `images` or `layouts` is None for a model without that half. `seeds` holds one seed a pair: passing it back to
    `Pipeline.sample` with the pair's caption draws the same pair again.
    """

    images: np.ndarray | None
    layouts: np.ndarray | None
    captions: list[str]
    seeds: list[int]
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)

    def rows(self, chosen: slice | Sequence[int]) -> Samples:
        """Some of the pairs, in the order chosen."""
        numbers = np.arange(len(self))[chosen]
        halves = (None if half is None else half[numbers] for half in (self.images, self.layouts))
        texts = ([part[i] for i in numbers] for part in (self.captions, self.seeds))
        return Samples(*halves, *texts, self.settings)

    def save(self, folder: str | Path) -> None:
        """Write images.npy and layouts.npy (those there are) and samples.json, which holds everything else.

        samples.json goes first and comes last, atomically, so that half a drawing is never taken for a whole one.
        `settings` must be JSON-like and may hold whatever else should be known of the samples.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "samples.json").unlink(missing_ok=True)
        halves = {name: getattr(self, name) for name in HALVES}
        for name, array in halves.items():
            (folder / f"{name}.npy").unlink(missing_ok=True)
            if array is not None:
                np.save(folder / f"{name}.npy", array)
        facts = {"captions": self.captions, "seeds": self.seeds, "settings": self.settings}
        shapes = {name: None if array is None else list(array.shape) for name, array in halves.items()}
        write_json(folder / "samples.json", {"format": FORMAT, "halves": shapes, **facts})

    @classmethod
    def load(cls, folder: str | Path) -> Samples:
        """Read what `save` wrote. Raises DataError for a folder that is missing, incomplete or damaged."""
        path = Path(folder) / "samples.json"
        facts = read_json(path, REMEDY)
        kinds = {"captions": list, "seeds": list, "settings": dict, "halves": dict}
        known = isinstance(facts, dict) and facts.get("format") == FORMAT
        if not known or not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
            raise DataError(f"{path} is not of format {FORMAT} or was altered: {REMEDY}.")
        images, layouts = (_load_half(path.with_name(f"{name}.npy"), facts["halves"].get(name)) for name in HALVES)
        return cls(images, layouts, facts["captions"], facts["seeds"], facts["settings"])


def joined(parts: Sequence[Samples]) -> Samples:
    """All pairs of several samples with the same halves, one after the other, with the settings of the last."""
    halves = [[getattr(part, name) for part in parts] for name in HALVES]
    arrays = (None if each[0] is None else np.concatenate(each) for each in halves)
    texts = ([each for part in parts for each in getattr(part, name)] for name in ("captions", "seeds"))
    return Samples(*arrays, *texts, parts[-1].settings)


def _load_half(path: Path, shape: list[int] | None) -> np.ndarray | None:
    if shape is None:
        return None
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:  # EOFError: an empty file
        raise DataError(f"{path} is missing or damaged: {REMEDY}.") from error
    if list(array.shape) != shape:
        raise DataError(f"{path} does not fit its samples.json: {REMEDY}.")
    return array
