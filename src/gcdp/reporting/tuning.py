"""Tables of the recipe's tuning: losses, gradients and pictures of short runs, one setting changed at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gcdp.errors import DataError
from gcdp.reporting.formatting import DASH, estimate_text, number_text
from gcdp.storage import read_json

COLUMNS = (("joint", "image"), ("joint", "layout"), ("gaussian", "image"))  # (model, half) of each column of losses
TITLES = {"joint": "joint", "gaussian": "image-only"}
PICTURES = {"j": "J", "j_layouts": "J of layouts", "miou": "mIoU", "frechet": "distance"}


def tuning_rows(path: Path) -> list[dict[str, str]]:
    """A row for each change of `path`, the unchanged recipe first.

    Keys: "change", "<model>, <half>" with the mean over seeds and the lowest and highest, and "seeds", how many of the
    joint and of the image-only model. A change that the image-only model does not know has "–" there.

    Raises DataError where the file is missing or malformed.
    """
    rows = []
    for change in _changes(path):
        runs = {model: [run for run in change["runs"] if run["model"] == model] for model in TITLES}
        row = {"change": _in_words(change["settings"])}
        row |= {f"{TITLES[model]}, {half}": _over_seeds([run[half] for run in runs[model]]) for model, half in COLUMNS}
        rows.append(row | {"seeds": " / ".join(str(len(found) or DASH) for found in runs.values())})
    return rows


def picture_rows(path: Path) -> list[dict[str, str]]:
    """A row for each change of `path`, the unchanged recipe first: what the referee finds in pictures drawn.

    Keys: "change", the titles of `PICTURES`, with the mean over seeds and the lowest and highest, and "seeds".

    Raises DataError where the file is missing or malformed.
    """
    return [
        {"change": _in_words(change["settings"])}
        | {title: _over_seeds([run[key] for run in change["runs"]], 3) for key, title in PICTURES.items()}
        | {"seeds": str(len(change["runs"]))}
        for change in _changes(path)
    ]


def ratio_rows(path: Path) -> list[dict[str, str]]:
    """A row for each change of `path`: norm of the layout's gradient over that of the image's, by module.

    Keys: "change" and the modules that the networks of all changes have and both losses reach.

    Raises DataError where the file is missing or malformed.
    """
    changes = _changes(path)
    reached = [{module for module, norms in change["norms"].items() if all(norms)} for change in changes]
    shared = [module for module in changes[0]["norms"] if module != "all" and all(module in each for each in reached)]
    rows = []
    for change in changes:
        ratios = {module: layout / image for module, (image, layout) in change["norms"].items() if module in shared}
        texts = {module: number_text(ratios[module], 2) for module in shared}
        rows.append({"change": _in_words(change["settings"]), **texts})
    return rows


def _changes(path: Path) -> list[dict[str, Any]]:
    content = read_json(path, "fetch the whole repository")
    if not isinstance(content, dict) or not content.get("changes"):
        raise DataError(f"{path} holds no list 'changes': fetch the whole repository.")
    return content["changes"]


def _in_words(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """ "learning_rate 0.003": settings of all sections; "none" where there is no change."""
    named = (f"{name} {value}" for part in settings.values() for name, value in part.items())
    return ", ".join(named) or "none"


def _over_seeds(values: Sequence[float], digits: int = 4) -> str:
    """ "0.1155 [0.1148, 0.1160]": mean, lowest and highest."""
    if not values:
        return DASH
    return estimate_text({"value": fmean(values), "low": min(values), "high": max(values)}, digits=digits)
