"""One table out of the metrics files of a profile: paper, reference run, this run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcdp.errors import DataError

NOT_RUN = "not run"
COLUMNS = (
    "domain", "model", "quantity", "paper",
    "reference", "reference_n", "reference_seed", "this_run", "n", "seed", "real_pairs",
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """One row: its key and name, what the paper says, and where a metrics file keeps it.

    `kind` is "training", "samples" or "evaluation"; paths are dotted keys. `n`, `seed` and `real` name the keys of
    the count, the seed and the value of real pairs; a value beside keys "low" and "high" is shown with that interval.
    """

    key: str
    name: str
    kind: str
    path: str
    paper: str = "–"
    n: str = ""
    seed: str = "seed"
    real: str = ""


def _agreement(name: str, measure: str, area: int) -> Quantity:
    at = f"agreement.{area}.{measure}"
    return Quantity(
        f"{measure}_{area}",
        f"{name}, {area} pixel{'s' if area > 1 else ''} or more",
        "samples",
        f"layout.generated.{at}.micro",
        n=f"layout.generated.{at}.n",
        real=f"layout.real.{at}.micro",
    )


def _judged(key: str, name: str, measure: str, paper: str = "–") -> Quantity:
    """A score by the referee, at the guidance that validation captions chose."""
    at = f"chosen.{measure}"
    return Quantity(key, name, "evaluation", f"{at}.value", paper, n=f"{at}.n", real=f"ceiling.{measure}.value")


TABLE_1 = "(Table 1, Cityscapes)"
QUANTITIES = (
    Quantity(
        "parameters",
        "parameters of the network",
        "training",
        "parameters",
        "697.4 million (authors' base network)",
        seed="",
    ),
    Quantity("steps", "training steps", "training", "steps", "300,000", seed=""),
    Quantity("pairs_seen", "training pairs seen", "training", "pairs_seen", "2,400,000"),
    Quantity("val_image", "image loss, held-out pairs", "training", "full_run.image.val.last", n="validation_pairs"),
    Quantity("val_layout", "layout loss, held-out pairs", "training", "full_run.layout.val.last", n="validation_pairs"),
    _agreement("recall of the caption's classes in the layout", "recall", 1),
    _agreement("recall of the caption's classes in the layout", "recall", 8),
    _agreement("precision of the layout's classes", "precision", 1),
    _agreement("precision of the layout's classes", "precision", 8),
    Quantity(
        "smoothness", "smoothness", "samples", "layout.generated.smoothness", n="n", real="layout.real.smoothness"
    ),
    Quantity(
        "area_difference", "difference of class areas to real layouts", "samples", "layout.areas.total_variation", n="n"
    ),
    Quantity("guidance", "guidance, chosen on validation captions", "evaluation", "best"),
    _judged("semantic_recall", "Semantic Recall of the image, 1 pixel or more", "semantic_recall", "curves (Fig. 6)"),
    _judged("semantic_recall_area", "Semantic Recall of the image, calibrated area", "semantic_recall_area"),
    _judged("image_precision", "precision of the image, calibrated area", "precision"),
    _judged("f1", "F1 of the image, calibrated area", "f1"),
    _judged("attribute_recall", "attribute recall of the image", "attribute_recall", "chart (Fig. 1)"),
    _judged("alignment", "toy alignment score (not CLIP)", "alignment", "CLIP score: curves (Fig. 7)"),
    _judged("frechet", "Fréchet distance, referee features", "frechet"),
    _judged("miou", "mIoU, alignment of image and layout", "miou", f"65.80 {TABLE_1}"),
    _judged("fsd", "FSD", "fsd", f"42.22 {TABLE_1}"),
)
# What the paper measures with networks that judge images: (name, value in the paper, why it is not measured here).
UNMEASURED = (
    ("FID, lower is better", f"20.36 {TABLE_1}", "not measured: needs the standard Inception network (extra `fid`)"),
    ("CLIP score", "curves (Fig. 7)", "not measured: needs CLIP ViT-L/14-336 (`referee.alignment`)"),
)


def collect(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Contents of <kind>/*.json in a metrics folder, by domain and model; empty where there are none.

    Raises DataError for a file that is damaged or does not say its domain and model.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.joinpath(kind).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(content["domain"], {})[content["model"]] = content
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error!r}): run the notebook that writes it again") from error
    return found


def summary_rows(ours: Path, reference: Path) -> list[dict[str, str]]:
    """Rows of the summary, keys COLUMNS, for every domain and model of the metrics folder `ours`.

    A half that a model lacks has no row. Quantities that nothing here measures come last, with the reason.
    """
    kinds = {quantity.kind for quantity in QUANTITIES}
    here, there = ({kind: collect(folder, kind) for kind in kinds} for folder in (ours, reference))
    pairs = sorted({(domain, model) for found in here.values() for domain in found for model in found[domain]})
    rows = []
    for domain, model in pairs:
        for quantity in QUANTITIES:
            cells = [_cells(found[quantity.kind].get(domain, {}).get(model), quantity) for found in (here, there)]
            if cells[0]["value"]:
                rows.append(_row(domain, model, quantity, *cells))
    for name, paper, reason in UNMEASURED:
        row = dict.fromkeys(COLUMNS, "")
        rows.append({**row, "quantity": name, "paper": paper, "reference": reason, "this_run": reason})
    return rows


def summary_metrics(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The measured quantities of a metrics folder as plain numbers: {domain: {model: {key: value}}}."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for quantity in QUANTITIES:
        for domain, models in collect(folder, quantity.kind).items():
            for model, metrics in models.items():
                value = _at(metrics, quantity.path)
                if value is not None:
                    summary.setdefault(domain, {}).setdefault(model, {})[quantity.key] = value
    return summary


def _row(domain: str, model: str, quantity: Quantity, here: dict, there: dict) -> dict[str, str]:
    return {
        "domain": domain,
        "model": model,
        "quantity": quantity.name,
        "paper": quantity.paper,
        "reference": there["value"] or NOT_RUN,
        "reference_n": there["n"],
        "reference_seed": there["seed"],
        "this_run": here["value"],
        "n": here["n"],
        "seed": here["seed"],
        "real_pairs": here["real"],
    }


def _cells(metrics: dict | None, quantity: Quantity) -> dict[str, str]:
    """Text of value (with interval), n, seed and real pairs; empty where the metrics do not hold them."""
    parent = quantity.path.rpartition(".")[0]
    value, low, high = (_at(metrics, path) for path in (quantity.path, f"{parent}.low", f"{parent}.high"))
    text = {"value": _text(value), "real": _text(_at(metrics, quantity.real))}
    if text["value"] and low is not None:
        text["value"] += f" [{_text(low)}, {_text(high)}]"
    return {**text, "n": _text(_at(metrics, quantity.n)), "seed": _text(_at(metrics, quantity.seed))}


def _at(metrics: Any, path: str) -> Any:
    for key in path.split("."):
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a Markdown table: paper | reference run | this run, each with its n and seed."""
    lines = ["| domain | model | quantity | paper | reference run | this run | real pairs |", "|---" * 7 + "|"]
    for row in rows:
        cells = [
            row["domain"], row["model"], row["quantity"], row["paper"],
            _with_origin(row["reference"], row["reference_n"], row["reference_seed"]),
            _with_origin(row["this_run"], row["n"], row["seed"]), row["real_pairs"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_origin(value: str, n: str, seed: str) -> str:
    origin = ", ".join(f"{name} {text}" for name, text in (("n =", n), ("seed", seed)) if text)
    return f"{value} ({origin})" if origin else value


def write_csv(rows: Sequence[Mapping[str, str]], path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """The rows as CSV with the header `columns`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
