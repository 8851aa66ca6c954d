"""Clusters against classes: perfect, permuted, merged, split and random ones, and intervals against a bootstrap."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score
from worlds.tiny import TABLE

from gcdp.errors import DataError
from gcdp.evaluation.agreement import AGREEMENT, agreement, largest_classes, matched_classes, overlap_tables
from gcdp.evaluation.mixed_effects import grand_mean
from gcdp.evaluation.statistics import bootstrap

LABELED = TABLE.num_classes - 1


def layouts(number=6, seed=0):
    """Labels (N, 8, 8) of the four labeled classes of the tiny table, in blocks of 4 x 4."""
    blocks = np.random.default_rng(seed).integers(LABELED, size=(number, 2, 2))
    return blocks.repeat(4, 1).repeat(4, 2)


def means(clusters, truth, count):
    found = agreement(overlap_tables(clusters, truth, count, TABLE))
    assert list(found) == list(AGREEMENT) and all(values.shape == (len(truth),) for values in found.values())
    return {name: float(values.mean()) for name, values in found.items()}


def test_perfect_clusters_score_one_under_any_names():
    truth = layouts()
    for names in (np.arange(LABELED), np.array([2, 0, 3, 1])):
        assert means(names[truth], truth, LABELED) == pytest.approx(dict.fromkeys(AGREEMENT, 1.0))


def test_random_clusters_have_no_mutual_information_and_the_purity_of_the_largest_class():
    truth, clusters = layouts(40), np.random.default_rng(1).integers(5, size=(40, 8, 8))
    found = means(clusters, truth, 5)
    assert abs(found["ami"]) < 0.005
    assert found["purity"] == pytest.approx(max(np.bincount(truth.ravel())) / truth.size, abs=0.02)
    assert found["miou"] < 0.2 and found["miou_matched"] < 0.2


def test_split_clusters_are_pure_and_merged_ones_are_not():
    truth = np.zeros((1, 2, 4), int)
    truth[..., 2:] = 1
    split = np.array([[[0, 1, 2, 2], [0, 1, 2, 2]]])  # class 0 in halves
    found = means(split, truth, 3)
    assert (found["purity"], found["miou"]) == (1.0, 1.0)
    assert found["miou_matched"] == pytest.approx((2 / 4 + 1) / 2)  # one half of class 0 is nobody's
    merged = means(np.zeros_like(truth), truth, 1)
    assert (merged["ami"], merged["purity"]) == (0.0, 0.5)
    assert merged["miou"] == merged["miou_matched"] == pytest.approx((4 / 8 + 0) / 2)


def test_names_of_clusters_by_the_largest_class_and_one_to_one():
    table = np.array([[5, 4], [3, 0], [1, 1]])
    assert largest_classes(table).tolist() == [0, 0, 0]
    assert matched_classes(table).tolist() == [1, 0, -1]  # 4 + 3 pixels against 5 + 0 or 5 + 1


def test_mutual_information_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    for count in (2, 7):
        truth = layouts(9, seed=count)
        clusters = np.where(rng.random(truth.shape) < 0.3, rng.integers(count, size=truth.shape), truth % count)
        expected = adjusted_mutual_info_score(truth.ravel(), clusters.ravel())
        assert means(clusters, truth, count + 2)["ami"] == pytest.approx(expected)  # two clusters stay empty


def test_unlabeled_pixels_do_not_count():
    truth = layouts()
    clusters, spoiled = truth.copy(), truth.copy()
    spoiled[:, :2], clusters[:, :2] = TABLE.unlabeled, 3
    assert means(clusters, spoiled, LABELED) == pytest.approx(dict.fromkeys(AGREEMENT, 1.0))


def test_intervals_are_those_of_a_bootstrap_over_images():
    rng, truth = np.random.default_rng(3), layouts(60)
    noise = rng.random(60)[:, None, None]  # images differ in how well they are clustered
    clusters = np.where(rng.random(truth.shape) < noise, rng.integers(6, size=truth.shape), truth)
    tables = overlap_tables(clusters, truth, 6, TABLE)
    for name, values in agreement(tables).items():
        drawn = bootstrap(lambda rows, name=name: agreement(tables[rows])[name].mean(), len(truth), resamples=400)
        ours = grand_mean(values[None])
        assert ours["value"] == pytest.approx(drawn["value"])
        assert ours["high"] - ours["low"] == pytest.approx(drawn["high"] - drawn["low"], rel=0.15), name


def test_one_image_more_often_changes_measures_by_its_value():
    """The values are derivatives: mean plus what an image adds, held against the measure with its weight raised."""
    truth, step = layouts(12, seed=4), 1e-4
    clusters = np.where(np.random.default_rng(4).random(truth.shape) < 0.4, 0, truth)
    tables = overlap_tables(clusters, truth, LABELED, TABLE).astype(float)
    before = agreement(tables)
    weights = np.ones(12)
    weights[5] += step
    after = agreement(tables * weights[:, None, None])
    for name in ("purity", "miou", "miou_matched"):
        slope = (after[name].mean() - before[name].mean()) / step * 12
        assert slope == pytest.approx(before[name][5] - before[name].mean(), abs=1e-3), name


@pytest.mark.parametrize(
    ("clusters", "truth", "message"),
    [
        (np.zeros((2, 4, 4), int), np.zeros((2, 4, 5), int), "must be equal in shape"),
        (np.full((1, 4, 4), 3), np.zeros((1, 4, 4), int), r"clusters hold a label outside 0..2"),
        (np.zeros((1, 4, 4), int), np.full((1, 4, 4), 9), r"layouts hold a label outside 0..4"),
    ],
)
def test_what_does_not_fit_is_refused(clusters, truth, message):
    with pytest.raises(DataError, match=message):
        overlap_tables(clusters, truth, 3, TABLE)


def test_layouts_without_a_labeled_pixel_are_refused():
    nothing = np.full((1, 4, 4), TABLE.unlabeled)
    with pytest.raises(DataError, match="no pixel has a labeled class"):
        agreement(overlap_tables(np.zeros_like(nothing), nothing, 2, TABLE))
