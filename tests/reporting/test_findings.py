"""Verdicts follow from intervals; what a record lacks is said; the table is the same wherever it is written."""

import json
from pathlib import Path

import pytest

from gcdp.errors import DataError
from gcdp.reporting.findings import (
    ABSENT,
    EVALUATION,
    FINDINGS,
    KINDS,
    NO,
    OPEN,
    OPPOSITE,
    OURS,
    REPRODUCED,
    YES,
    finding_rows,
    findings_markdown,
    findings_metrics,
    load_records,
    row_of,
)

ROWS = finding_rows({}, ())
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def finding(key):
    return row_of(ROWS, key)["finding"]


def between(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high, "n": 40}


@pytest.mark.parametrize(
    ("key", "interval", "verdict"),
    [
        ("effect", (0.1, 0.3), REPRODUCED),
        ("effect", (-0.3, -0.1), OPPOSITE),
        ("effect", (-0.1, 0.3), OPEN),
        ("effect", (0.0, 0.3), OPEN),
        ("distance", (0.1, 0.3), OPPOSITE),  # smaller is better
        ("distance", (-0.3, -0.1), REPRODUCED),
        ("growth", (0.1, 0.3), YES),  # a question of our own
        ("growth", (-0.3, -0.1), NO),
    ],
)
def test_a_verdict_is_the_side_of_zero_on_which_the_interval_lies(key, interval, verdict):
    assert finding(key).verdict(between(*interval)) == verdict


def test_without_an_interval_nothing_is_decided_and_without_a_value_nothing_measured():
    assert finding("effect").verdict({"value": 0.4, "low": None, "high": None}) == OPEN
    assert finding("effect").verdict(None) == ABSENT


def test_the_smallest_number_of_pairs_is_found_where_there_are_several():
    few = finding("effect_few")
    assert few.estimate({"C1": {"2975": {"effect": between(0, 1)}, "200": {"effect": between(2, 4)}}})["value"] == 3
    assert few.estimate({"C1": {"2000": {"effect": between(0, 1)}}}) is None
    assert few.estimate({}) is None


def test_a_difference_of_two_estimates_adds_their_variances():
    record = {"from_drawn": {"cascade": {"miou": between(0.47, 0.53)}, "interpolated": {"miou": between(0.26, 0.34)}}}
    found = finding("enlarged").estimate(record)
    assert found["value"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == (pytest.approx(0.15), pytest.approx(0.25))  # 0.03 and 0.04 in quadrature


def test_every_finding_has_its_notebook_its_kind_and_a_key_of_its_own():
    assert len({each.key for each in FINDINGS}) == len(FINDINGS)
    for each in FINDINGS:
        assert NOTEBOOKS.joinpath(f"{each.notebook}.ipynb").is_file() and each.kind in (*KINDS, EVALUATION)
        assert each.statement.endswith("?" if each.source == OURS else ".")
    with pytest.raises(DataError, match="no finding 'effects': the keys are effect, "):
        finding("effects")


@pytest.fixture
def rows(tmp_path):
    for kind, content in (("claim", '{"effect": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 9}}'), ("features", "{}")):
        path = tmp_path / kind / "streets.json"
        path.parent.mkdir()
        path.write_text(content)
    return finding_rows(load_records(tmp_path), ("streets", "faces"))


def test_the_table_says_what_was_not_measured_and_dashes_what_another_domain_has(rows):
    lines = findings_markdown(rows).splitlines()
    assert "| +0.200 [+0.100, +0.300] **reproduced** | – |" in lines[2]
    assert all(line.endswith(f"| {ABSENT} | {ABSENT} |") for line in lines[3:])


def test_metrics_hold_what_was_measured_alone(rows):
    found = findings_metrics(rows)
    assert found["effect"] == {"streets": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 9, "verdict": REPRODUCED}}
    assert found["features"] == {}


def test_table_1_is_read_off_the_records_without_text(tmp_path):
    (tmp_path / EVALUATION / "streets").mkdir(parents=True)
    for model, interval in (("joint", (0.30, 0.36)), ("two_stage", (0.36, 0.44))):
        content = {"unconditional": {"miou": between(*interval)}, "curve": {}}
        (tmp_path / EVALUATION / "streets" / f"{model}.json").write_text(json.dumps(content))
    found = findings_metrics(finding_rows(load_records(tmp_path), ("streets", "faces")))
    two_stage = found["table1_two_stage"]["streets"]
    assert [two_stage[end] for end in ("value", "low", "high")] == pytest.approx([-0.07, -0.12, -0.02])
    assert two_stage["verdict"] == OPPOSITE and found["table1_pixel_classifier"] == {}


def test_damaged_records_are_refused_by_name(tmp_path):
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "streets.json").write_text("{")
    with pytest.raises(DataError, match=r"streets\.json"):
        load_records(tmp_path)
