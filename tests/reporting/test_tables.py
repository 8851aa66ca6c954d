"""Table 1, tables of classes and of attributes, from records made by hand."""

import csv
from dataclasses import replace

import pytest
from worlds.hand_made import estimate, external, point, record, referee

from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.reporting.tables import (
    PAPER_TABLE_1,
    TABLE_1_COLUMNS,
    aligned,
    attribute_rows,
    class_rows,
    group_rows,
    label_rows,
    markdown,
    marked,
    measure_text,
    spoiled_rows,
    table_rows,
    write_csv,
)

RECORDS = {"zebra": external(), "latent": record(miou=None), "joint": record(), "palette": external(text=False)}
REFEREE = referee(point(shift=0.1))


@pytest.fixture
def table():
    return table_rows(RECORDS, REFEREE)


def pick(table, model, protocol):
    (row,) = [row for row in table if (row["model"], row["protocol"]) == (model, protocol)]
    return row


def test_rows_come_in_order_ceiling_both_protocols_and_paper(table):
    assert [(row["model"], row["protocol"]) for row in table[:7]] == [
        ("held-out pairs, half against half", "ceiling"),
        ("joint", "without text"),
        ("latent", "without text"),
        ("palette", "without text"),
        ("joint", "with text"),
        ("latent", "with text"),
        ("zebra", "with text"),
    ]
    assert [row["model"] for row in table[7:]] == [name for name, *_ in PAPER_TABLE_1]
    assert all(tuple(row) == TABLE_1_COLUMNS for row in table)
    assert {row["source"] for row in table[:7]} == {"this run"} and {row["source"] for row in table[7:]} == {"paper"}


def test_the_papers_numbers_are_of_streets_and_stand_in_no_table_of_faces():
    rows = table_rows(RECORDS, replace(REFEREE, attributes={"n": 8}))
    assert {row["source"] for row in rows} == {"this run"}


def test_numbers_stand_with_intervals_and_what_they_rest_on(table):
    best = pick(table, "joint", "with text")
    assert best["recall_1px"] == "0.250 [0.240, 0.260]*" and best["distance"] == "0.750 [0.740, 0.760]"
    assert best["mIoU"] == "0.500 [0.490, 0.510]" and best["FSD"] == "30.2 [28.2, 32.2]" and best["FSD_of"] == "layouts"
    assert (best["steps"], best["pairs_seen"], best["n"], best["guidance"]) == ("1,500", "24,000", "8", "2")
    free = pick(table, "joint", "without text")
    assert free["guidance"] == "0" and free["distance"] == "0.900 [0.890, 0.910]" and free["steps"] == "1,500"
    assert {free[name] for name in ("recall_1px", "recall_area", "precision", "F1")} == {"–"}  # no text, no recall
    assert table[0]["n"] == "120" and table[0]["recall_1px"] == "0.300 [0.290, 0.310]*" and table[0]["guidance"] == ""


def test_what_a_model_lacks_is_a_dash(table):
    for protocol in ("without text", "with text"):
        assert pick(table, "latent", protocol)["mIoU"] == "–" and pick(table, "latent", protocol)["FSD_of"] == "referee"
    made = pick(table, "zebra", "with text")
    assert made["guidance"] == made["steps"] == made["pairs_seen"] == "" and made["F1"].startswith("0.6")
    lone = table_rows({"joint": record(training={"steps": None, "batch_size": 16})}, REFEREE)[1]
    assert lone["steps"] == lone["pairs_seen"] == ""


def test_a_value_without_an_interval_stands_alone():
    alone = record(points=[point(2.0, frechet=without_interval(0.5, 1))])
    row = pick(table_rows({"joint": alone}, REFEREE), "joint", "with text")
    assert row["distance"] == "0.500"


def test_the_papers_numbers_are_told_from_ours(table):
    paper = table[-1]
    assert (paper["model"], paper["distance"], paper["mIoU"], paper["FSD"]) == ("GCDP", "FID 20.36", "0.658", "42.2")
    assert paper["protocol"] == "without text" and paper["n"] == "" and paper["mIoU_all"] == paper["F1"] == "–"


def test_scores_of_text_are_marked_where_the_referee_cannot_read_the_images():
    spoiled = [(0.1, 0.9), (0.73, 0.61), (0.8, 0.4)]  # the joint model lies at 0.75: J 0.55
    rows = table_rows(RECORDS, referee(point(shift=0.1, frechet=estimate(0.2)), spoiled=spoiled))
    joint, free = (pick(rows, "joint", protocol) for protocol in ("with text", "without text"))
    assert all(joint[name].endswith("] unreadable*") for name in ("recall_1px", "precision", "F1"))
    assert joint["attributes"] == "–"
    assert joint["distance"].startswith("0.750") and joint["mIoU"].startswith("0.500")  # neither asks for the text
    others = [*free.values(), *rows[0].values(), *pick(rows, "zebra", "with text").values()]
    assert not [text for text in others if "unreadable" in text]


def test_what_is_read_off_a_models_own_layouts_has_no_mark():
    scores = Scores({"j": estimate(0.5), "j_layouts": estimate(0.5)})
    assert measure_text(scores, "j", unreadable=True).endswith("unreadable")
    assert measure_text(scores, "j_layouts", unreadable=True) == measure_text(scores, "j_layouts", unreadable=False)


def test_spoiled_images_have_a_row_each():
    rows = spoiled_rows(referee(point(), spoiled=[(0.25, 0.75)]).spoiled)
    kept = {"frechet": "0.250", "frechet_all": "0.250", "j": "0.750", "attribute_j": "0.750"}
    assert rows == [{"images": "spoiled 0", "n": "8", **kept}] and spoiled_rows([]) == []


def test_markdown_has_a_line_for_each_row(table):
    lines = markdown(table).splitlines()
    assert len(lines) == 2 + len(table) and {line.count("|") for line in lines} == {len(TABLE_1_COLUMNS) + 1}
    first = "| held-out pairs, half against half | 120 |"
    assert markdown(table[:1], ("model", "n")) == f"| model | n |\n|---|---|\n{first}\n"


def test_csv_reads_back(table, tmp_path):
    path = tmp_path / "tables" / "table.csv"
    write_csv(table, path)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == table
    assert b"\r" not in path.read_bytes()


def classes(miou, **ious):
    """Scores of pairs whose layouts agree with the referee by `ious`; the sky is named most, then cars, then poles."""
    named = {"pole": 2, "sky": 30, "car": 11}
    per_class = {name: {"iou": ious.get(name), "n": named[name]} for name in named}
    measures = {"miou": estimate(miou, 0.25), "miou_all": miou and without_interval(miou / 2, 8)}
    return Scores({key: found for key, found in measures.items() if found}, per_class=per_class, guidance=2.0)


REAL = referee(classes(0.75, sky=0.9, car=0.6))


def test_a_row_for_each_class_the_most_named_first():
    records = {
        "latent": record(points=[classes(None)]),  # draws no layouts: no column
        "joint": record(points=[classes(0.5, sky=0.75, pole=0.25)]),
        "palette": external(text=False),
        "two_stage": record(points=[classes(0.625, sky=1.0)]),
    }
    rows = class_rows(records, REAL)
    columns = ["class", "named_by", "held-out pairs", "joint", "layout, then image"]
    assert [list(row) for row in rows] == [columns] * 5
    assert [list(row.values()) for row in rows] == [
        ["sky", "30", "0.900", "0.750", "1.000"],
        ["car", "11", "0.600", "–", "–"],
        ["pole", "2", "–", "0.250", "–"],
        ["mean", "", "0.750 [0.500, 1.000]", "0.500 [0.250, 0.750]", "0.625 [0.375, 0.875]"],
        ["mean, absent classes as 0", "", "0.375", "0.250", "0.312"],
    ]


def test_columns_tell_the_released_model_from_the_one_of_equal_budget():
    rows = class_rows({name: record(points=[classes(0.5)]) for name in ("joint", "joint_same_budget")}, REAL)
    assert list(rows[0])[3:] == ["joint (released)", "joint, budget of the rivals"]


def attributes(recall, following, smile, hat, n=(5, 3)):
    """Scores of images by attribute."""
    each = {"Wearing_Hat": estimate(hat, 0.25, n[1]), "Smiling": estimate(smile, 0.25, n[0])}
    own, chance = ({"attribute_recall": estimate(value, 0.125)} for value in (recall, following))
    return Scores(own, chance, per_attribute=each)


ROWS = {
    "gaussian": {500: attributes(0.25, 0.25, 0.5, None), 2000: attributes(0.375, 0.25, 0.5, 0.25, (7, 3))},
    "joint": {500: attributes(0.5, 0.25, 0.75, 0.5)},
}
FACES = referee(attributes(0.875, 0.375, 0.75, 0.5, (40, 10)))


@pytest.fixture
def rows():
    return attribute_rows(ROWS, FACES)


def test_a_row_for_each_attribute_the_most_frequent_first_and_two_for_all(rows):
    columns = ["attribute", "named_by", "held-out images", "joint, 500", "image-only, 500", "image-only, 2000"]
    assert [list(row) for row in rows] == [columns] * 4
    assert [list(row.values())[:2] for row in rows] == [
        ["Smiling", "5 7*"],  # trainings scored on different captions say so
        ["Wearing_Hat", "3*"],
        ["all", ""],
        ["all, other captions", ""],
    ]
    assert list(rows[0].values())[2:] == ["0.75 [0.50, 1.00]"] * 2 + ["0.50 [0.25, 0.75]"] * 2
    assert list(rows[1].values())[2:] == ["0.50 [0.25, 0.75]"] * 2 + ["–", "0.25 [0.00, 0.50]"]


def test_all_attributes_stand_beside_chance(rows):
    own, following = (list(row.values())[2:] for row in rows[2:])
    assert own[:3] == ["0.875 [0.750, 1.000]", "0.500 [0.375, 0.625]", "0.250 [0.125, 0.375]"]
    assert following == ["0.375 [0.250, 0.500]"] + ["0.250 [0.125, 0.375]"] * 3


def test_trainings_whose_images_cannot_be_read_say_so():
    far = {"joint": {500: Scores({"frechet": estimate(3.0)} | ROWS["joint"][500].measures, **{
        "chance": ROWS["joint"][500].chance, "per_attribute": ROWS["joint"][500].per_attribute})}}  # fmt: skip
    rows = attribute_rows(ROWS | far, referee(FACES.ceiling, spoiled=[(0.0, 0.9), (2.0, 0.7)]))
    assert all(row["joint, 500"].endswith("unreadable") for row in rows if row["joint, 500"] != "–")
    assert rows[0]["image-only, 500"] == "0.50 [0.25, 0.75]"


def test_such_tables_are_written_with_their_own_columns(rows, tmp_path):
    path, columns = tmp_path / "tables" / "attributes.csv", tuple(rows[0])
    write_csv(rows, path)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows
    lines = markdown(rows, columns).splitlines()
    assert lines[0] == "| " + " | ".join(columns) + " |" and len(lines) == 6


def test_groups_of_attributes_stand_above_their_chance_and_small_ones_are_marked():
    found = {"recall": estimate(0.75, n=50), "chance": estimate(0.5, n=50), "j": estimate(0.25, n=50)}
    groups = {"own class": {**found, "n": 50, "attributes": []}, "lips and brows": {**found, "chance": None, "n": 39}}
    first, second = group_rows({"joint": Scores({}, groups=groups), "old": Scores({})})
    assert (first["model"], first["group"], first["above"], first["n"]) == ("joint", "own class", "+0.250", "50")
    assert first["J"].startswith("0.250") and (second["above"], second["n"]) == ("–", "39*")
    assert marked("hat", 40) == "hat" and marked("hat", 39) == "hat*" and marked("all", None) == "all"


def test_labels_show_both_rates_j_and_the_effect_beside_real_pairs():
    hat, sky = ({"j": j, "tpr": 0.5, "fpr": 0.5 - j, "recall": 0.5, "n": n} for j, n in ((0.25, 12), (0.5, 80)))
    swapped = {"value": 0.75, "with": 0.75, "without": 0.0, "n": 40}
    rows = label_rows(
        Scores({}, labels={"hat": hat, "sky": sky}, effects={"sky": swapped}), Scores({}, labels={"sky": sky})
    )
    assert [list(row.values()) for row in rows] == [
        ["sky", "80", "0.50", "0.00", "0.50", "0.50", "0.75", "40"],
        ["hat", "12*", "0.50", "0.25", "0.25", "–", "–", "–"],
    ]


def test_plain_text_columns_are_aligned():
    rows = [{"model": "joint", "F1": "0.5"}, {"model": "image-only", "F1": "–"}]
    assert aligned(rows) == "model        F1\njoint       0.5\nimage-only    –"
