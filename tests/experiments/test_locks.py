"""Locks: one holder, and none that is dead."""

import multiprocessing
import os
import socket
import time

from gcdp.experiments.locks import awaited, claim, claimed, is_held


def test_a_lock_is_held_by_one(tmp_path):
    lock = tmp_path / "locks" / "task"
    with claimed(lock) as first, claimed(lock) as second:
        assert first and not second and is_held(lock)
        assert lock.read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    assert not is_held(lock) and not list(lock.parent.iterdir())


def test_a_lock_goes_when_its_block_fails(tmp_path):
    try:
        with claimed(tmp_path / "task"):
            raise KeyError
    except KeyError:
        assert not is_held(tmp_path / "task")


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=claim, args=(tmp_path / "task",))
    process.start()
    process.join()
    assert (tmp_path / "task").read_text().startswith(str(process.pid)) and not is_held(tmp_path / "task")
    assert claim(tmp_path / "task") and is_held(tmp_path / "task")
    assert [path.name for path in tmp_path.iterdir()] == ["task"]


def test_the_lock_of_another_host_is_held(tmp_path):
    (tmp_path / "task").write_text("1 elsewhere\n")
    assert is_held(tmp_path / "task") and not claim(tmp_path / "task")


def test_of_many_that_claim_one_wins(tmp_path):
    (tmp_path / "task").write_text(f"{2**22 + 1} {socket.gethostname()}\n")  # no such process
    context = multiprocessing.get_context("fork")
    wins, start, end = context.Queue(), context.Barrier(8), context.Barrier(8)

    def compete():
        start.wait()
        won = claim(tmp_path / "task")
        wins.put(won)
        end.wait()  # all are alive until all have tried

    processes = [context.Process(target=compete) for _ in range(8)]
    for process in processes:
        process.start()
    assert sum(wins.get(timeout=20) for _ in processes) == 1
    for process in processes:
        process.join()


def test_a_lock_is_waited_for(tmp_path, capsys):
    lock, context = tmp_path / "task", multiprocessing.get_context("fork")
    held, order = context.Event(), context.Queue()

    def hold():
        with claimed(lock):
            held.set()
            time.sleep(0.5)
            order.put("holder")

    process = context.Process(target=hold)
    process.start()
    assert held.wait(20)
    with awaited(lock):
        order.put("waiter")
        assert is_held(lock)
    process.join()
    assert [order.get(timeout=5), order.get(timeout=5)] == ["holder", "waiter"] and not is_held(lock)
    assert f"waiting for {lock}" in capsys.readouterr().out
