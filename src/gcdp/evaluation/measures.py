"""The table of measures: one entry for each number that an evaluation reports, and nowhere else a second one.

Records store estimates under the keys of this table; tables, figures and the report take names, digits, columns and
directions from it, and a study the counts of captions that a measure is a ratio of.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How a measure follows from what a study keeps of every caption.

    With `per_caption` it is the mean over captions of factor * hits / cases, captions without cases left out; else
    the sums over all captions are divided (pooled). `cases` names counts that are added up.
    """

    hits: str
    cases: tuple[str, ...]
    factor: int = 1
    per_caption: bool = False


@dataclass(frozen=True)
class Measure:
    """One number that an evaluation reports.

    Args:
        key: what records store it under.
        name: as axes and the report say it; `{area}` stands for the calibrated area.
        column: its header in narrow tables and its column in the CSV files.
        digits: behind the point.
        higher_is_better: which of two values is the better one.
        of_text: whether it asks for the caption; such a measure means nothing for images made without text.
        of_layouts: whether it is of the layouts that a model drew itself, which no referee needs to read.
        of_all_classes: whether it takes for granted that a caption names every class that its image shows. It does
            not apply where captions name attributes, which leave out most classes that are there.
        chance_is_zero: whether images that have nothing to do with their captions score 0 by construction.
        ratio: what a study computes it from.
        paper: what Park et al. 2023 report.
    """

    key: str
    name: str
    column: str
    digits: int = 3
    higher_is_better: bool = True
    of_text: bool = True
    of_layouts: bool = False
    of_all_classes: bool = False
    chance_is_zero: bool = False
    ratio: Ratio | None = None
    paper: str = "–"

    def label(self, area: int | None = None) -> str:
        """Its name, with the calibrated area in its place: "8 pixels (calibrated)", or in words without a number."""
        text = "the calibrated area" if area is None else f"{area} pixel{'s' if area != 1 else ''} (calibrated)"
        return self.name.format(area=text)


_TABLE_1 = "(Table 1, Cityscapes, without text)"
MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("effect", "effect of naming, same noise", "effect", chance_is_zero=True),
        Measure("effect_layouts", "effect of naming, in the model's own layouts", "effect_layouts",
                of_layouts=True, chance_is_zero=True),
        Measure("j", "J, seen where named less seen elsewhere", "J", chance_is_zero=True),
        Measure("j_layouts", "J of the model's own layouts", "J_layouts", of_layouts=True, chance_is_zero=True),
        Measure("tpr", "seen where named (true-positive rate)", "seen_named"),
        Measure("fpr", "seen where not named (false-positive rate)", "seen_not_named", higher_is_better=False),
        Measure("semantic_recall", "Semantic Recall, from 1 pixel", "recall_1px",
                ratio=Ratio("both_1px", ("named",), per_caption=True), paper="curves (Fig. 6)"),
        Measure("semantic_recall_pooled", "Semantic Recall, from 1 pixel, cases pooled", "recall_1px_pooled",
                ratio=Ratio("both_1px", ("named",))),
        Measure("semantic_recall_area", "Semantic Recall, from {area}", "recall_area",
                ratio=Ratio("both", ("named",), per_caption=True)),
        Measure("semantic_recall_area_pooled", "Semantic Recall, from {area}, cases pooled",
                "recall_area_pooled", ratio=Ratio("both", ("named",))),
        Measure("precision", "precision, from {area}", "precision", of_all_classes=True,
                ratio=Ratio("both", ("held",))),
        Measure("precision_1px", "precision, from 1 pixel", "precision_1px", of_all_classes=True,
                ratio=Ratio("both_1px", ("held_1px",))),
        Measure("f1", "F1, from {area}", "F1", of_all_classes=True,
                ratio=Ratio("both", ("named", "held"), 2)),
        Measure("attribute_recall", "attribute recall", "attributes",
                ratio=Ratio("attributes_shown", ("attributes_named",)), paper="chart (Fig. 1)"),
        Measure("attribute_recall_mean", "attribute recall, mean over images", "attributes_per_image",
                ratio=Ratio("attributes_shown", ("attributes_named",), per_caption=True)),
        Measure("attribute_macro", "attribute recall, mean over attributes", "attributes_macro"),
        Measure("alignment", "text-image score", "alignment", digits=1,
                ratio=Ratio("alignment", ("captions",)), paper="CLIP score: curves (Fig. 7)"),
        Measure("frechet", "Fréchet distance, referee features", "distance", higher_is_better=False, of_text=False),
        Measure("kid", "kernel distance, referee features", "kernel_distance", digits=4,
                higher_is_better=False, of_text=False),
        Measure("miou", "mIoU, alignment of image and layout", "mIoU", of_text=False, paper=f"0.658 {_TABLE_1}"),
        Measure("miou_all", "mIoU over all classes, absent ones as 0", "mIoU_all", of_text=False),
        Measure("fsd", "FSD, class areas", "FSD", digits=1, higher_is_better=False, of_text=False,
                paper=f"42.2 {_TABLE_1}"),
    )
}  # fmt: skip
# what repeated trainings are compared by, where captions name classes alone and where they name attributes
COMPARED = ("semantic_recall", "semantic_recall_area", "precision", "f1", "frechet")
COMPARED_BY_ATTRIBUTES = ("semantic_recall", "attribute_recall", "alignment", "frechet")
