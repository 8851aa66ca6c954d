"""What a noised layout tells: limits, all cases counted, votes drawn. Seed 0."""

from itertools import product

import numpy as np
import pytest

from gcdp.evaluation.votes import information, own_share, readability


def test_a_clean_label_tells_all_and_a_noised_one_nothing():
    assert own_share([1.0, 0.0], 20).tolist() == [1, 0.05]
    assert information([1.0, 0.0], 20).tolist() == [pytest.approx(np.log(20)), pytest.approx(0, abs=1e-12)]
    levels = information(np.linspace(0, 1, 11), 5)
    assert (np.diff(levels) > 0).all()


def test_information_is_that_of_the_joint_table():
    K, ab = 4, 0.3
    table = (ab * np.eye(K) + (1 - ab) / K) / K
    expected = (table * np.log(table / (1 / K**2))).sum()
    assert float(information(ab, K)) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "K", "ab"), [(1, 3, 0.2), (2, 3, 0.4), (4, 3, 0.1), (5, 4, 0.25)])
def test_readability_counts_every_case(n, K, ab):
    own = own_share(ab, K)
    chances = np.array([own, *[(1 - own) / (K - 1)] * (K - 1)])
    expected = 0.0
    for votes in product(range(K), repeat=n):
        counts = np.bincount(votes, minlength=K)
        if counts[0] > counts[1:].max():
            expected += chances[list(votes)].prod()
    assert float(readability(n, K, np.array(ab))) == pytest.approx(expected)


def test_large_regions_are_read_as_drawn_votes_say():
    n, K, ab, draws = 64, 20, 0.1, 20000
    own = own_share(ab, K)
    counts = np.random.default_rng(0).multinomial(n, [own, *[(1 - own) / (K - 1)] * (K - 1)], size=draws)
    share = (counts[:, 0] > counts[:, 1:].max(1)).mean()
    assert float(readability(n, K, np.array(ab))) == pytest.approx(share, abs=0.012)  # three standard errors
