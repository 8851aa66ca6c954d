"""Tables and figures of several models, from records made by hand."""

import csv

import pytest
from matplotlib import pyplot as plt

from gcdp.reporting.comparison import (
    COLUMNS,
    PAPER_TABLE_1,
    STYLES,
    label,
    markdown,
    order,
    style,
    table_rows,
    tradeoff,
    write_csv,
)

NONE = {"value": None, "low": None, "high": None, "n": 0}


def estimate(value, spread=0.01):
    return {"value": value, "low": value - spread, "high": value + spread, "n": 8}


def point(guidance, shift=0.0, miou=0.5):
    names = ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet")
    scores = {name: estimate(0.1 * i + 0.2 + shift) for i, name in enumerate(names)}
    labels = {"miou": NONE if miou is None else estimate(miou), "fsd": estimate(30.25, 2.0)}
    return {"guidance": guidance, **scores, **labels, "fsd_of": "referee" if miou is None else "layouts"}


def record(miou=0.5, **changes):
    sweep = [point(1.0, miou=miou), point(2.0, 0.05, miou=miou)]
    free = {"frechet": estimate(0.9), "fsd": estimate(40.0), "fsd_of": sweep[0]["fsd_of"], "miou": sweep[0]["miou"]}
    training = {"steps": 1500, "batch_size": 16}
    found = {"n": 8, "best": 2.0, "sweep": sweep, "chosen": sweep[1], "unconditional": free, "training": training}
    return found | changes


def external(text=True):
    made = point(None, miou=None)
    if text:
        return record(best=None, sweep=[made], chosen=made, unconditional=None, training={})
    free = {name: made[name] for name in ("frechet", "fsd", "fsd_of", "miou")}
    return record(best=None, sweep=[], chosen=None, unconditional=free, training={})


RECORDS = {
    "zebra": external(),
    "latent": record(miou=None),
    "joint": record(),
    "palette": external(text=False),
}
KNOWN = {"n": 120, "ceiling": point(None, 0.1)}


def test_ours_first_then_rivals_then_whatever_else():
    assert order(RECORDS) == ["joint", "latent", "palette", "zebra"]
    assert label("joint") == "joint" and label("semantic_palette") == "semantic palette"


def test_the_released_model_says_so_beside_its_like_of_equal_budget():
    both = {"joint": {}, "joint_same_budget": {}}
    assert label("joint", both) == "joint (released)" and label("joint", {"joint": {}, "latent": {}}) == "joint"
    assert label("joint_same_budget", both) == label("joint_same_budget") == "joint, budget of the rivals"
    shown = [row["model"] for row in table_rows({name: record() for name in both}, KNOWN)]
    assert shown[1:3] == ["joint (released)", "joint, budget of the rivals"]


def test_every_model_has_its_own_look():
    many = {name: {} for name in (*STYLES, "a", "b", "c", "d")}
    looks = [tuple(style(name, many).values()) for name in many]
    assert len(set(looks)) == len(many)
    assert style("joint", many) == style("joint", {"joint": {}})  # whoever else is shown
    assert style("e", many | {"e": {}}) == style("a", many)  # four spare looks: a fifth starts over


@pytest.fixture
def rows():
    return table_rows(RECORDS, KNOWN)


def pick(rows, model, protocol):
    (row,) = [row for row in rows if (row["model"], row["protocol"]) == (model, protocol)]
    return row


def test_rows_come_in_order_ceiling_both_protocols_and_paper(rows):
    assert [(row["model"], row["protocol"]) for row in rows[:7]] == [
        ("real pairs, half against half", "ceiling"),
        ("joint", "without text"),
        ("latent", "without text"),
        ("palette", "without text"),
        ("joint", "with text"),
        ("latent", "with text"),
        ("zebra", "with text"),
    ]
    assert [row["model"] for row in rows[7:]] == [name for name, *_ in PAPER_TABLE_1]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert {row["source"] for row in rows[:7]} == {"this run"} and {row["source"] for row in rows[7:]} == {"paper"}


def test_numbers_stand_with_intervals_and_what_they_rest_on(rows):
    best = pick(rows, "joint", "with text")
    assert best["recall_1px"] == "0.250 [0.240, 0.260]" and best["distance"] == "0.750 [0.740, 0.760]"
    assert best["mIoU"] == "0.500 [0.490, 0.510]" and best["FSD"] == "30.2 [28.2, 32.2]" and best["FSD_of"] == "layouts"
    assert (best["steps"], best["pairs_seen"], best["n"], best["guidance"]) == ("1,500", "24,000", "8", "2")
    free = pick(rows, "joint", "without text")
    assert free["guidance"] == "0" and free["distance"] == "0.900 [0.890, 0.910]" and free["steps"] == "1,500"
    assert {free[name] for name in ("recall_1px", "recall_area", "precision", "F1")} == {"–"}  # no text, no recall
    assert rows[0]["n"] == "120" and rows[0]["recall_1px"] == "0.300 [0.290, 0.310]" and rows[0]["guidance"] == ""


def test_what_a_model_lacks_is_a_dash(rows):
    for protocol in ("without text", "with text"):
        assert pick(rows, "latent", protocol)["mIoU"] == "–" and pick(rows, "latent", protocol)["FSD_of"] == "referee"
    made = pick(rows, "zebra", "with text")
    assert made["guidance"] == made["steps"] == made["pairs_seen"] == "" and made["F1"].startswith("0.6")
    lone = table_rows({"joint": record(training={"steps": None, "batch_size": 16})}, KNOWN)[1]
    assert lone["steps"] == lone["pairs_seen"] == ""


def test_a_value_without_an_interval_stands_alone():
    chosen = point(2.0) | {"frechet": {"value": 0.5, "low": None, "high": None, "n": 1}}
    row = pick(table_rows({"joint": record(chosen=chosen)}, KNOWN), "joint", "with text")
    assert row["distance"] == "0.500"


def test_the_papers_numbers_are_told_from_ours(rows):
    paper = rows[-1]
    assert (paper["model"], paper["distance"], paper["mIoU"], paper["FSD"]) == ("GCDP", "FID 20.36", "65.80", "42.22")
    assert paper["protocol"] == "without text" and paper["n"] == ""


def test_markdown_has_a_line_for_each_row(rows):
    lines = markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows) and {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert markdown(rows[:1], ("model", "n")) == "| model | n |\n|---|---|\n| real pairs, half against half | 120 |\n"


def test_csv_reads_back(rows, tmp_path):
    path = tmp_path / "tables" / "table.csv"
    write_csv(rows, path)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows
    assert b"\r" not in path.read_bytes()


@pytest.fixture
def panel():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def curves(panel):
    """Points of each line that joins the scales of a model."""
    return [list(zip(*line.get_data(), strict=True)) for line in panel.lines if line.get_marker() in ("None", "", None)]


def test_one_curve_and_one_name_for_each_model(panel):
    shown = {name: RECORDS[name] for name in ("joint", "latent", "zebra")}
    tradeoff(panel, shown, "semantic_recall", "frechet")
    lines = [curve for curve in curves(panel) if curve]
    expected = [[(0.2, 0.7), (0.25, 0.75)]] * 2 + [[(0.2, 0.7)]]
    assert len(lines) == 3
    for line, points in zip(lines, expected, strict=True):
        assert [pytest.approx(p) for p in points] == line
    assert panel.get_legend_handles_labels()[1] == ["joint", "latent", "zebra"]
    sizes = [c.lines[0].get_markersize() for c in panel.containers]
    assert sizes == [4, 7, 4, 7, 7]  # the chosen scale is drawn larger; a single set is its own choice


def test_curves_do_without_intervals_and_skip_what_is_undefined(panel):
    flat = point(1.0) | {"frechet": {"value": 0.7, "low": None, "high": None, "n": 1}}
    blind = point(2.0) | {"precision": NONE}
    shown = {"joint": record(sweep=[flat, blind, point(3.0)], best=3.0)}
    tradeoff(panel, shown, "precision", "frechet")
    assert len(panel.containers) == 2
    (segments,) = [bar.get_segments() for bar in panel.containers[0].lines[2][1:]]
    assert segments[0][0] == pytest.approx(segments[0][1])  # an interval of no length
