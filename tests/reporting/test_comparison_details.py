"""Tables of classes and of attributes, from records made by hand."""

import csv

import pytest

from gcdp.data.attributes import AttributeTable
from gcdp.data.classes import CELEBA
from gcdp.reporting.comparison import OWN_CLASS, attribute_rows, by_own_class, class_rows, markdown, write_csv
from gcdp.toy.faces.person import COLUMNS


def estimate(value, n=8, spread=0.25):
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - spread, "high": value + spread, "n": n}


def classes(miou, **ious):
    """Scores of pairs whose layouts agree with the referee by `ious`; the sky is named most, then cars, then poles."""
    named = {"pole": 2, "sky": 30, "car": 11}
    per_class = {name: {"iou": ious.get(name), "n": named[name]} for name in named}
    return {"miou": estimate(miou), "per_class": per_class}


REAL = {"ceiling": classes(0.75, sky=0.9, car=0.6)}


def test_a_row_for_each_class_the_most_named_first():
    records = {
        "latent": {"chosen": classes(None)},  # draws no layouts: no column
        "joint": {"chosen": classes(0.5, sky=0.75, pole=0.25)},
        "palette": {"chosen": None},
        "two_stage": {"chosen": classes(0.625, sky=1.0)},
    }
    rows = class_rows(records, REAL)
    columns = ["class", "named_by", "real pairs", "joint", "layout, then image"]
    assert [list(row) for row in rows] == [columns] * 4
    assert [list(row.values()) for row in rows] == [
        ["sky", "30", "0.900", "0.750", "1.000"],
        ["car", "11", "0.600", "–", "–"],
        ["pole", "2", "–", "0.250", "–"],
        ["mean", "", "0.750 [0.500, 1.000]", "0.500 [0.250, 0.750]", "0.625 [0.375, 0.875]"],
    ]


def test_columns_tell_the_released_model_from_the_one_of_equal_budget():
    rows = class_rows({name: {"chosen": classes(0.5)} for name in ("joint", "joint_same_budget")}, REAL)
    assert list(rows[0])[3:] == ["joint (released)", "joint, budget of the rivals"]


def attributes(recall, following, smile, hat, n=(5, 3)):
    """Scores of images by attribute."""
    each = {"Wearing_Hat": estimate(hat, n[1]), "Smiling": estimate(smile, n[0])}
    chance = {"attribute_recall": estimate(following, spread=0.125)}
    return {"attribute_recall": estimate(recall, spread=0.125), "per_attribute": each, "chance": chance}


ROWS = {
    "gaussian": {"500": attributes(0.25, 0.25, 0.5, None), "2000": attributes(0.375, 0.25, 0.5, 0.25, (7, 3))},
    "joint": {"500": attributes(0.5, 0.25, 0.75, 0.5)},
}
KNOWN = {"ceiling": attributes(0.875, 0.375, 0.75, 0.5, (40, 10))}


@pytest.fixture
def rows():
    return attribute_rows(ROWS, KNOWN)


def test_a_row_for_each_attribute_the_most_frequent_first_and_two_for_all(rows):
    columns = ["attribute", "named_by", "real images", "joint, 500", "image-only, 500", "image-only, 2000"]
    assert [list(row) for row in rows] == [columns] * 4
    assert [list(row.values())[:2] for row in rows] == [
        ["Smiling", "5 7"],  # trainings judged on different captions say so
        ["Wearing_Hat", "3"],
        ["all", ""],
        ["all, next caption", ""],
    ]
    assert list(rows[0].values())[2:] == ["0.75 [0.50, 1.00]"] * 2 + ["0.50 [0.25, 0.75]"] * 2
    assert list(rows[1].values())[2:] == ["0.50 [0.25, 0.75]"] * 2 + ["–", "0.25 [0.00, 0.50]"]


def test_all_attributes_stand_beside_chance(rows):
    own, following = (list(row.values())[2:] for row in rows[2:])
    assert own[:3] == ["0.875 [0.750, 1.000]", "0.500 [0.375, 0.625]", "0.250 [0.125, 0.375]"]
    assert following == ["0.375 [0.250, 0.500]"] + ["0.250 [0.125, 0.375]"] * 3


def test_such_tables_are_written_with_their_own_columns(rows, tmp_path):
    path, columns = tmp_path / "tables" / "attributes.csv", tuple(rows[0])
    write_csv(rows, path, columns)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows
    lines = markdown(rows, columns).splitlines()
    assert lines[0] == "| " + " | ".join(columns) + " |" and len(lines) == 6


def test_attributes_with_a_class_of_their_own_are_pooled_apart():
    found = {"Wearing_Hat": (0.5, 4), "Eyeglasses": (1.0, 2), "Smiling": (0.25, 8), "Bangs": (None, 0)}
    point = {"per_attribute": {name: {"value": value, "n": n} for name, (value, n) in found.items()}}
    groups = by_own_class(point)
    assert (groups["own class"]["value"], groups["own class"]["n"]) == (4 / 6, 6)
    assert (groups["no class"]["value"], groups["no class"]["n"]) == (2 / 8, 8)
    assert set(OWN_CLASS.values()) <= set(CELEBA.names) and set(OWN_CLASS) <= set(AttributeTable.of(COLUMNS).names)
