"""Clusters in colors of their classes, pictures in rows, and a view with and without somebody who steers it."""

import numpy as np
import pytest
from worlds.tiny import TABLE

from gcdp.data.classes import ClassTable
from gcdp.experiments.features_measures import Side
from gcdp.experiments.features_record import BASELINES, Row
from gcdp.reporting.feature_maps import paint, picture_rows, side_name, steered

COLORS = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (99, 99, 99))
CLASSES = ClassTable(TABLE.name, TABLE.names, COLORS, unlabeled=TABLE.unlabeled)


def test_every_side_has_a_name():
    assert side_name(Side("joint", Row("paired"))) == "joint"
    assert side_name(Side("joint", Row("blank"))) == "joint, layout left out (t_y = T)"
    assert side_name(Side("gaussian", Row("paired"))) == "image-only"
    assert side_name(Side(BASELINES, Row("position"))) == "place in the image alone"


def test_clusters_have_the_color_of_the_class_that_they_cover_most():
    layouts = np.array([[[1, 1, 1, 2], [1, 1, 1, 2]]])
    clusters = np.array([[[0, 0, 1, 2], [0, 0, 1, 2]]])
    found = paint(clusters, layouts, 4, CLASSES)
    assert found.shape == (1, 2, 4, 3) and found.dtype == np.uint8
    assert found[0, 0, 0].tolist() == [200, 0, 0] and found[0, 0, 3].tolist() == [0, 200, 0]
    lighter = found[0, 0, 2].tolist()  # the smaller cluster of class 1
    assert lighter == [round(200 + 55 * 0.25), round(255 * 0.25), round(255 * 0.25)]


def test_pictures_stand_in_rows_with_their_names():
    stack = np.zeros((3, 4, 8, 3), np.uint8)
    layouts = np.zeros((3, 4, 8), int)
    figure = picture_rows({"image": stack, "layout": CLASSES.colorize(layouts)}, CLASSES, layouts, "a title")
    assert len(figure.axes) == 6
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["a title", "image", "layout"]
    boxes = [axes.get_position() for axes in figure.axes]
    assert min(box.x0 for box in boxes) > 0.1 and max(box.x1 for box in boxes) <= 1 and min(box.y0 for box in boxes) > 0


def test_a_view_stands_still_where_nobody_steers():
    asked = []
    steered(lambda **values: asked.append(values), False, t=[800, 200], image=range(3))
    assert asked == [{"t": 800, "image": 0}]


def test_a_view_has_a_menu_for_each_choice(capsys):
    pytest.importorskip("ipywidgets")
    asked = []
    assert steered(lambda **values: asked.append(values), True, t=[800, 200], image=range(3)) is None
    assert "interactive(children=" in capsys.readouterr().out
    assert asked in ([], [{"t": 800, "image": 0}])  # drawn where a front end displays it
