"""Tables and figures of one half given the other, and the advice on paths."""

import matplotlib.pyplot as plt
import pytest

from gcdp.diffusion.paths import led
from gcdp.reporting.directions import (
    arm_difference_rows,
    arm_rows,
    column,
    difference_rows,
    draw_by_calls,
    draw_paths,
    method_rows,
    path_advice,
)


def estimate(value, width=0.1, n=9):
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def row(label, calls, **measures):
    return {"label": label, "network_calls": calls, "measures": {key: estimate(each) for key, each in measures.items()}}


ROWS = {
    "repaint": row("RePaint", 125, miou=0.5, frechet=0.4),
    "direct": row("any direction", 25, miou=0.6, frechet=0.3),
    "real": row("real images", 0, miou=0.8),
}


def test_a_row_has_the_calls_of_a_method_and_what_it_was_measured_by():
    first, second, real = method_rows(ROWS, ("miou", "kid", "frechet"))
    assert list(first) == ["", "calls", column("miou"), column("frechet")]  # kid was measured of none
    assert (first["calls"], real["calls"], real[column("frechet")]) == ("125", "–", "–")
    assert second[column("miou")] == "0.600 [0.500, 0.700]"
    assert column("accuracy") == "pixel accuracy"


def test_differences_name_both_methods_and_their_calls():
    (found,) = difference_rows(ROWS, {"direct - repaint": estimate(0.1, 0.05)})
    assert found == {
        "mIoU of": "any direction", "less": "RePaint", "calls": "25 / 125", "difference": "+0.100 [+0.050, +0.150]"
    }  # fmt: skip


def test_methods_stand_over_their_calls_and_held_out_images_are_a_line():
    _, panel = plt.subplots()
    draw_by_calls(panel, ROWS, "miou")
    labels = panel.get_legend_handles_labels()[1]
    assert sorted(labels) == ["RePaint", "any direction", "held-out images"] and panel.get_xscale() == "log"
    _, panel = plt.subplots()
    draw_by_calls(panel, ROWS, "frechet")
    assert sorted(panel.get_legend_handles_labels()[1]) == ["RePaint", "any direction"]
    plt.close("all")


def test_paths_are_drawn_with_one_dot_a_call():
    _, panel = plt.subplots()
    draw_paths(panel, {"lead 0": led(100, 5, 0.0), "lead 1": led(100, 5, 1.0)}, ("C0", "C1"))
    assert [len(line.get_xdata()) for line in panel.lines] == [6, 6]
    assert panel.get_xlabel() == "$t_x$ of the image"
    plt.close("all")


def paths(**leads):
    """(rows, differences) of paths: (effect, distance, difference of the effect) by lead."""
    rows = {lead: row(lead, 25, effect=effect, frechet=distance) for lead, (effect, distance, _) in leads.items()}
    return rows, {lead: estimate(gap) for lead, (*_, gap) in leads.items() if lead != "0"}


@pytest.mark.parametrize(
    ("leads", "lead", "why"),
    [
        ({"0": (0.5, 1.0, 0), "0.5": (0.7, 1.0, 0.2), "1": (0.65, 0.5, 0.15)}, "0.5", "exceeds that of the diagonal"),
        ({"0": (0.5, 1.0, 0), "0.5": (0.5, 0.7, 0.05), "1": (0.3, 0.5, -0.2)}, "0.5", "its distance is"),
        ({"0": (0.5, 1.0, 0), "0.5": (0.5, 0.9, 0.05), "1": (0.3, 0.5, -0.2)}, "0", "Take the diagonal"),
    ],
)
def test_a_path_is_taken_for_its_effect_then_for_its_distance_else_the_diagonal(leads, lead, why):
    found, sentence = path_advice(*paths(**leads))
    assert found == lead and why in sentence


def test_trainings_with_few_layouts_stand_side_by_side():
    measures = {"layout_miou": estimate(0.5), "pair_j": estimate(0.4)}
    compared = {"arms": dict.fromkeys(("few", "alone", "all"), measures)}
    compared["differences"] = {f"few - {arm}": {"layout_miou": estimate(0.2)} for arm in ("alone", "all")}
    rows, differences = arm_rows(compared), arm_difference_rows(compared)
    assert rows[0]["layouts of a part"] == "0.500 [0.400, 0.600]" and rows[2]["all layouts"] == "–"
    assert differences[0]["less that part alone"] == "+0.200 [+0.100, +0.300]"
    assert list(differences[0]) == ["difference", "less that part alone", "less all layouts"]
