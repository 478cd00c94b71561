"""Accelerate's record of the ranks of a training, for an evaluation that one of them makes alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from accelerate.state import AcceleratorState, DistributedType, PartialState


@contextmanager
def alone() -> Iterator[None]:
    """Let Accelerate and the Trainer compute in this process alone, once its process group is gone."""
    states = [PartialState._shared_state, AcceleratorState._shared_state]
    before = [dict(state) for state in states]
    if not dist.is_initialized():
        for state in filter(None, states):
            state.update(distributed_type=DistributedType.NO, num_processes=1, process_index=0, local_process_index=0)
    try:
        yield
    finally:
        for state, values in zip(states, before):
            state.update(values)
