"""In the victim: whether the output for a sample depends on the batch before it, or on other samples of its batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_TOKENS = 4
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


def mixes_samples(module: nn.Module | None, batches: Sequence[Batch]) -> bool:
    """Return whether a copy returns something else for samples beside which other samples are in the batch.

    The copy is in evaluation mode, and is called with one tensor, in whose first dimension are the samples.
    """
    if module is None or len(batches) < 2 or any(len(args) != 1 or kwargs for args, kwargs in batches):
        return False
    mine, other = batches[0][0][0], batches[1][0][0]
    if not isinstance(mine, torch.Tensor) or not isinstance(other, torch.Tensor) or mine.shape != other.shape:
        return False
    half = len(mine) // 2 if mine.dim() else 0
    if half < 2:
        return False
    mixed = torch.cat([mine[:half], other[half:]]), torch.cat([other[:half], mine[half:]])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        trial = _copied(module)
        results = []
        for batch in (mine, mine, *mixed):
            torch.manual_seed(0)
            results.append(trial(batch))
    if any(not isinstance(one, torch.Tensor) or len(one) != len(mine) for one in results):
        return False
    first, again, beside_others, after_others = results
    # Models that draw random numbers, or keep a state, differ in any case. A recurrent layer looks back only.
    alike = _alike(first[:half], beside_others[:half]) and _alike(first[half:], after_others[half:])
    return _alike(first, again) and not alike


def sees_ahead(module: nn.Module | None, batches: Sequence[Batch]) -> bool:
    """Return whether a copy returns something else for earlier tokens once the last token of each text is another one.

    The copy is in evaluation mode; its output has a row of scores for each token.
    """
    if module is None or not batches:
        return False
    args, kwargs = batches[0]
    ids = kwargs.get("input_ids") if "input_ids" in kwargs else next(iter(args), None)
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or ids.is_floating_point() or ids.shape[1] < _TOKENS:
        return False
    other = ids.clone()
    other[:, -1] = ids.max() + ids.min() - ids[:, -1]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        trial = _copied(module)
        results = []
        for given in (ids, ids, other):
            torch.manual_seed(0)
            if "input_ids" in kwargs:
                result = trial(*args, **{**kwargs, "input_ids": given})
            else:
                result = trial(given, *args[1:], **kwargs)
            results.append(getattr(result, "logits", result))
    shape = tuple(ids.shape)
    if any(not isinstance(one, torch.Tensor) or one.dim() != 3 or tuple(one.shape[:2]) != shape for one in results):
        return False
    first, again, changed = (one[:, :-1] for one in results)
    return _alike(first, again) and not _alike(first, changed)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-5, equal_nan=True)


def _copied(module: nn.Module) -> nn.Module:
    # The wrapper itself can be copied only as long as its process group lives.
    own = module.module if isinstance(module, DistributedDataParallel) else module
    return copy.deepcopy(own).eval()


def _second(module: nn.Module, first: Batch, second: Batch) -> Any:
    trial = _copied(module)
    trial(*first[0], **first[1])
    torch.manual_seed(0)
    return trial(*second[0], **second[1])
