"""Figures of the referees' findings and of one model over guidance, from records made by hand."""

from worlds.hand_made import estimate, point, record, referee

from gcdp.evaluation.scores import Scores
from gcdp.reporting.scored import area_figure, class_figure, label_figure, readability_figure, sweep_figure

CLASSES = {
    "road": {"recall": 1.0, "precision": 0.9, "iou": 0.8, "n": 9},
    "bus": {"recall": 0.5, "precision": None, "iou": None, "n": 2},
}


def labels_of(panel):
    return panel.get_legend_handles_labels()[1]


def test_area_figure_has_a_curve_for_each_measure_and_a_line_at_the_calibrated_area():
    found = {name: {"micro": estimate(0.5)} for name in ("recall", "precision", "f1")}
    (panel,) = area_figure({1: found, 8: found}, 8).axes
    assert sorted(labels_of(panel)) == ["F1", "calibrated: 8 pixels", "precision", "recall"]


def test_classes_come_in_the_order_of_their_captions_and_absent_measures_are_left_out():
    (panel,) = class_figure(Scores({}, per_class=CLASSES)).axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["road (9)", "bus (2)"]
    unread = {name: {**each, "precision": None} for name, each in CLASSES.items()}
    (panel,) = class_figure(Scores({}, per_class=unread)).axes
    assert labels_of(panel) == ["recall", "IoU"]


def test_every_spoiling_has_a_mark_of_its_own():
    measured = referee(point(), spoiled=[(0.1 * i, 0.9 - 0.05 * i) for i in range(12)])
    (panel,) = readability_figure(measured.readability(), measured.ceiling).axes
    marks = {(line.get_marker(), line.get_color()) for line in panel.lines if line.get_marker() not in ("None", None)}
    assert len(marks) == len(labels_of(panel)) == 12
    assert readability_figure({}, point()).axes  # a referee that was not tried


def test_sweep_shows_text_clutter_and_distance():
    text, clutter, distance = sweep_figure(record().curve.points, point(shift=0.1), "title").axes
    assert "higher is better" in text.get_ylabel() and "lower is better" in distance.get_ylabel()
    assert labels_of(clutter) == ["recall", "precision", "F1"] and "from 3 pixels on" in clutter.get_ylabel()


def test_labels_stand_beside_those_of_held_out_pairs():
    chosen = Scores({}, labels={"bus": {"j": 0.2, "n": 3}, "car": {"j": 0.4, "n": 5}}, effects={"car": {"value": 0.3}})
    (panel,) = label_figure(chosen, Scores({}, labels={"car": {"j": 0.9}})).axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["car (5)", "bus (3)"]
