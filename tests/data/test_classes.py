"""Class tables: the Cityscapes numbers, defaults of tables read from JSON, mirror twins, refusals."""

import json

import numpy as np
import pytest

from gcdp.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_ID, STREET_TEMPLATE, ClassTable, plural
from gcdp.errors import DataError


def table_dict(names=("background", "left eye", "right eye"), **changes):
    rows = [{"id": index, "name": name, "color": [index, 0, 255]} for index, name in enumerate(names)]
    return {"name": "small", "classes": rows, "unlabeled": None} | changes


def test_cityscapes_has_19_classes_and_unlabeled():
    assert CITYSCAPES.num_classes == 20 and CITYSCAPES.unlabeled == 19
    assert CITYSCAPES.labeled == tuple(range(19))
    assert CITYSCAPES.phrases[11] == "People" and CITYSCAPES.phrases[10] == "Skies"
    assert CITYSCAPES.colors[13] == (0, 0, 142)


def test_label_ids_map_to_train_ids():
    assert len(CITYSCAPES_TRAIN_ID) == 34
    known = {7: 0, 8: 1, 11: 2, 17: 5, 19: 6, 23: 10, 24: 11, 25: 12, 26: 13, 28: 15, 31: 16, 33: 18}
    assert {label: CITYSCAPES_TRAIN_ID[label] for label in known} == known
    void = [label for label, train in enumerate(CITYSCAPES_TRAIN_ID) if train == 19]
    assert void == [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30]
    assert sorted(set(CITYSCAPES_TRAIN_ID)) == list(range(20))


def test_colorize_any_leading_shape_and_refuses_foreign_indices():
    layout = np.array([[[0, 19], [13, 0]]])
    colors = CITYSCAPES.colorize(layout)
    assert colors.shape == (1, 2, 2, 3) and colors.dtype == np.uint8
    assert tuple(colors[0, 1, 0]) == (0, 0, 142)
    for wrong in (-1, 20):
        with pytest.raises(DataError, match=r"outside 0\.\.19"):
            CITYSCAPES.colorize(np.array([[wrong]]))


def test_twins_are_found_by_name_and_swapped():
    table = ClassTable.from_dict(table_dict())
    assert table.twins == ((1, 2),)
    layout = np.array([[0, 1], [2, 2]], dtype=np.uint8)
    assert table.swap_twins(layout).tolist() == [[0, 2], [1, 1]]
    assert table.swap_twins(layout).dtype == np.uint8
    assert (table.swap_twins(table.swap_twins(layout)) == layout).all()
    assert ClassTable.from_dict(table_dict(twins=[])).twins == ()


def test_street_like_tables_speak_in_plurals_others_by_name():
    streets = ClassTable.from_dict(table_dict(("sky", "person", "bicyclist", "unlabeled"), unlabeled=3))
    assert streets.phrases[:3] == ("Skies", "People", "Bicyclists")
    assert streets.template == STREET_TEMPLATE
    faces = ClassTable.from_dict(table_dict())
    assert faces.phrases == faces.names and faces.template == "An image with {classes}."


def test_phrases_and_template_of_the_file_win():
    data = table_dict(("sky", "road"), caption_template="Seen: {classes}.")
    data["classes"][0]["phrase"] = "blue sky"
    table = ClassTable.from_dict(data)
    assert table.phrases == ("blue sky", "Roads") and table.template == "Seen: {classes}."


@pytest.mark.parametrize(
    ("name", "expected"), [("bus", "Buses"), ("bench", "Benches"), ("lorry", "Lorries"), ("tray", "Trays")]
)
def test_plural(name, expected):
    assert plural(name) == expected


def test_json_round_trip(tmp_path):
    path = tmp_path / "classes.json"
    for table in (CITYSCAPES, ClassTable.from_dict(table_dict())):
        path.write_text(json.dumps(table.to_dict()))
        assert ClassTable.from_json(path) == table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "1 to 256"),
        ({"unlabeled": 3}, "unlabeled index"),
        ({"unlabeled": "none"}, "malformed"),
        ({"twins": [[1, 7]]}, "twins"),
        ({"twins": [[1, 2], [2, 0]]}, "twins"),
        ({"caption_template": "no place"}, "caption template"),
        ({"classes": [{"id": 1, "name": "a", "color": [0, 0, 0]}]}, "ids 0..0"),
        ({"classes": [{"id": 0, "name": "a", "color": [0, 0, 256]}]}, "0..255"),
        ({"classes": [{"id": 0, "name": "", "color": [0, 0, 0]}]}, "empty"),
        ({"classes": [{"id": 0, "color": [0, 0, 0]}]}, "malformed"),
        ({"classes": [{"id": i, "name": "a", "color": [0, 0, 0]} for i in (0, 1)]}, "twice"),
    ],
)
def test_contradictory_tables_are_refused_by_file_name(tmp_path, changes, message):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(table_dict() | changes))
    with pytest.raises(DataError, match=message) as error:
        ClassTable.from_json(path)
    assert str(path) in str(error.value)


def test_missing_or_broken_json(tmp_path):
    with pytest.raises(DataError, match=r"classes\.json does not exist"):
        ClassTable.from_json(tmp_path / "classes.json")
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(DataError, match="not readable JSON"):
        ClassTable.from_json(tmp_path / "classes.json")


def test_real_tables(real_data):
    camvid = ClassTable.from_json(real_data / "camvid" / "classes.json")
    assert camvid.template == STREET_TEMPLATE and camvid.unlabeled == 11
    faces = ClassTable.from_json(real_data / "faces" / "classes.json")
    assert [faces.names[left] for left, _ in faces.twins] == ["left eye", "left brow", "left ear"]
