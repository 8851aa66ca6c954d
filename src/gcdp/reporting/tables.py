"""Tables of several models: rows of Table 1, classes, attributes; every table as Markdown and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gcdp.evaluation.attribute_groups import FEWEST, GROUPS
from gcdp.evaluation.measures import MEASURES
from gcdp.evaluation.readability import UNREADABLE
from gcdp.evaluation.scores import Scores
from gcdp.experiments.records import EvaluationRecord, RefereeRecord
from gcdp.reporting.figures import label, order
from gcdp.reporting.formatting import DASH, estimate_text, number_text

# (Park et al. 2023, Table 1): FID, mIoU as a fraction, FSD; Cityscapes, without text
PAPER_TABLE_1 = (
    ("GANformer", "24.86", "–", "481.5"),
    ("DatasetDDPM", "55.38", "0.339", "90.3"),
    ("Semantic Palette", "52.13", "0.532", "48.3"),
    ("GCDP", "20.36", "0.658", "42.2"),
)
TABLE_1_COLUMNS = (
    "model", "source", "protocol", "steps", "pairs_seen", "n", "guidance",
    *(measure.column for measure in MEASURES.values()), "FSD_of",
)  # fmt: skip


def table_rows(records: Mapping[str, EvaluationRecord], referee: RefereeRecord) -> list[dict[str, str]]:
    """Rows of Table 1, keys TABLE_1_COLUMNS: held-out pairs, our models by both protocols, the paper's numbers.

    The paper's are of streets; a domain whose captions name attributes does without them. Measures of text are marked
    "unreadable" where images lie too far from held-out ones for the referee to read, and with "*" where fewer than
    `FEWEST` captions are behind them.
    """
    real = {"model": "held-out pairs, half against half", "source": "this run", "protocol": "ceiling"}
    rows = [{**real, "n": str(referee.n), **_measures(referee.ceiling, referee)}]
    for protocol in ("without text", "with text"):
        for model in order(records):
            record = records[model]
            scores = record.chosen if protocol == "with text" else record.unconditional
            if scores is None:  # images made elsewhere come as one set, with or without text
                continue
            facts = {"model": label(model, records), "source": "this run", "protocol": protocol, "n": str(record.n)}
            scale = 0 if protocol == "without text" else record.curve.guidance
            guidance = "" if scale is None else f"{scale:g}"
            rows.append({**facts, **_budget(record.training), "guidance": guidance, **_measures(scores, referee)})
    for name, distance, miou, fsd in PAPER_TABLE_1 if not referee.attributes else ():
        numbers = dict.fromkeys((measure.column for measure in MEASURES.values()), DASH)
        numbers |= {"distance": f"FID {distance}", "mIoU": miou, "FSD": fsd}
        rows.append({"model": name, "source": "paper", "protocol": "without text", **numbers})
    return [{column: row.get(column, "") for column in TABLE_1_COLUMNS} for row in rows]


def _budget(training: Mapping[str, Any]) -> dict[str, str]:
    steps, batch = training.get("steps"), training.get("batch_size")
    return {"steps": f"{steps:,}" if steps else "", "pairs_seen": f"{steps * batch:,}" if steps and batch else ""}


def _measures(scores: Scores, referee: RefereeRecord) -> dict[str, str]:
    unreadable, found = referee.unreadable(scores), {"FSD_of": scores.fsd_of}
    for key, measure in MEASURES.items():
        n = scores[key]["n"] if measure.of_text and scores.value(key) is not None else None
        found[measure.column] = marked(measure_text(scores, key, unreadable), n)
    return found


def measure_text(scores: Scores, key: str, unreadable: bool) -> str:
    """One measure as text, marked "unreadable" where it is of the text in images that the referee cannot read."""
    measure = MEASURES[key]
    text = estimate_text(scores.get(key), measure.digits)
    return _unreadable(text) if unreadable and measure.of_text and not measure.of_layouts else text


def _unreadable(text: str) -> str:
    return text if text == DASH else f"{text} {UNREADABLE}"


def class_rows(records: Mapping[str, EvaluationRecord], referee: RefereeRecord) -> list[dict[str, str]]:
    """Rows of the table of classes, most named first: alignment IoU of held-out pairs and of every model with layouts.

    Keys: "class", "named_by" (captions of held-out pairs), "held-out pairs", and the models by `label`.
    """
    real, models = referee.ceiling, [model for model in order(records) if "miou" in (records[model].chosen or ())]
    columns = {"held-out pairs": real, **{label(model, records): records[model].chosen for model in models}}
    rows = []
    for name in sorted(real.per_class, key=lambda name: -real.per_class[name]["n"]):
        row = {"class": name, "named_by": str(real.per_class[name]["n"])}
        rows.append(row | {column: number_text(found.per_class[name]["iou"]) for column, found in columns.items()})
    for text, key in (("mean", "miou"), ("mean, absent classes as 0", "miou_all")):
        found = {column: estimate_text(scores.get(key)) for column, scores in columns.items()}
        rows.append({"class": text, "named_by": "", **found})
    return rows


def attribute_rows(rows: Mapping[str, Mapping[int, Scores]], referee: RefereeRecord) -> list[dict[str, str]]:
    """Rows of the table of attributes, the most frequent first: recall of held-out images and of every training.

    `rows`: {model: {number of pairs: scores}}, from `Study.first_scores`. Keys: "attribute", "named_by" (captions),
    "held-out images", and "<model>, <pairs>", marked "unreadable" where images lie too far from these for the referee.
    The last rows are all attributes, by own caption and by those of all other images. Counts below `FEWEST` have a
    star.
    """
    real = referee.ceiling
    cells = {f"{label(model, rows)}, {size}": scores for model in order(rows) for size, scores in rows[model].items()}
    unreadable = {column for column, scores in cells.items() if referee.unreadable(scores)}
    found = {"held-out images": real, **cells}

    def row(name: str, named_by: str, pick, digits: int) -> dict[str, str]:
        texts = {column: estimate_text(pick(each), digits) for column, each in found.items()}
        texts |= {column: _unreadable(texts[column]) for column in unreadable}
        return {"attribute": name, "named_by": named_by, **texts}

    table = []
    for name in sorted(real.per_attribute, key=lambda name: -real.per_attribute[name]["n"]):
        counts = {str(scores.per_attribute[name]["n"]) for scores in cells.values()}
        few = min((scores.per_attribute[name]["n"] for scores in cells.values()), default=None)
        named_by = marked(" ".join(sorted(counts)), few)
        table.append(row(name, named_by, lambda each, name=name: each.per_attribute[name], 2))
    for text, part in (("all", "measures"), ("all, other captions", "chance")):
        table.append(row(text, "", lambda each, part=part: getattr(each, part).get("attribute_recall"), 3))
    return table


# keys of `RefereeRecord.spoiled` -> digits, in the order of the table
SPOILED = {
    "frechet": 3, "frechet_all": 3, "recall": 3, "precision": 3, "f1": 3, "j": 3, "attribute_recall": 3,
    "attribute_j": 3, "alignment": 1,
}  # fmt: skip


def spoiled_rows(spoiled: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What the referees still read in spoiled images: a row for each spoiling, "images", "n" and the measures."""
    rows = []
    for row in spoiled:
        kept = {key: digits for key, digits in SPOILED.items() if key in row}
        texts = {key: estimate_text(row[key], digits, interval=False) for key, digits in kept.items()}
        rows.append({"images": row["name"], "n": str(row["n"]), **texts})
    return rows


def label_rows(scores: Scores, real: Scores) -> list[dict[str, str]]:
    """Rows of the table of labels, most named first: rates, J, effect of naming, and J of held-out pairs.

    Keys: "label", "named_by" (captions), "seen named", "seen not named", "J", "held-out J", "effect", "swaps". Counts
    below `FEWEST` have a star.
    """
    rows = []
    for name in sorted(scores.labels, key=lambda name: -scores.labels[name]["n"]):
        found, swapped = scores.labels[name], scores.effects.get(name, {})
        row = {"label": name, "named_by": marked(found["n"], found["n"])}
        row |= {text: number_text(found[key], 2) for text, key in (("seen named", "tpr"), ("seen not named", "fpr"))}
        row |= {"J": number_text(found["j"], 2), "held-out J": number_text(real.labels.get(name, {}).get("j"), 2)}
        row["effect"] = number_text(swapped.get("value"), 2)
        rows.append(row | {"swaps": marked(swapped["n"], swapped["n"]) if swapped else DASH})
    return rows


def group_rows(models: Mapping[str, Scores]) -> list[dict[str, str]]:
    """Rows of the table of groups of attributes: recall above chance and J of each, for scores by name.

    Keys: "model", "group", "recall", "chance", "above", "J", "n"; scores without groups have no rows.
    """
    rows = []
    for name, scores in models.items():
        for group, found in ((group, scores.groups[group]) for group in GROUPS if group in scores.groups):
            recall, chance = ((found[key] or {}).get("value") for key in ("recall", "chance"))
            above = None if recall is None or chance is None else recall - chance
            row = {"model": name, "group": group, "recall": estimate_text(found["recall"])}
            row |= {"chance": number_text(chance), "above": number_text(above, sign=True)}
            rows.append(row | {"J": estimate_text(found["j"]), "n": marked(found["n"], found["n"])})
    return rows


def marked(text: object, n: int | None) -> str:
    """A cell with "*" behind it where fewer than `FEWEST` cases are behind it."""
    return f"{text}*" if n is not None and n < FEWEST else str(text)


def aligned(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as plain text for `print`: the first column to the left, the others to the right."""
    columns = tuple(rows[0])
    widths = {column: max(len(text) for text in (column, *(row[column] for row in rows))) for column in columns}
    lines = [dict(zip(columns, columns)), *rows]
    first, *others = columns
    return "\n".join(
        line[first].ljust(widths[first]) + "".join(line[column].rjust(widths[column] + 2) for column in others)
        for line in lines
    )


def markdown(rows: Sequence[Mapping[str, str]], columns: Sequence[str] | None = None) -> str:
    """Rows as a Markdown table; by default all their columns."""
    columns = tuple(rows[0]) if columns is None else columns
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_csv(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Rows as CSV with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tuple(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
