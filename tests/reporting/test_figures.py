"""One look for each model, and curves of several, from records made by hand."""

import pytest
from matplotlib import pyplot as plt
from worlds.hand_made import estimate, external, point, record

from gcdp.evaluation.statistics import without_interval
from gcdp.reporting.figures import STYLES, draw_estimates, label, order, style, tradeoff

RECORDS = {"zebra": external(), "latent": record(miou=None), "joint": record(), "palette": external(text=False)}


def test_ours_first_then_rivals_then_whatever_else():
    assert order(RECORDS) == ["joint", "latent", "palette", "zebra"]
    assert label("joint") == "joint" and label("semantic_palette") == "semantic palette"


def test_the_released_model_says_so_beside_its_like_of_equal_budget():
    both = {"joint": {}, "joint_same_budget": {}}
    assert label("joint", both) == "joint (released)" and label("joint", {"joint": {}, "latent": {}}) == "joint"
    assert label("joint_same_budget", both) == label("joint_same_budget") == "joint, budget of the rivals"


def test_every_model_has_its_own_look():
    many = {name: {} for name in (*STYLES, "a", "b", "c", "d")}
    looks = [tuple(style(name, many).values()) for name in many]
    assert len(set(looks)) == len(many)
    assert style("joint", many) == style("joint", {"joint": {}})  # whoever else is shown
    assert style("e", many | {"e": {}}) == style("a", many)  # four spare looks: a fifth starts over


@pytest.fixture
def panel():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def curves(panel):
    """Points of each line that joins the scales of a model."""
    return [list(zip(*line.get_data(), strict=True)) for line in panel.lines if line.get_marker() in ("None", "", None)]


def test_one_curve_and_one_name_for_each_model(panel):
    shown = {name: RECORDS[name].curve for name in ("joint", "latent", "zebra")}
    tradeoff(panel, shown, "semantic_recall", "frechet")
    lines = [curve for curve in curves(panel) if curve]
    expected = [[(0.2, 0.7), (0.25, 0.75)]] * 2 + [[(0.2, 0.7)]]
    assert len(lines) == 3
    for line, points in zip(lines, expected, strict=True):
        assert [pytest.approx(p) for p in points] == line
    assert panel.get_legend_handles_labels()[1] == ["joint", "latent", "zebra"]
    sizes = [c.lines[0].get_markersize() for c in panel.containers]
    assert sizes == [4, 7, 4, 7, 7]  # the chosen scale is drawn larger; a single set is its own choice


def test_curves_do_without_intervals_and_skip_points_that_lack_a_measure(panel):
    flat = point(1.0, frechet=without_interval(0.7, 1))
    blind = point(2.0, precision=estimate(None))
    tradeoff(panel, {"joint": record(points=[flat, blind, point(3.0)], guidance=3.0).curve}, "precision", "frechet")
    assert len(panel.containers) == 2
    (segments,) = [bar.get_segments() for bar in panel.containers[0].lines[2][1:]]
    assert segments[0][0] == pytest.approx(segments[0][1])  # an interval of no length


@pytest.mark.parametrize("across", [False, True])
def test_estimates_have_bars_where_they_have_intervals_and_gaps_where_they_are_absent(panel, across):
    found = [estimate(0.5, 0.25), None, estimate(None), without_interval(0.75, 1)]
    draw_estimates(panel, range(4), found, across, color="black", marker="s")
    points = list(zip(*panel.lines[-1].get_data(), strict=True))
    assert [point[::-1] if across else point for point in points] == [(0, 0.5), (3, 0.75)]
    ends = panel.containers[0].lines[2][0].get_segments()
    at = 0 if across else 1
    assert [[end[at] for end in bar] for bar in ends] == [[0.25, 0.75], [0.75, 0.75]]
    panel.clear()
    draw_estimates(panel, [0], [None])
    assert not panel.containers
