"""A function that several ranks call: copies of this process are the others, and none is left."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import torch
import torch.distributed as dist

from faultlab.core.patching import Patches
from faultlab.engines.processes import children_of
from faultlab.ranks import copies, joining, membership

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def summed(rank: int) -> float:
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    return total.item() + 100 * rank


def test_a_function_is_called_as_each_rank_and_the_first_rank_returns() -> None:
    assert copies.together(3, summed, joins=False) == 6.0
    assert membership.present() is None
    assert not dist.is_initialized()
    assert "RANK" not in os.environ


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rank_that_raises_is_told_and_no_process_is_left(when: str) -> None:
    def call(rank: int) -> None:
        if when == "before" and rank:
            raise ValueError("no data for rank 1")
        dist.all_reduce(torch.ones(1))
        if rank:
            raise ValueError("no data for rank 1")

    before = children_of(os.getpid())
    with pytest.raises(RuntimeError, match="rank 1 raised ValueError: no data"):
        copies.together(2, call, joins=False)
    until = time.monotonic() + 120
    while children_of(os.getpid()) != before and time.monotonic() < until:
        time.sleep(0.01)
    assert children_of(os.getpid()) == before


def joined(rank: int, found: list[Any]) -> None:
    dist.init_process_group("gloo", "tcp://localhost:29999", rank=rank, world_size=2)
    found.append(summed(rank))
    dist.destroy_process_group()


def test_processes_that_spawn_would_start_are_copies() -> None:
    found: list[Any] = []
    with Patches() as patches:
        joining.take_spawn(
            patches, lambda function, args, size: copies.together(size, lambda rank: function(rank, *args), joins=True)
        )
        torch.multiprocessing.spawn(joined, args=(found,), nprocs=2)
    assert found == [3.0]
