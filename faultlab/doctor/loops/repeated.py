"""In the victim: whether what a model returns for a batch depends on the batch before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Batch = tuple[tuple[Any, ...], Mapping[str, Any]]


def carries_state(module: nn.Module | None, batches: Sequence[Batch]) -> bool:
    """Return whether copies of a module return something else for a batch after another batch than after itself.

    The copies are in evaluation mode, and draw the same random numbers.
    """
    if module is None or len(batches) < 2:
        return False
    mine, other = batches
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        after_itself, after_another = _second(module, mine, mine), _second(module, other, mine)
    if not isinstance(after_itself, torch.Tensor) or not isinstance(after_another, torch.Tensor):
        return False
    if after_itself.shape != after_another.shape or not after_itself.is_floating_point():
        return False
    return not torch.allclose(after_itself, after_another, rtol=1e-3, atol=1e-5, equal_nan=True)


def _second(module: nn.Module, first: Batch, second: Batch) -> Any:
    # The wrapper itself can be copied only as long as its process group lives.
    own = module.module if isinstance(module, DistributedDataParallel) else module
    trial = copy.deepcopy(own).eval()
    trial(*first[0], **first[1])
    torch.manual_seed(0)
    return trial(*second[0], **second[1])
