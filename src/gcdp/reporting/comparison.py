"""Models side by side: one color each in every figure, trade-off curves, and the rows of Table 1."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from gcdp.evaluation.statistics import Estimate, proportion
from gcdp.reporting import summary as report

# name -> (color, marker); whatever else is judged takes the spare ones in turn
STYLES = {
    "joint": ("#0b2a45", "o"),
    "joint_same_budget": ("#1f5a8c", "o"),
    "joint_paper_settings": ("#6aa5d8", "o"),
    "gaussian": ("#c1440e", "s"),
    "latent": ("#d99a2b", "D"),
    "two_stage": ("#3f8f4f", "^"),
    "pixel_classifier": ("#8e5ea2", "v"),
}
SPARE = (("#555555", "P"), ("#a0522d", "X"), ("#008b8b", "*"), ("#b03060", "h"))
NAMES = {
    "joint": "joint",
    "joint_same_budget": "joint, budget of the rivals",
    "joint_paper_settings": "joint, the paper's settings",
    "gaussian": "image-only",
    "latent": "latent",
    "two_stage": "layout, then image",
    "pixel_classifier": "image-only + pixel classifier",
}
# (Park et al. 2023, Table 1): FID, mIoU, FSD on Cityscapes, unconditional
PAPER_TABLE_1 = (
    ("GANformer", "24.86", "–", "481.5"),
    ("DatasetDDPM", "55.38", "33.88", "90.31"),
    ("Semantic Palette", "52.13", "53.17", "48.29"),
    ("GCDP", "20.36", "65.80", "42.22"),
)
# attributes of faces that are seen as a class of the layout; all others change the shape, color or texture of classes
OWN_CLASS = {
    "Eyeglasses": "eyeglasses",
    "Mouth_Slightly_Open": "mouth",
    "Wearing_Earrings": "earring",
    "Wearing_Hat": "hat",
    "Wearing_Necklace": "necklace",
}
COLUMNS = ("model", "source", "protocol", "steps", "pairs_seen", "n", "guidance", "distance", "mIoU", "FSD", "FSD_of",
           "recall_1px", "recall_area", "precision", "F1", "attributes", "alignment")  # fmt: skip


def order(models: Mapping[str, Any]) -> list[str]:
    """Models in the order of every figure: ours first, rivals, then whatever else."""
    return [name for name in STYLES if name in models] + sorted(set(models) - set(STYLES))


def label(model: str, models: Container[str] = ()) -> str:
    """How figures call a model among those shown; the longer trained one says so beside its like of equal budget."""
    if model == "joint" and "joint_same_budget" in models:
        return "joint (released)"
    return NAMES.get(model, model.replace("_", " "))


def style(model: str, models: Mapping[str, Any]) -> dict[str, str]:
    """{"color", "marker"} of a model among those shown."""
    if model in STYLES:
        color, marker = STYLES[model]
    else:
        others = [name for name in order(models) if name not in STYLES]
        color, marker = SPARE[others.index(model) % len(SPARE)]
    return {"color": color, "marker": marker}


def tradeoff(panel: Axes, records: Mapping[str, dict], x: str, y: str) -> None:
    """Curves of measure `y` over measure `x`, a point for each guidance scale, crosses of 95 % intervals.

    `records`: what `07_evaluate` keeps, by model. The scale chosen on validation captions is drawn larger.
    """
    for model in order(records):
        record, look = records[model], style(model, records)
        points = [p for p in record["sweep"] if None not in (p[x]["value"], p[y]["value"])]  # undefined: nothing seen
        xs, ys = ([point[measure]["value"] for point in points] for measure in (x, y))
        panel.plot(xs, ys, color=look["color"], linewidth=1.1, zorder=2)
        for point, px, py in zip(points, xs, ys, strict=True):
            size = 7 if point["guidance"] == record["best"] else 4
            errors = {f"{axis}err": _error(point[measure]) for axis, measure in (("x", x), ("y", y))}
            faint = {"elinewidth": 0.5, "ecolor": look["color"] + "77"}
            panel.errorbar(
                px, py, **errors, **faint, fmt=look["marker"], color=look["color"], markersize=size, zorder=3
            )
        panel.plot([], [], marker=look["marker"], color=look["color"], markersize=4, label=label(model, records))


def _error(estimate: Mapping[str, float | None]) -> list[list[float]]:
    """Distances to the ends of an interval, as matplotlib wants them."""
    value = estimate["value"]
    ends = [value if estimate[end] is None else estimate[end] for end in ("low", "high")]
    return [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]


def table_rows(records: Mapping[str, dict], known: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of Table 1, keys COLUMNS: real pairs, our models by both protocols, the paper's numbers.

    `records`: what `07_evaluate` keeps, by model; `known`: what `04_evaluators` keeps.
    """
    ceiling = known["ceiling"]
    real = {"model": "real pairs, half against half", "source": "this run", "protocol": "ceiling", **_scores(ceiling)}
    rows = [{**real, "n": str(known["n"])}]
    for protocol in ("without text", "with text"):
        for model in order(records):
            record = records[model]
            point = record["chosen"] if protocol == "with text" else record["unconditional"]
            if point is None:  # images made elsewhere come as one set, with or without text
                continue
            facts = {"model": label(model, records), "source": "this run", "protocol": protocol, "n": str(record["n"])}
            scale = 0 if protocol == "without text" else record["best"]
            guidance = "" if scale is None else f"{scale:g}"
            rows.append({**facts, **_budget(record["training"]), "guidance": guidance, **_scores(point)})
    for name, distance, miou, fsd in PAPER_TABLE_1:
        numbers = {"distance": f"FID {distance}", "mIoU": miou, "FSD": fsd}
        rows.append({"model": name, "source": "paper", "protocol": "without text", **numbers})
    return [{column: row.get(column, "") for column in COLUMNS} for row in rows]


def _budget(training: Mapping[str, Any]) -> dict[str, str]:
    steps, batch = training.get("steps"), training.get("batch_size")
    return {"steps": f"{steps:,}" if steps else "", "pairs_seen": f"{steps * batch:,}" if steps and batch else ""}


def _scores(point: Mapping[str, Any]) -> dict[str, str]:
    fields = {"mIoU": "miou", "recall_1px": "semantic_recall", "recall_area": "semantic_recall_area",
              "precision": "precision", "F1": "f1", "attributes": "attribute_recall"}  # fmt: skip
    texts = {column: _text(point.get(name)) for column, name in fields.items()}
    texts["alignment"] = _text(point.get("alignment"), 1)
    return {**texts, "distance": _text(point["frechet"]), "FSD": _text(point["fsd"], 1), "FSD_of": point["fsd_of"]}


def _text(estimate: Mapping[str, float | None] | None, digits: int = 3) -> str:
    if not estimate or estimate["value"] is None:
        return "–"
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return f"{value:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def class_rows(records: Mapping[str, dict], known: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of classes, most named first: alignment IoU of real pairs and of every model with layouts.

    Keys: "class", "named_by" (captions of real pairs), "real pairs", and the models by `label`.
    """
    real = known["ceiling"]["per_class"]
    models = [model for model in order(records) if (records[model]["chosen"] or {}).get("miou", {}).get("value")]
    rows = []
    for name in sorted(real, key=lambda name: -real[name]["n"]):
        row = {"class": name, "named_by": str(real[name]["n"]), "real pairs": _share(real[name]["iou"])}
        found = {model: records[model]["chosen"]["per_class"][name]["iou"] for model in models}
        rows.append({**row, **{label(model, records): _share(iou) for model, iou in found.items()}})
    means = {label(model, records): _text(records[model]["chosen"]["miou"]) for model in models}
    return [*rows, {"class": "mean", "named_by": "", "real pairs": _text(known["ceiling"]["miou"]), **means}]


def attribute_rows(rows: Mapping[str, Mapping[str, dict]], known: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of attributes, the most frequent first: recall of real images and of every training.

    `rows`: {model: {number of pairs: scores}}, from `study.subset_rows`. Keys: "attribute", "named_by" (captions),
    "real images", and "<model>, <pairs>". The last rows are all attributes, by own caption and by the next image's.
    """
    real = known["ceiling"]
    cells = {f"{label(model, rows)}, {size}": point for model in order(rows) for size, point in rows[model].items()}
    names = sorted(real["per_attribute"], key=lambda name: -real["per_attribute"][name]["n"])
    table = []
    for name in names:
        counts = {str(point["per_attribute"][name]["n"]) for point in cells.values()}
        row = {"attribute": name, "named_by": " ".join(sorted(counts))}
        found = {column: _text(point["per_attribute"][name], 2) for column, point in cells.items()}
        table.append({**row, "real images": _text(real["per_attribute"][name], 2), **found})
    for text, pick in (("all", lambda p: p), ("all, next caption", lambda p: p["chance"])):
        found = {column: _text(pick(point)["attribute_recall"], 3) for column, point in cells.items()}
        first = {"attribute": text, "named_by": "", "real images": _text(pick(real)["attribute_recall"], 3)}
        table.append({**first, **found})
    return table


def by_own_class(point: Mapping[str, Any]) -> dict[str, Estimate]:
    """{"own class", "no class"}: recall of the attributes with and without a class of their own, cases pooled."""
    pooled = {"own class": [0, 0], "no class": [0, 0]}
    for name, found in point["per_attribute"].items():
        cases = pooled["own class" if name in OWN_CLASS else "no class"]
        cases[0] += round((found["value"] or 0) * found["n"])
        cases[1] += found["n"]
    return {name: proportion(*cases) for name, cases in pooled.items()}


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def markdown(rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_csv(rows: Sequence[Mapping[str, str]], path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Rows as CSV with a header."""
    report.write_csv(rows, path, columns)
