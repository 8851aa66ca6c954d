"""Agreement of clusters over training seeds and images at once: of one row, of two rows' difference, of whole grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gcdp.evaluation.agreement import AGREEMENT
from gcdp.evaluation.mixed_effects import grand_mean
from gcdp.experiments.features_record import BASELINES, CONDITIONS, OTHER, FeatureRecord, FeatureRecords, Row


class Side(NamedTuple):
    """A row of one model, or of the baselines: what one line of a table is about."""

    model: str
    row: Row


def recorded(records: FeatureRecords, model: str) -> dict[int, FeatureRecord]:
    """Records of a model by training seed; those of `BASELINES`, which have none, as seed 0."""
    if model == BASELINES:
        return {} if records.baselines is None else {0: records.baselines}
    return {trial.seed: record for trial, record in sorted(records.networks.items()) if trial.model == model}


def side(records: FeatureRecords, model: str, shown: Row) -> Side | None:
    """The row of a model that stands for `shown`, in every of its records.

    The last map of the image's half is "last" in one network and "last.image" in another; a baseline without taps,
    times or numbers of clusters stands for all of them. None where there is no such row.
    """
    found, taps = None, (shown.tap, shown.tap.removesuffix(".image"), f"{shown.tap}.image")
    for record in recorded(records, model).values():
        found = next((row for tap in taps if (row := record.find(*shown._replace(tap=tap)))), None)
        if found is None:
            return None
    return None if found is None else Side(model, found)


def estimate(records: FeatureRecords, which: Side, measure: str) -> dict[str, Any]:
    """Mean over training seeds and images with its 95 % interval: {"value", "low", "high", "n", "seeds"}.

    With one seed the interval is that of the images alone.
    """
    values = [record.get(which.row, measure) for record in recorded(records, which.model).values()]
    return grand_mean(np.stack(values))


def difference(records: FeatureRecords, ours: Side, theirs: Side, measure: str) -> dict[str, Any]:
    """ours - theirs, paired by image and by training seed; against a baseline every seed has the same partner.

    The seeds are those that both have. Undefined where they share none.
    """
    one, other = recorded(records, ours.model), recorded(records, theirs.model)
    seeds = [seed for seed in one if seed in other or theirs.model == BASELINES]
    pairs = [
        one[seed].get(ours.row, measure) - other[0 if theirs.model == BASELINES else seed].get(theirs.row, measure)
        for seed in seeds
    ]
    return grand_mean(np.stack(pairs) if pairs else np.zeros((0, 0)))


def specific(records: FeatureRecords, which: Side, measure: str) -> dict[str, Any]:
    """Agreement of a network's clusters with the layout of their image, minus that with the layout of another pair.

    What all pairs share, such as where faces stand, adds to both and drops out.
    """
    other = which.row._replace(condition=which.row.condition + OTHER)
    return difference(records, which, Side(which.model, other), measure)


def shown_sides(records: FeatureRecords, models: Sequence[str], shown: Row) -> list[Side]:
    """Every way to find clusters in a row: both models, under each condition they have, then the baselines."""
    asked = [(model, shown._replace(condition=condition)) for model in models for condition in CONDITIONS]
    names = {} if records.baselines is None else dict.fromkeys(row.condition for row in records.baselines.values)
    asked += [(BASELINES, shown._replace(condition=name)) for name in names]
    return [found for each in asked if (found := side(records, *each)) is not None]


def best_row(records: FeatureRecords, model: str, condition: str, time: int, measure: str = "ami") -> Side:
    """The tap and number of clusters with which a model agrees best at a time, by the mean over its seeds."""
    found = recorded(records, model)
    rows = [row for row in next(iter(found.values())).values if (row.condition, row.time) == (condition, time)]
    means = {row: np.mean([record.get(row, measure).mean() for record in found.values()]) for row in rows}
    return Side(model, max(means, key=means.get))


def grid_table(records: FeatureRecords) -> list[dict[str, Any]]:
    """The whole grid, one dictionary a row: "model", "condition", "tap", "t", "clusters", "seeds", "n" and estimates.

    Keys of estimates are those of AGREEMENT.
    """
    table = []
    for model in [*dict.fromkeys(trial.model for trial in sorted(records.networks)), BASELINES]:
        found = recorded(records, model)
        for row in next(iter(found.values())).values if found else ():
            estimates = {measure: estimate(records, Side(model, row), measure) for measure in AGREEMENT}
            counts = {"seeds": len(found), "n": estimates["ami"]["n"]}
            place = {"condition": row.condition, "tap": row.tap, "t": row.time, "clusters": row.clusters}
            table.append({"model": model, **place, **counts, **estimates})
    return table


def comparison(records: FeatureRecords, ours: str, theirs: str, condition: str, measure: str = "ami") -> dict[str, int]:
    """Over all rows that both models have: {"rows", "higher", "clearly_higher", "clearly_lower"} of ours.

    "clearly": the interval of the difference leaves 0 out. Rows share images and networks, so that the counts describe
    the grid and are no test.
    """
    first = next(iter(recorded(records, ours).values()))
    rows = [Side(ours, row) for row in first.values if row.condition == condition]
    # an image-only network has no layout to be given: its rows are all "paired"
    twins = [side(records, theirs, each.row._replace(condition="paired")) for each in rows]
    found = [difference(records, a, b, measure) for a, b in zip(rows, twins) if b is not None]
    found = [each for each in found if each["value"] is not None]
    return {
        "rows": len(found),
        "higher": sum(each["value"] > 0 for each in found),
        "clearly_higher": sum(each["low"] is not None and each["low"] > 0 for each in found),
        "clearly_lower": sum(each["high"] is not None and each["high"] < 0 for each in found),
    }


def summary(records: FeatureRecords, models: Sequence[str], shown: Row) -> dict[str, Any]:
    """What is kept of the grid as metrics, plain JSON types; `models`: of both halves, image-only.

    "row": the row shown; "sides": each way to find clusters in it, a list of {"model", "condition", "measures"};
    "difference": first model minus second in that row, by condition of the first; "specific": agreement with the own
    layout minus that with the layout of another pair; "best": each model at its best block and number of clusters at
    that time, and their "difference"; "grid": `comparison` by condition.
    """
    ours, theirs = models
    sides = shown_sides(records, models, shown)
    plain = side(records, theirs, shown)
    conditions = [each for each in sides if each.model == ours]
    best = {model: best_row(records, model, shown.condition, shown.time) for model in models}
    return {
        "row": shown._asdict(),
        "seeds": {model: sorted(recorded(records, model)) for model in models},
        "n": estimate(records, plain, "ami")["n"],
        "sides": [
            {"model": each.model, "condition": each.row.condition, "measures": _measures(records, each)}
            for each in sides
        ],
        "difference": {
            each.row.condition: {measure: difference(records, each, plain, measure) for measure in AGREEMENT}
            for each in conditions
        },
        "specific": {
            f"{each.model}, {each.row.condition}": specific(records, each, "ami")
            for each in sides
            if each.model in models
        },
        "best": {
            **{model: _at_best(records, each) for model, each in best.items()},
            "difference": {measure: difference(records, best[ours], best[theirs], measure) for measure in AGREEMENT},
        },
        "grid": {each.row.condition: comparison(records, ours, theirs, each.row.condition) for each in conditions},
    }


def _at_best(records: FeatureRecords, which: Side) -> dict[str, Any]:
    return {"row": which.row._asdict(), **_measures(records, which), "specific": specific(records, which, "ami")}


def _measures(records: FeatureRecords, which: Side) -> dict[str, Any]:
    return {measure: estimate(records, which, measure) for measure in AGREEMENT}
