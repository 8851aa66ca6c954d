"""Batches are a function of the step: resuming and spreading over processes repeat and skip nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcdp.data.batches import EpochBatches
from gcdp.errors import ConfigError


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 5), st.integers(0, 30))
def test_resuming_gives_the_batches_of_an_uninterrupted_run(length, batch_size, seed, start):
    whole = list(EpochBatches(length, batch_size, seed, num_steps=30))
    resumed = EpochBatches(length, batch_size, seed, num_steps=30, start_step=start)
    assert len(resumed) == 30 - start and list(resumed) == whole[start:]
    # Every epoch holds every pair once, also where it ends in the middle of a batch.
    entries = [entry for batch in whole for entry in batch]
    for first in range(0, len(entries) - length + 1, length):
        assert sorted(index for index, _ in entries[first : first + length]) == list(range(length))
    assert len(set(entries)) == len(entries)


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_ranks_share_the_global_batch(length, share, world, step):
    whole = EpochBatches(length, share * world, seed=3, num_steps=9).batch(step)
    ranks = [EpochBatches(length, share * world, seed=3, num_steps=9, rank=rank, world=world) for rank in range(world)]
    assert [entry for rank in ranks for entry in rank.batch(step)] == whole


def test_epochs_and_seeds_are_shuffled_differently():
    first, second = EpochBatches(50, 50, 0, num_steps=2)
    assert [index for index, _ in first] != [index for index, _ in second]
    assert first != EpochBatches(50, 50, 1, num_steps=2).batch(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"length": 0}, "empty"), ({"batch_size": 3, "world": 2}, "does not divide"), ({"rank": 2}, "rank"),
     ({"start_step": 9}, "start_step"), ({"batch_size": 0}, "batch_size")],
)  # fmt: skip
def test_impossible_batches_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        EpochBatches(**({"length": 5, "batch_size": 4, "seed": 0, "num_steps": 3, "world": 2} | changes))
