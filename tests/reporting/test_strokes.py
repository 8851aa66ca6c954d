"""Curves, tables and verdicts of strokes, from a record made by hand."""

from matplotlib.figure import Figure

from gcdp.reporting.strokes import curve, difference_rows, draw_curves, stroke_rows, verdicts


def estimate(value, width=0.1):
    return {"value": value, "low": value - width, "high": value + width, "n": 64}


def row(role, method, strength, naming="none", certainty=1.0, steps=12):
    guide = {"method": method, "strength": strength, "steps": steps, "naming": naming, "certainty": certainty}
    measures = {key: estimate(strength) for key in ("faithfulness", "realism", "distance", "hit_rate")}
    label = {"sdedit": "SDEdit", "gradop_plus": "GradOP+", "gradop_network": "through"}[method]
    return {"role": role, "label": label, "guide": guide, "network_calls": 25, "measures": measures}


ROWS = {
    str(number): each
    for number, each in enumerate(
        [
            row("joint", "sdedit", 0.8), row("joint", "sdedit", 0.3), row("joint", "gradop_plus", 0.5, steps=30),
            row("joint", "gradop_plus", 0.5), row("joint", "gradop_plus", 0.5, "layout"),
            row("joint", "gradop_plus", 0.5, "layout", 0.9), row("image_only", "sdedit", 0.4),
            row("joint", "gradop_network", 0.5, steps=3),
        ]
    )
} | {"real": {"role": "", "label": "the scenes themselves", "measures": {"faithfulness": estimate(0.02)}}}  # fmt: skip


def test_a_curve_is_one_method_of_one_model_over_its_strength():
    assert [each["guide"]["strength"] for each in curve(ROWS, "joint", "sdedit", 12)] == [0.3, 0.8]
    assert [each["guide"]["steps"] for each in curve(ROWS, "joint", "gradop_plus", 12)] == [12]
    assert len(curve(ROWS, "joint", "gradop_plus", 12, "layout")) == 1  # certain names alone
    assert len(curve(ROWS, "joint", "gradop_network", None)) == 1


def test_curves_are_drawn_with_their_strengths_and_names():
    panel = Figure().subplots()
    draw_curves(panel, ROWS, "joint", 12, "realism", "faithfulness")
    assert panel.get_legend_handles_labels()[1] == ["SDEdit", "GradOP+", "through", "GradOP+, named"]
    assert [text.get_text() for text in panel.texts] == ["0.3", "0.8", "0.5"]
    assert panel.get_title(loc="left") == "joint"
    assert "lower is better" in panel.get_xlabel() and "lower is better" in panel.get_ylabel()


def test_every_setting_has_a_row_and_what_does_not_apply_a_dash():
    rows = stroke_rows(ROWS)
    assert len(rows) == len(ROWS) and len({tuple(each) for each in rows}) == 1
    assert rows[4]["names"] == "layout" and rows[5]["names"] == "layout, 0.9" and rows[0]["steps"] == ""
    assert rows[-1] == {
        "model": "", "method": "the scenes themselves", "names": "", "strength": "", "steps": "", "calls": "–",
        "faithfulness": "0.0200 [-0.0800, 0.1200]", "realism": "–", "distance to scenes": "–", "hit rate": "–",
    }  # fmt: skip


def test_verdicts_follow_the_intervals():
    none = {"value": None, "low": None, "high": None, "n": 0}
    compared = {
        "joint: gradop_plus - sdedit, faithfulness": none,
        "joint: gradop_plus - sdedit, realism": estimate(-0.2),
    }
    compared["joint: gradop_plus - sdedit, realism by distance to held-out images"] = estimate(-0.3)
    differences = {
        "joint: gradop_plus - sdedit, realism": estimate(0.2),
        "image_only: gradop_plus - sdedit, faithfulness": estimate(0.2),
        "image_only: gradop_plus - sdedit, realism": {**estimate(0.2), "low": None, "high": None},
        "joint: gradop_plus, named - unnamed, hit rate": estimate(0.4),
        "joint: sdedit, named - unnamed, hit rate": estimate(0.05),
    }
    found = verdicts(differences, compared)
    assert [each["verdict"] for each in found if "images" not in each["claim"]] == [
        "not comparable: the curves do not meet", "holds", "opposite", "no interval", "holds", "not decided"
    ]  # fmt: skip
    assert [each["verdict"] for each in found if "images" in each["claim"]] == ["holds"]
    assert difference_rows(differences)[3] == {
        "": "joint: GradOP+, named - unnamed", "difference": "+0.400 [+0.300, +0.500]"
    }  # fmt: skip
