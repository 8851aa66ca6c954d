"""Pairs drawn by all processes of a launch: each draws some of the captions, and every process gets all pairs.

A pair depends on its caption and seed alone, so it is the same to the bit whoever draws it on machines of one kind.
Without a launch there is one process, which draws all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch.distributed as dist

from gcdp.generators.pipeline import seeds_of_call
from gcdp.generators.samples import Samples, joined

T = TypeVar("T")


def place_in_launch() -> tuple[int, int]:
    """Number of this process and of all; (0, 1) without a launch, or before `accelerate.PartialState()` joined it."""
    joined_it = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if joined_it else (0, 1)


def of_the_first(make: Callable[[], T]) -> T:
    """What `make` returns on the first process, on every process; the others wait for it."""
    rank, count = place_in_launch()
    answer = [make() if rank == 0 else None]
    if count > 1:
        dist.broadcast_object_list(answer, src=0)
    return answer[0]


def drawn_by_all(
    sample: Callable[[list[str], list[int], list[int]], Samples], captions: Sequence[str], seed: int | Sequence[int]
) -> Samples:
    """All pairs of some captions, of which each process draws an equal share of neighbors.

    Args:
        sample: called as sample(captions, seeds, rows) with a process's own captions, their seeds and their numbers.
        seed: one number, or one a caption; as `Pipeline.sample` takes it.
    """
    rank, count = place_in_launch()
    seeds, edges = seeds_of_call(seed, len(captions)), [len(captions) * i // count for i in range(count + 1)]
    rows = list(range(edges[rank], edges[rank + 1]))
    own = sample([captions[i] for i in rows], [seeds[i] for i in rows], rows) if rows else None
    parts: list[Samples | None] = [None] * count
    dist.all_gather_object(parts, own)
    return joined([part for part in parts if part is not None])
