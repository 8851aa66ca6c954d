"""One table out of the metrics files of a profile: paper, reference run, this run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcdp.errors import DataError
from gcdp.evaluation.measures import MEASURES
from gcdp.experiments.records import EvaluationRecord, RefereeRecord, load_evaluations
from gcdp.reporting.formatting import DASH, estimate_text, number_text
from gcdp.reporting.tables import markdown, measure_text

NOT_RUN = "not run"
SUMMARY_COLUMNS = (
    "domain", "model", "quantity", "paper",
    "reference", "reference_n", "reference_seed", "this_run", "n", "seed", "held_out",
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """One row: its key and name, what the paper says, and where a metrics file keeps it.

    `kind` is "training" or "samples"; paths are dotted keys. `n`, `seed` and `real` name the keys of the count, the
    seed and the value of held-out pairs; a value beside keys "low" and "high" is shown with that interval. What an
    evaluation measures is told by `gcdp.evaluation.measures` instead.
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
        "area_difference",
        "difference of class areas to held-out layouts",
        "samples",
        "layout.areas.total_variation",
        n="n",
    ),
)
# What the paper measures with networks that read images: (name, value in the paper, why it is not measured here).
UNMEASURED = (
    (
        "FID, lower is better",
        "20.36 (Table 1, Cityscapes)",
        "not measured: needs the standard Inception network (extra `fid`)",
    ),
    ("CLIP score", "curves (Fig. 7)", "not measured: needs CLIP ViT-L/14-336 (`referee.alignment`)"),
)


def collect(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Contents of <kind>/*.json in a metrics folder, by domain and model; empty where there are none.

    For "training" and "samples"; evaluations are read by `records.load_evaluations`. Raises DataError for a file that
    is damaged or does not say its domain and model.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.joinpath(kind).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(content["domain"], {})[content["model"]] = content
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error!r}): run the notebook that writes it again") from error
    return found


@dataclass(frozen=True)
class Cell:
    """One quantity of one model: its value as a number and as text, and what stands beside it."""

    name: str
    paper: str
    value: float
    text: str
    n: str = ""
    seed: str = ""
    real: str = ""


def _cells(folder: Path) -> dict[tuple[str, str], dict[str, Cell]]:
    """{(domain, model): {key: cell}} of a metrics folder; a quantity that does not apply to a model is absent."""
    cells: dict[tuple[str, str], dict[str, Cell]] = {}
    for kind in ("training", "samples"):
        for domain, models in collect(folder, kind).items():
            for model, metrics in models.items():
                found = {each.key: _cell(metrics, each) for each in QUANTITIES if each.kind == kind}
                cells.setdefault((domain, model), {}).update({key: cell for key, cell in found.items() if cell})
    for domain, records in load_evaluations(folder).items():
        for model, record in records.items():
            unreadable = _has_referee(folder, domain) and RefereeRecord.load(folder, domain).unreadable(record.chosen)
            cells.setdefault((domain, model), {}).update(_measured(record, unreadable))
    return {place: cells[place] for place in sorted(cells) if cells[place]}


def _has_referee(folder: Path, domain: str) -> bool:
    return folder.joinpath("referee", f"{domain}.json").is_file()


def _cell(metrics: dict[str, Any], quantity: Quantity) -> Cell | None:
    value = _at(metrics, quantity.path)
    if value is None:
        return None
    low, high = (_at(metrics, f"{quantity.path.rpartition('.')[0]}.{end}") for end in ("low", "high"))
    text = f"{value:,}" if isinstance(value, int) else estimate_text({"value": value, "low": low, "high": high})
    n, seed, real = (_at(metrics, path) for path in (quantity.n, quantity.seed, quantity.real))
    shown = ["" if number is None else f"{number:,}" for number in (n, seed)]
    return Cell(quantity.name, quantity.paper, value, text, *shown, "" if real is None else number_text(real))


def _measured(record: EvaluationRecord, unreadable: bool) -> dict[str, Cell]:
    """The guidance of a model and its scores there, by key of MEASURES; none for images made without text.

    Where the referee cannot read the images, the texts of scores of text are marked "unreadable".
    """
    seed, cells = "" if record.seed is None else str(record.seed), {}
    if record.curve.guidance is not None:
        scale = record.curve.guidance
        name = "guidance, chosen on validation captions"
        cells["guidance"] = Cell(name, DASH, scale, f"{scale:g}", seed=seed)
    for key, estimate in (record.chosen.measures if record.chosen else {}).items():
        # without the number of pixels: the reference run may have another one
        digits, text = MEASURES[key].digits, MEASURES[key].label()
        text = record.chosen.alignment_name or text if key == "alignment" else text
        name = f"{text}, of the image" if MEASURES[key].of_text else text
        real = record.ceiling.value(key)
        shown = measure_text(record.chosen, key, unreadable), f"{estimate['n']:,}", seed
        real_text = "" if real is None else number_text(real, digits)
        # the paper's Table 1 is of streets, whose captions name no attributes
        elsewhere = "Table 1" in MEASURES[key].paper and "attribute_recall" in record.chosen
        paper = DASH if elsewhere else MEASURES[key].paper
        cells[key] = Cell(name, paper, estimate["value"], *shown, real_text)
    return cells


def summary_rows(ours: Path, reference: Path) -> list[dict[str, str]]:
    """Rows of the summary, keys SUMMARY_COLUMNS, for every domain and model of the metrics folder `ours`.

    A quantity that does not apply to a model has no row. Quantities that nothing here measures come last, with the
    reason.
    """
    here, there = _cells(ours), _cells(reference)
    rows = []
    for place, cells in here.items():
        for key, cell in cells.items():
            rows.append(_row(*place, cell, there.get(place, {}).get(key)))
    for name, paper, reason in UNMEASURED:
        row = dict.fromkeys(SUMMARY_COLUMNS, "")
        rows.append({**row, "quantity": name, "paper": paper, "reference": reason, "this_run": reason})
    return rows


def summary_metrics(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The measured quantities of a metrics folder as plain numbers: {domain: {model: {key: value}}}."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for (domain, model), cells in _cells(folder).items():
        summary.setdefault(domain, {})[model] = {key: cell.value for key, cell in cells.items()}
    return summary


def _row(domain: str, model: str, here: Cell, there: Cell | None) -> dict[str, str]:
    return {
        "domain": domain,
        "model": model,
        "quantity": here.name,
        "paper": here.paper,
        "reference": there.text if there else NOT_RUN,
        "reference_n": there.n if there else "",
        "reference_seed": there.seed if there else "",
        "this_run": here.text,
        "n": here.n,
        "seed": here.seed,
        "held_out": here.real,
    }


def _at(metrics: Any, path: str) -> Any:
    for key in path.split("."):
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics


def summary_markdown(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a Markdown table: paper | reference run | this run, each with its n and seed."""
    shown = [
        {
            **{name: row[name] for name in ("domain", "model", "quantity", "paper")},
            "reference run": _with_origin(row["reference"], row["reference_n"], row["reference_seed"]),
            "this run": _with_origin(row["this_run"], row["n"], row["seed"]),
            "held-out pairs": row["held_out"],
        }
        for row in rows
    ]
    return markdown(shown)


def _with_origin(value: str, n: str, seed: str) -> str:
    origin = ", ".join(f"{name} {text}" for name, text in (("n =", n), ("seed", seed)) if text)
    return f"{value} ({origin})" if origin else value
