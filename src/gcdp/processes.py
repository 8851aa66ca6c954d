"""Work on many things shared out over processes, where a machine has cores to spare."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

LEAST = 1000  # fewer things do not repay the start of processes


def spare_processes() -> int:
    """Half of the cores that this process may use: stages of a pipeline run side by side; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


def in_shares(work: Callable[[range], list[Any]], count: int) -> list[Any]:
    """`work(range(count))`, computed in shares: a list with one entry for each number, in their order.

    `work` must be picklable, and its entries must not depend on how the numbers are shared out. What it raises is
    raised here.
    """
    processes = spare_processes() if count >= LEAST else 1
    if processes < 2:
        return work(range(count))
    edges = [count * i // processes for i in range(processes + 1)]
    # Spawned, not forked: a notebook's kernel has threads.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        parts = pool.map(work, [range(a, b) for a, b in zip(edges, edges[1:], strict=False)])
        return [entry for part in parts for entry in part]
