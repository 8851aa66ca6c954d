"""Figures of several models: trade-offs, small classes, attributes, differences, from records made by hand."""

import numpy as np
import pytest
from worlds.hand_made import estimate, point, record

from gcdp.data.classes import CITYSCAPES
from gcdp.evaluation.attribute_groups import GROUPS
from gcdp.evaluation.layouts import named_shares
from gcdp.evaluation.scores import Scores
from gcdp.reporting.attributes import attribute_figure, chance_figure, group_figure
from gcdp.reporting.data_figures import length_figure, norm_figure, similarity_figure, table_figure, tail_figure
from gcdp.reporting.studies import gain_figure
from gcdp.reporting.tradeoffs import class_figure, distance_figure, precision_figure, subset_figure

CURVES = {"joint": record().curve, "gaussian": record(miou=None).curve, "pixel_classifier": record().curve}
CEILING = point(shift=0.1)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_equal_points_of_two_models_can_both_be_seen():
    figure = distance_figure(CURVES, CEILING, ("semantic_recall", "f1"), "title")
    sizes = {bar.lines[0].get_color(): bar.lines[0].get_markersize() for bar in figure.axes[0].containers}
    assert len(set(sizes.values())) == 2
    assert legend(figure) == ["joint", "image-only", "image-only + pixel classifier", "held-out pairs"]
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["(a)", "(b)"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"1", "2"}  # scales at the ends of curves
    assert "held-out pairs" in legend(precision_figure(CURVES, CEILING))


def test_models_trained_once_say_so():
    curves = {name: record(points=[point(2.0, alignment=estimate(50.0))]).curve for name in ("joint", "latent")}
    figure = subset_figure({100: curves}, point(alignment=estimate(60.0)), "title", once=["latent"])
    assert legend(figure) == ["joint", "latent (1 training)", "held-out pairs"]


def test_small_classes_and_shares_of_pixels():
    shares = named_shares(np.repeat(np.arange(20), np.arange(20))[None, None], CITYSCAPES)
    assert [*shares][:2] == ["bicycle", "motorcycle"] and "unlabeled" not in shares
    found = Scores({}, per_class={"bus": {"recall": 0.5, "n": 2}}, areas=dict.fromkeys(shares, 0.0))
    recalls = {model: {"bus": estimate(0.5, n=2)} for model in ("joint", "gaussian")}
    figure = class_figure(recalls, ["bus", "train"], {"joint": found, "latent": found}, found, shares)
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["bus (2*)"]  # no caption names a train
    assert right.get_yscale() == "log"
    assert legend(figure) == ["joint", "image-only", "held-out pairs", "latent"]


@pytest.fixture
def rows():
    """Joint and image-only model on two numbers of pairs, two attributes."""
    group = {"recall": estimate(0.8), "chance": estimate(0.2), "n": 50}
    scores = Scores(
        {"attribute_recall": estimate(0.8)},
        {"attribute_recall": estimate(0.2)},
        per_attribute={"Smiling": estimate(0.7, n=50), "Wearing_Hat": estimate(0.9, n=3)},
        groups=dict.fromkeys(GROUPS, group),
    )
    return {model: {10: scores, 20: scores} for model in ("joint", "gaussian")}


def test_attributes_have_a_row_each_and_numbers_of_pairs_a_panel(rows):
    ceiling = rows["joint"][20]
    figure = attribute_figure(rows, [10, 20], ceiling, "title")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["smiling (50)", "wearing hat (3*)"]
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["(a) 10 pairs, 50%", "(b) 20 pairs, 100%"]
    assert legend(chance_figure(rows, [10, 20], ceiling, "title"))[-1] == "held-out images, caption of another"
    assert len(group_figure(rows, [10, 20], ceiling, GROUPS, "title").axes) == len(GROUPS)


def test_differences_say_on_which_side_ours_is_better():
    gains = {size: {"j": estimate(0.1), "frechet": estimate(-0.1)} for size in (10, 20)}
    up, down = gain_figure(gains, ["j", "frechet"], "title").axes
    assert "above 0: joint is better" in up.get_ylabel() and "below 0" in down.get_ylabel()


def test_figures_of_a_dataset():
    (panel,) = table_figure(CITYSCAPES).axes
    assert len(panel.patches) == CITYSCAPES.num_classes
    share = np.linspace(0.1, 0.9, CITYSCAPES.num_classes)
    assert tail_figure(share, share, np.arange(5), CITYSCAPES).axes[1].get_yscale() == "log"
    assert len(length_figure(np.array([1, 2]), np.array([1, 9]), 8).axes) == 2
    assert len(norm_figure(np.ma.masked_array(np.ones((2, 3)), np.eye(2, 3) > 0)).axes) == 2  # with its colors
    assert len(similarity_figure(np.eye(2), ["a", "b"]).axes) == 2
