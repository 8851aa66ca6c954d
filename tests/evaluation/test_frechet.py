"""Distances of feature sets with closed-form answers."""

import hashlib
import sys
import types

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from gcdp.errors import ConfigError, DataError
from gcdp.evaluation import frechet, inception
from gcdp.evaluation.frechet import (
    _redrawn,
    _shape,
    area_vectors,
    estimate,
    feature_distance,
    frechet_distance,
    fsd,
    kernel_distance,
    kernel_estimate,
)
from gcdp.evaluation.statistics import resampled_rows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)) @ RNG.normal(size=(6, 6))
ROAD, HALF = np.zeros((4, 4), np.uint8), np.repeat(np.uint8([[0], [1]]), 2, 0) * np.ones((1, 4), np.uint8)


def test_identical_gaussians_and_sets_are_at_distance_zero():
    cov = np.cov(X.T)
    assert frechet_distance(X.mean(0), cov, X.mean(0), cov) == pytest.approx(0, abs=1e-9)
    assert feature_distance(X, X[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_shift_costs_its_squared_length():
    shift = np.array([1.0, -2, 0, 0.5, 0, 3])
    assert feature_distance(X + shift, X) == pytest.approx(np.square(shift).sum())


def test_a_scale_costs_the_squared_difference_of_roots():
    # covariances C and 4 C: tr C (2 - 1)^2
    centered = X - X.mean(0)
    assert feature_distance(2 * centered, centered) == pytest.approx(np.trace(np.cov(X.T)))


def test_covariances_that_do_not_commute_agree_with_the_general_root():
    other = RNG.normal(size=(150, 6)) @ RNG.normal(size=(6, 6))
    c1, c2 = np.cov(X.T), np.cov(other.T)
    assert frechet_distance(X.mean(0), c1, other.mean(0), c2) == pytest.approx(feature_distance(X, other))
    expected = np.square(X.mean(0) - other.mean(0)).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert feature_distance(X, other) == pytest.approx(expected)
    assert feature_distance(other, X) == pytest.approx(expected)


def test_fewer_samples_than_features_stay_real_and_exact():
    # rank one against rank one: spreads 2 and 8 along orthogonal axes share nothing
    a, b = np.zeros((2, 50)), np.zeros((2, 50))
    a[:, 0], b[:, 1] = [1, -1], [2, -2]
    assert feature_distance(a, b) == pytest.approx(10)
    assert feature_distance(a, 2 * a) == pytest.approx(2 * (2 - 1) ** 2)


def test_an_interval_stands_around_its_value():
    found = estimate(X[:100] + 1, X[100:])
    assert found["value"] == feature_distance(X[:100] + 1, X[100:]) and found["n"] == 100
    assert found["low"] < found["value"] < found["high"]
    assert found == estimate(X[:100] + 1, X[100:]) != estimate(X[:100] + 1, X[100:], seed=1)


@pytest.mark.parametrize("width, n", [(4, 60), (12, 8)])
def test_resampled_distances_are_those_of_the_resampled_sets(width, n):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(n, width)), rng.normal(size=(30, width)) + 1
    rows = np.concatenate(list(resampled_rows(n, 5, seed=2)))
    assert list(_redrawn(a, *_shape(b), 5, seed=2)) == pytest.approx([feature_distance(a[r], b) for r in rows])


def test_the_interval_is_as_wide_as_repeated_experiments_say():
    # seed 3, 40 experiments of 200 samples in 8 dimensions against the same real ones
    rng = np.random.default_rng(3)
    real = rng.normal(size=(300, 8))
    found = [estimate(rng.normal(size=(200, 8)) * 1.2 + 0.2, real, resamples=60) for _ in range(40)]
    values = np.array([one["value"] for one in found])
    widths = np.array([one["high"] - one["low"] for one in found])
    assert 0.8 < widths.mean() / (2 * 1.96 * values.std()) < 1.4


def test_an_interval_ends_at_zero():
    assert estimate(X, X)["low"] == 0


def brute_kernel_distance(a, b):
    def kernel(u, v):
        return (u @ v / len(u) + 1) ** 3

    within = [np.mean([kernel(u, v) for i, u in enumerate(s) for j, v in enumerate(s) if i != j]) for s in (a, b)]
    return sum(within) - 2 * np.mean([kernel(u, v) for u in a for v in b])


def test_kernel_distance_is_its_definition(monkeypatch):
    monkeypatch.setattr("gcdp.evaluation.frechet.KERNEL_BLOCK", 5)
    assert kernel_distance(X[:12], X[20:29]) == pytest.approx(brute_kernel_distance(X[:12], X[20:29]))


def test_kernel_distance_is_unbiased():
    # seed 4, 300 pairs of tiny sets from one Gaussian: the mean is 0 within 3 standard errors
    rng = np.random.default_rng(4)
    values = [kernel_distance(rng.normal(size=(5, 3)), rng.normal(size=(4, 3))) for _ in range(300)]
    assert min(values) < 0 and abs(np.mean(values)) < 3 * np.std(values) / 300**0.5


def test_the_interval_of_the_kernel_distance_covers_other_samples():
    """200 sets of 60 from one Gaussian against a fixed set: 90 % of the intervals hold their mean."""
    rng = np.random.default_rng(5)
    real = rng.normal(size=(400, 4))
    found = [kernel_estimate(rng.normal(0.4, 1, size=(60, 4)), real) for _ in range(200)]
    mean = np.mean([each["value"] for each in found])
    assert 0.85 < np.mean([each["low"] <= mean <= each["high"] for each in found]) < 0.99
    assert found[0]["n"] == 60 and kernel_distance(X[:9], X[9:]) == kernel_estimate(X[:9], X[9:])["value"]


def test_areas_are_percentages_at_any_size():
    layouts = np.stack([ROAD, HALF])
    assert area_vectors(layouts, 3).tolist() == [[100, 0, 0], [50, 50, 0]]
    enlarged = layouts.repeat(3, 1).repeat(3, 2)
    assert area_vectors(enlarged, 3).tolist() == area_vectors(layouts, 3).tolist()


def test_segmentation_distance_is_in_squared_percentage_points():
    # all road against half and half, neither varies: 50^2 + 50^2
    found = fsd(np.stack([ROAD] * 3), np.stack([HALF] * 4), 3)
    assert found["value"] == pytest.approx(5000) and found["n"] == 3
    assert (found["low"], found["high"]) == pytest.approx((5000, 5000))
    assert fsd(np.stack([ROAD, HALF]), np.stack([HALF, ROAD]), 2)["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: feature_distance(X, X[:, :3]), r"shapes \(N, D\) and \(M, D\)"),
        (lambda: feature_distance(X[0], X[1]), r"shapes \(N, D\) and \(M, D\)"),
        (lambda: feature_distance(X[:1], X), "at least two samples"),
        (lambda: kernel_distance(X, X[:1]), "at least two samples"),
        (lambda: estimate(np.full((3, 6), np.nan), X), "not finite"),
        (lambda: fsd(ROAD[None], np.stack([ROAD] * 2), 2), "at least two samples"),
        (lambda: fsd(np.stack([HALF] * 2), np.stack([ROAD] * 2), 1), r"outside 0\.\.0"),
    ],
)
def test_defects_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_fid_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ConfigError, match=r"pip install \"gcdp\[fid\]\""):
        inception.load_inception()


class StubInception:
    """Stands in for the package's network: it reads the weights file that it is handed."""

    def __new__(cls, name, features_list, feature_extractor_weights_path):
        network = torch.nn.Linear(3, 2)
        network.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))
        network.forward = lambda x: (torch.nn.functional.linear(x.float().mean((2, 3)), network.weight, network.bias),)
        return network


@pytest.fixture
def package(monkeypatch):
    stub = types.SimpleNamespace(FeatureExtractorInceptionV3=StubInception)
    monkeypatch.setitem(sys.modules, "torch_fidelity", stub)


def test_fid_asks_for_missing_or_foreign_weights(package, tmp_path):
    with pytest.raises(ConfigError, match="download https"):
        inception.load_inception(tmp_path / "absent.pth")
    foreign = tmp_path / "foreign.pth"
    foreign.write_bytes(b"something else")
    with pytest.raises(ConfigError, match=r"foreign\.pth is not the file"):
        inception.load_inception(foreign)


def test_fid_is_the_frechet_distance_of_the_networks_features(package, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.eye(2, 3), "bias": torch.zeros(2)}, path)
    monkeypatch.setattr(inception, "CHECKSUM", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    found = inception.inception_fid(images[:4], images[4:], path, device="cpu", resamples=5)
    colors = images.mean((1, 2))[:, :2]  # the stub's features
    assert found["value"] == pytest.approx(feature_distance(colors[:4], colors[4:]), rel=1e-4) and found["n"] == 4


def test_a_difference_of_distances_is_paired():
    rng = np.random.default_rng(5)
    real, ours = rng.normal(size=(300, 4)), rng.normal(size=(120, 4))
    theirs = ours + 0.3
    found = frechet.difference(ours, theirs, real)
    ends = [frechet.feature_distance(each, real) for each in (ours, theirs)]
    assert found["value"] == pytest.approx(ends[0] - ends[1]) and found["n"] == 120
    assert found["low"] < found["value"] < found["high"] < 0
    alone = [frechet.estimate(each, real) for each in (ours, theirs)]
    apart = sum((each["high"] - each["low"]) ** 2 for each in alone) ** 0.5
    assert found["high"] - found["low"] < apart  # the same captions on both sides
    assert frechet.difference(ours, ours, real) == {"value": 0, "low": 0, "high": 0, "n": 120}
    with pytest.raises(DataError, match="equally many samples on both sides, got 120 and 119"):
        frechet.difference(ours, theirs[1:], real)
