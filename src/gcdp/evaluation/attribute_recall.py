"""Attributes that captions name and images show: recall, chance, and what the classifier that reads them is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.data.attributes import AttributeTable
from gcdp.errors import DataError
from gcdp.evaluation.correspondence import named_matrix
from gcdp.evaluation.referees.attributes import is_present
from gcdp.evaluation.statistics import bootstrap_ratio, mean_ratio, proportion


def classifier_report(probabilities: np.ndarray, truth: np.ndarray, table: AttributeTable) -> dict[str, Any]:
    """How well a classifier reads real held-out images: the ceiling of every generator.

    Args:
        probabilities: (N, A), from `AttributeReferee.read`.
        truth: 0/1 (N, A), in the order of the table.

    Over nameable attributes: {"macro_recall", "macro_precision", "mean_accuracy", "n", "recall", "precision",
    "accuracy", "base_rate"}, the last four by name. An attribute that no image has scores None in "recall", and one
    that the classifier never sees in "precision"; means are over the others. "base_rate" is the share of images that
    have the attribute. Raises DataError where the arrays do not fit each other and the table.
    """
    truth = np.asarray(truth)
    if truth.shape != np.shape(probabilities) or truth.shape[1:] != (len(table.names),) or not len(truth):
        raise DataError(
            f"probabilities {np.shape(probabilities)} and truth {truth.shape} need one row an image and one column "
            f"for each of the {len(table.names)} attributes"
        )
    nameable, names = list(table.nameable), [table.names[a] for a in table.nameable]
    seen, true = is_present(probabilities)[:, nameable], truth[:, nameable] > 0
    both = (seen & true).sum(0)
    shares = {
        "recall": _shares(names, both, true.sum(0)),
        "precision": _shares(names, both, seen.sum(0)),
        "accuracy": _shares(names, (seen == true).sum(0), np.full(len(names), len(true))),
        "base_rate": _shares(names, true.sum(0), np.full(len(names), len(true))),
    }
    means = {f"macro_{name}": _macro(shares[name].values()) for name in ("recall", "precision")}
    return {**means, "mean_accuracy": _macro(shares["accuracy"].values()), "n": len(truth), **shares}


def attribute_cases(
    present: np.ndarray, captions: Sequence[str], table: AttributeTable
) -> tuple[np.ndarray, np.ndarray]:
    """(hits, named), int64 (N, A) each: the attributes that each caption names, and those of them that are present.

    Args:
        present: bool (N, A), what the referee sees, from `AttributeReferee.present`; or shares of it, such as
            `chance.of_others`, which make the hits shares too.
        captions: what the N images were drawn from; an empty caption names nothing.

    Raises DataError where captions and images differ in number, or the columns are not the attributes of the table.
    """
    present = np.asarray(present)
    if present.shape != (len(captions), len(table.names)):
        raise DataError(
            f"need one row a caption and one column an attribute, {(len(captions), len(table.names))}, "
            f"got {present.shape}"
        )
    named = named_matrix(captions, table).astype(np.int64)
    return named * present, named


def attribute_recall(present: np.ndarray, captions: Sequence[str], table: AttributeTable) -> dict[str, Any]:
    """Of the attributes that a caption names, the share that the referee finds; arguments as in `attribute_cases`.

    {"mean", "micro", "macro", "per_attribute"}: "mean" is the mean over images of their own recalls, those without a
    named attribute left out, as the paper has it for classes; "micro" is an Estimate over all (image, named attribute)
    cases. The intervals of both draw images anew. "per_attribute" has an Estimate (Wilson) for every nameable
    attribute, `n` of which counts the captions that name it, with the value None where none does; "macro" is the mean
    of the values that exist.
    """
    hits, named = attribute_cases(present, captions, table)
    rows = {table.names[a]: (named[:, a] > 0, a) for a in table.nameable}
    per_attribute = {name: proportion(int(hits[row, a].sum()), int(row.sum())) for name, (row, a) in rows.items()}
    return {
        "mean": mean_ratio(hits.sum(1), named.sum(1)),
        "micro": bootstrap_ratio(hits.sum(1), named.sum(1)),
        "macro": _macro(estimate["value"] for estimate in per_attribute.values()),
        "per_attribute": per_attribute,
    }


def _shares(names: Sequence[str], hits: np.ndarray, cases: np.ndarray) -> dict[str, float | None]:
    return {name: float(hit / n) if n else None for name, hit, n in zip(names, hits, cases, strict=True)}


def _macro(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
