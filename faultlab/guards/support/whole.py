"""The whole of a module whose parameters the ranks share, as a copy that each of them can run alone.

A rank can't copy such a module by itself: it holds a part of each parameter, and `fully_shard` refuses copies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from faultlab.guards.support.exchange import collective
from faultlab.guards.support.parameter_samples import is_shared
from faultlab.guards.support.twins import copied

LARGEST = 256 * 2**20
"""The largest module that is put together on every rank, in bytes: ranks may share it for lack of memory."""
_SHARING = "torch.distributed."


def size_of(module: Any) -> int:
    """Return the bytes of all parameters and buffers of a module, whichever ranks hold them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def copy_of(module: Any, memo: dict[int, Any]) -> Any:
    """Return a copy without shared parameters, whose calls enter no collectives. All ranks have to call it together.

    Args:
        module: The module, between a step and the next forward pass.
        memo: By identity, the objects that are replaced instead of copied.
    """
    parts = list(module.modules())
    with collective(), torch.no_grad():
        # All of them first: a rank that fails later leaves no other waiting.
        for tensor in (*module.parameters(), *module.buffers()):
            if is_shared(tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _like(tensor, tensor.full_tensor().clone())
    for part in parts:
        for name, value in vars(part).items():
            if name.endswith("_hooks"):
                memo.update({id(hook): _nothing for hook in value.values() if _shares(hook)})
            elif _shares(value):
                memo[id(value)] = {} if isinstance(value, dict) else value
    with _of_original_classes(parts):
        return copied(module, memo)


def _like(tensor: Any, whole: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(whole, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else whole


def _shares(value: Any) -> bool:
    """Return whether something in a module is of the code that shares it: a mesh, a hook, or a table of its states."""
    if isinstance(value, dict):
        return any(_shares(part) for entry in value.items() for part in entry)
    if isinstance(value, (torch.Tensor, nn.Module)):
        return False
    # Torch wraps some hooks.
    known = getattr(value, "hook", value)
    return str(getattr(known, "__module__", "")).startswith(_SHARING)


@contextlib.contextmanager
def _of_original_classes(parts: list[Any]) -> Iterator[None]:
    """Give modules the classes that they had before `fully_shard`, whose own refuse copies."""
    before = [(part, type(part)) for part in parts if hasattr(type(part), "_orig_cls_mro_index")]
    try:
        for part, cls in before:
            part.__class__ = cls.__mro__[cls._orig_cls_mro_index]
        yield
    finally:
        for part, cls in before:
            part.__class__ = cls


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing, in place of a hook."""
