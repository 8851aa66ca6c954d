"""J by hand: its rates, weights, and the values that ignore, echo or invert a caption."""

import numpy as np
import pytest

from gcdp.errors import DataError
from gcdp.evaluation.correspondence import correspondence, label_weights

RNG = np.random.default_rng(0)
NAMED = RNG.random((200, 4)) < [0.5, 0.2, 0.9, 0.0]
WEIGHTS = label_weights(NAMED)


def test_weights_are_variances_of_labels_that_are_neither_rare_nor_common():
    shares = NAMED[:, :2].mean(0)
    assert WEIGHTS == pytest.approx([*(shares * (1 - shares)), 0, 0])


def test_j_is_the_sum_of_covariances_over_the_sum_of_variances():
    seen = NAMED ^ (RNG.random(NAMED.shape) < 0.2)
    found = correspondence(NAMED, seen, WEIGHTS)
    pairs = [np.cov(NAMED[:, k], seen[:, k], bias=True) for k in (0, 1)]
    assert found["j"]["value"] == pytest.approx(sum(c[0, 1] for c in pairs) / sum(c[0, 0] for c in pairs))
    assert found["j"]["value"] == pytest.approx(found["tpr"]["value"] - found["fpr"]["value"])
    assert found["j"]["low"] < found["j"]["value"] < found["j"]["high"] and found["j"]["n"] == 200


def test_captions_echoed_score_one_and_images_that_ignore_them_zero():
    assert correspondence(NAMED, NAMED, WEIGHTS)["j"]["value"] == 1
    for everything in (True, False):
        assert correspondence(NAMED, np.full_like(NAMED, everything), WEIGHTS)["j"]["value"] == 0
    assert np.isnan(correspondence(NAMED, NAMED, WEIGHTS)["per_label"]["j"][3])  # never named


def test_without_a_label_that_counts_there_is_no_value():
    assert correspondence(NAMED[:, 2:], NAMED[:, 2:], WEIGHTS[2:])["j"]["value"] is None
    with pytest.raises(DataError, match="do not fit"):
        correspondence(NAMED, NAMED[:5], WEIGHTS)
