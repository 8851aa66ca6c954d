"""Work shared out over processes: the same entries in the same order, however it is shared out."""

from functools import partial

import pytest

import gcdp.processes as processes
from gcdp.processes import in_shares


def squares(added, share):
    if added < 0:
        raise ValueError("a number that cannot be done")
    return [number**2 + added for number in share]


@pytest.mark.parametrize("cores", [1, 3])
def test_entries_come_in_order(monkeypatch, cores):
    monkeypatch.setattr(processes, "spare_processes", lambda: cores)
    monkeypatch.setattr(processes, "LEAST", 7)
    for count in (0, 6, 20):
        assert in_shares(partial(squares, 5), count) == [number**2 + 5 for number in range(count)]


def test_what_a_share_raises_is_raised(monkeypatch):
    monkeypatch.setattr(processes, "spare_processes", lambda: 2)
    monkeypatch.setattr(processes, "LEAST", 1)
    with pytest.raises(ValueError, match="cannot be done"):
        in_shares(partial(squares, -1), 6)


def test_half_of_the_cores_are_spare(monkeypatch):
    for cores, spare in ((1, 1), (2, 1), (16, 8)):
        monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert processes.spare_processes() == spare
