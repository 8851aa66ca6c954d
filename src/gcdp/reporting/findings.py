"""What was found: each claim of a paper and each question of our own, the measured difference, and the verdict.

One table for the report, for `results/README.md` and for the README, so that all three say the same. A verdict follows
from an interval alone: it is on the claimed side of zero, on the other, or holds zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcdp.errors import DataError
from gcdp.reporting.formatting import DASH, difference_text
from gcdp.reporting.tables import markdown
from gcdp.storage import read_json

# folders of metrics
KINDS = ("claim", "features", "outpainting", "any_direction", "super_resolution", "guidance", "strokes")
EVALUATION = "evaluation"  # a folder of metrics as well, of a folder for each domain, with a record for each model
REPRODUCED, OPPOSITE, OPEN, ABSENT = "reproduced", "opposite", "not decided", "not measured here"
YES, NO = "yes", "no"  # in place of the first two where the question is our own
GCDP, GRADOP, OURS = "Park et al. 2023", "Singh et al. 2023 (GradOP)", "our own"


@dataclass(frozen=True)
class Finding:
    """One statement and where its difference lies.

    Args:
        key: its name, for templates and tests.
        statement: what is claimed or asked, in one sentence.
        source: whose claim it is: GCDP, GRADOP or OURS.
        figure: of the paper, or "–".
        notebook: the source notebook that measures it.
        kind: one of KINDS, or EVALUATION, whose paths start with the model.
        path: keys of the difference below the domain; "smallest" and "largest" stand for numbers of pairs.
        minus: keys of a second estimate where the record holds no difference: its value is subtracted, and the
            half-widths of both intervals are added in quadrature, as if the two were independent.
        measure: what the difference is of, with its unit where it has one.
        higher: whether the claim is that the difference is above zero.
        digits: behind the point.
    """

    key: str
    statement: str
    source: str
    figure: str
    notebook: str
    kind: str
    path: tuple[str, ...]
    measure: str
    minus: tuple[str, ...] = ()
    higher: bool = True
    digits: int = 3

    def estimate(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """The difference in the record of one domain: "value", "low", "high" and counts; None where there is none."""
        found = _at(record, self.path)
        if found is None or not self.minus:
            return found
        other = _at(record, self.minus)
        return None if other is None else _difference(found, other)

    def verdict(self, estimate: Mapping[str, Any] | None) -> str:
        """One of REPRODUCED, OPPOSITE, OPEN, ABSENT; YES and NO in place of the first two where it is our own."""
        if estimate is None:
            return ABSENT
        if estimate["low"] is None or estimate["low"] <= 0 <= estimate["high"]:
            return OPEN
        holds = (estimate["value"] > 0) == self.higher
        return ((YES, NO) if self.source == OURS else (REPRODUCED, OPPOSITE))[not holds]


def _claim(
    key: str, statement: str, figure: str, notebook: str, path: tuple[str, ...], measure: str, **more
) -> Finding:
    return Finding(key, statement, more.pop("source", GCDP), figure, notebook, "claim", path, measure, **more)


def _table_1(key: str, statement: str, rival: str, what: str, measure: str, **more) -> Finding:
    """One of Table 1, whose protocol leaves the text out: the joint model less a rival, a single training each."""
    path, minus = (("joint", "unconditional", what), (rival, "unconditional", what))
    return Finding(key, statement, GCDP, "Table 1", _TABLE_1, EVALUATION, path, measure, minus, **more)


_FIG_6, _FIG_7 = "fig6_recall_tradeoff", "fig7_clip_tradeoff"
_TABLE_1 = "table1_image_layout_generation"
_STROKES = {"notebook": "strokes_gradop", "kind": "strokes", "figure": "–"}
_DIRECTIONS = {"notebook": "any_direction", "kind": "any_direction", "figure": "–", "source": OURS}
_GUIDED = {"notebook": "guidance_halves", "kind": "guidance", "figure": "–", "source": OURS}
_ENLARGED = {"notebook": "super_resolution", "kind": "super_resolution", "figure": "–", "source": OURS}

FINDINGS = (
    _claim("effect", "Drawing the layout along makes images follow their captions better.",
           "Fig. 6", "08_claim", ("effect",), "effect of naming"),
    _claim("recall", "Images show more of the classes that captions name.",
           "Fig. 6", _FIG_6, ("semantic_recall",), "Semantic Recall"),
    _claim("minor", "Images show more of the small classes that captions name.",
           "Fig. 6", _FIG_6, ("minor", "recall"), "recall, smaller half of the classes"),
    _claim("minor_gain", "The gain in recall is larger on small classes than on large ones.",
           "Fig. 6", _FIG_6, ("minor", "gain"), "recall, smaller less larger half"),
    _claim("attributes", "Images show more of the attributes that captions name.",
           "Fig. 1", "fig1_attribute_recall", ("attribute_recall",), "attribute recall"),
    _claim("score", "Images have a higher text-image score.",
           "Fig. 7", _FIG_7, ("alignment",), "text-image score (0 to 100)", digits=1),
    _claim("distance", "Images lie closer to held-out ones.",
           "Fig. 6, 7", _FIG_6, ("frechet",), "Fréchet distance", higher=False),
    _claim("tradeoff", "At a guidance where images lie no farther from held-out ones, they follow captions better.",
           "Fig. 6, 7", _FIG_6, ("no_larger_distance", "largest", "j"), "J, on validation captions"),
    _claim("tradeoff_few", "With few training pairs, too, they do so.",
           "Fig. 7", _FIG_7, ("no_larger_distance", "smallest", "j"), "J, on validation captions"),
    _claim("effect_few", "With few training pairs, too, images follow their captions better.",
           "Fig. 1, 7", "08_claim", ("C1", "smallest", "effect"), "effect of naming"),
    _claim("distance_few", "With few training pairs, too, images lie closer to held-out ones.",
           "Fig. 7", "08_claim", ("C1", "smallest", "frechet"), "Fréchet distance", higher=False),
    _table_1("table1_two_stage", "Without text, images fit their layouts better than with two networks, layout first.",
             "two_stage", "miou", "mIoU of image and layout"),
    _table_1("table1_pixel_classifier", "Without text, they do so better than with layouts read off image-only images.",
             "pixel_classifier", "miou", "mIoU of image and layout"),
    _table_1("table1_distance", "Without text, images lie closer to held-out ones than with two networks.",
             "two_stage", "frechet", "Fréchet distance", higher=False),
    _table_1("table1_areas", "Without text, areas of classes are closer to held-out ones than with two networks.",
             "two_stage", "fsd", "Fréchet distance of class areas", higher=False, digits=1),
    Finding("features", "At t = 800 internal features cluster into the true classes better.", GCDP, "Fig. 8",
            "fig8_kmeans", "features", ("difference", "paired", "ami"), "adjusted mutual information"),
    Finding("gradop", "GradOP+ lies closer to the strokes than SDEdit at equal realism.", GRADOP,
            path=("compared", "joint: gradop_plus - sdedit, faithfulness"),
            measure="mean squared error to the strokes", higher=False, digits=4, **_STROKES),
    Finding("gradop_scenes", "As close to the strokes as SDEdit, does GradOP+ lie closer to held-out images?", OURS,
            path=("compared", "joint: gradop_plus - sdedit, realism by distance to held-out images"),
            measure="Fréchet distance", higher=False, **_STROKES),
    Finding("attention", "Cross-attention decides, without training, what a stroke becomes.", GRADOP,
            path=("differences", "image_only: gradop_plus, named by attention - unnamed, hit rate"),
            measure="share of a stroke's pixels of its class", **_STROKES),
    Finding("named", "Does naming strokes in the layout half decide what they become?", OURS,
            path=("differences", "joint: gradop_plus, named - unnamed, hit rate"),
            measure="share of a stroke's pixels of its class", **_STROKES),
    _claim("two_stage", "With text, each at its best guidance: do images fit layouts better than with two networks?",
           "–", "08_claim", ("C4", "two_stage"), "mIoU of image and layout", source=OURS),
    _claim("pixel_classifier", "The same against layouts read off image-only images?",
           "–", "08_claim", ("C4", "pixel_classifier"), "mIoU of image and layout", source=OURS),
    _claim("growth", "Does the gain in following captions grow as training pairs get fewer?", "–", "08_claim",
           ("C2", "effect", "per_halving"), "effect of naming, each halving", source=OURS),
    _claim("growth_distance", "Does the gain in image quality grow as training pairs get fewer?", "–", "08_claim",
           ("C2", "frechet", "per_halving"), "Fréchet distance, each halving", source=OURS, higher=False),
    Finding("way_back", "RePaint on pairs: is the exact way back to noise better than the public code's?", OURS,
            "Fig. 9", "fig9_outpainting", "outpainting", ("differences", "repaint - repaint_authors"),
            "mIoU of drawn images"),
    Finding("image_to_layout", "Trained at independent times: image to layout better, in a fifth of RePaint's calls?",
            path=("layout_differences", "direct_fewer - repaint_once"), measure="mIoU of drawn layouts", **_DIRECTIONS),
    Finding("layout_to_image", "The same from layout to image, in a 25th of the calls?",
            path=("image_differences", "direct_fewer - repaint"), measure="mIoU of drawn images", **_DIRECTIONS),
    Finding("layout_leads", "Does a layout that is drawn ahead make its image follow the caption better?",
            path=("path_differences", "0.5"), measure="effect of naming", **_DIRECTIONS),
    Finding("unlabeled", "Do images without layouts help, where a quarter of the images has one?",
            path=("few_layouts", "differences", "few - alone", "pair_miou"),
            measure="mIoU of image and layout", **_DIRECTIONS),
    Finding("halves_effect", "A guidance scale for each half in place of one: do images follow their captions better?",
            path=("differences", "effect"), measure="effect of naming", **_GUIDED),
    Finding("halves_distance", "Do they lie closer to held-out ones?",
            path=("differences", "frechet"), measure="Fréchet distance", higher=False, **_GUIDED),
    Finding("halves_miou", "Do they fit their layouts better?",
            path=("differences", "miou"), measure="mIoU of image and layout", **_GUIDED),
    Finding("enlarged", "Do pairs enlarged by a second diffusion agree better than interpolated ones?",
            path=("from_drawn", "cascade", "miou"), minus=("from_drawn", "interpolated", "miou"),
            measure="mIoU of image and layout", **_ENLARGED),
    Finding("enlarged_distance", "Do their images lie closer to held-out ones?",
            path=("from_drawn", "cascade", "frechet"), minus=("from_drawn", "interpolated", "frechet"),
            measure="Fréchet distance", higher=False, **_ENLARGED),
)  # fmt: skip


def load_records(metrics: Path) -> dict[str, dict[str, Any]]:
    """{kind: {domain: record}} of a folder of metrics, and {EVALUATION: {domain: {model: record}}}.

    What was not run is empty. Raises DataError for a damaged file.
    """

    def read(folder: Path) -> dict[str, Any]:
        return {path.stem: read_json(path, "run its notebook again") for path in sorted(folder.glob("*.json"))}

    found = {kind: read(metrics / kind) for kind in KINDS}
    return {**found, EVALUATION: {folder.name: read(folder) for folder in sorted(metrics.glob(f"{EVALUATION}/*/"))}}


def finding_rows(records: Mapping[str, Mapping[str, Any]], domains: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for every finding: "finding", and by domain "estimate" and "verdict".

    `records`: from `load_records`. Records of the larger size of a domain stand for the domain.
    """
    rows = []
    for finding in FINDINGS:
        own = records.get(finding.kind, {})
        found = {domain: finding.estimate(own.get(domain) or own.get(f"{domain}_large") or {}) for domain in domains}
        verdicts = {domain: finding.verdict(estimate) for domain, estimate in found.items()}
        rows.append({"finding": finding, "estimate": found, "verdict": verdicts})
    return rows


def findings_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table, a column for each domain; ABSENT is said where no domain has a difference."""
    lines = []
    for row in rows:
        each, known = row["finding"], any(row["estimate"].values())
        line = {"whose": each.source, "statement": each.statement, "in the paper": each.figure, "measure": each.measure}
        for domain, estimate in row["estimate"].items():
            shown = f"{estimate_line(each, estimate)} **{row['verdict'][domain]}**"
            line[domain] = shown if estimate else DASH if known else ABSENT
        lines.append(line)
    return markdown(lines)


def findings_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows as JSON types: {key: {domain: {"value", "low", "high", "n", "verdict"}}}."""
    return {
        row["finding"].key: {
            domain: {name: estimate.get(name) for name in ("value", "low", "high", "n")}
            | {"verdict": row["verdict"][domain]}
            for domain, estimate in row["estimate"].items()
            if estimate
        }
        for row in rows
    }


def estimate_line(finding: Finding, estimate: Mapping[str, Any] | None) -> str:
    """ "+0.301 [+0.227, +0.375]", or a dash."""
    return difference_text(estimate, finding.digits)


def row_of(rows: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    """The row of one finding. Raises DataError where there is none."""
    for row in rows:
        if row["finding"].key == key:
            return row
    raise DataError(f"there is no finding {key!r}: the keys are {', '.join(row['finding'].key for row in rows)}.")


def _at(record: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
    """What lies at `path`; "smallest" is the smallest of numeric keys if there are several, "largest" the largest.

    None if nothing lies there.
    """
    for key in path:
        if not isinstance(record, Mapping) or not record:
            return None
        if key == "smallest":
            sizes = sorted(record, key=int)
            key = sizes[0] if len(sizes) > 1 else ""
        elif key == "largest":
            key = max(record, key=int)
        record = record.get(key)
    return record if isinstance(record, Mapping) and record.get("value") is not None else None


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of two estimates, as if they were independent; "n" of the first."""
    value = one["value"] - other["value"]
    if None in (one["low"], other["low"]):
        return {"value": value, "low": None, "high": None, "n": one.get("n")}
    below = ((one["value"] - one["low"]) ** 2 + (other["high"] - other["value"]) ** 2) ** 0.5
    above = ((one["high"] - one["value"]) ** 2 + (other["value"] - other["low"]) ** 2) ** 0.5
    return {"value": value, "low": value - below, "high": value + above, "n": one.get("n")}
