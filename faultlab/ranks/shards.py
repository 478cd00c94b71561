"""Modules that are sharded over the ranks of a training: by FSDP2, by tensor parallelism, or as distributed tensors.

Parameters are distributed tensors then, and each process holds a part of each of them. What is not sharded passes
unchanged.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_TENSORS = "torch.distributed.tensor"
_FSDP2 = "torch.distributed.fsdp"
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks", "_state_dict_pre_hooks",
          "_state_dict_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")  # fmt: skip


def is_sharded(tensor: Any) -> bool:
    """Return True for a tensor that is distributed over ranks, even if each of them holds all of it."""
    # No process that has such tensors can have got them without the import.
    known = sys.modules.get(_TENSORS)
    return known is not None and isinstance(tensor, known.DTensor)


def kind(module: Any) -> str:
    """Return how a module is sharded: ``fully`` by FSDP2, in its ``tensors`` by tensor parallelism alone, or empty."""
    if fully_sharded(module):
        return "fully"
    return "tensors" if any(map(is_sharded, _tensors(module))) else ""


def local(tensor: Any) -> Any:
    """Return the part of a tensor that this process holds, which shares its memory."""
    return tensor._local_tensor if is_sharded(tensor) else tensor


def spread(part: torch.Tensor, like: Any) -> Any:
    """Return a distributed tensor like another one, with that part on this process, and other parts as they are."""
    held = like._local_tensor
    if part is held:
        return like
    if is_sharded(part) or part.shape != held.shape:
        return part
    known = sys.modules[_TENSORS].DTensor
    return known.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


@contextlib.contextmanager
def at_hand(module: Any) -> Iterator[None]:
    """Let a module show this process's parts of its parameters, and of their gradients, as plain parameters.

    They share the memory of what is distributed. What code inside does to them is done to it: values, gradients that
    are replaced or removed, and whether they are trained. Other ranks need not take part.
    """
    reshard(module)
    plain: dict[int, tuple[Any, nn.Parameter, Any]] = {}
    places = []
    for part in module.modules():
        for name, tensor in part._parameters.items():
            if is_sharded(tensor):
                if id(tensor) not in plain:
                    plain[id(tensor)] = (tensor, *_plain(tensor))
                places.append((part, name, tensor, plain[id(tensor)][1]))
    for part, name, _, own in places:
        part._parameters[name] = own
    try:
        yield
    finally:
        for part, name, tensor, own in places:
            # One that is no longer there was replaced on purpose.
            if part._parameters.get(name) is own:
                part._parameters[name] = tensor
        for tensor, own, gradient in plain.values():
            _take_over(tensor, own, gradient)


_views: dict[int, tuple[Any, nn.Parameter]] = {}


def _plain(tensor: Any) -> tuple[nn.Parameter, Any]:
    """Return this process's part of a parameter, always the same object, and the gradient that it has got."""
    held = tensor._local_tensor
    known, own = _views.get(id(tensor), (None, None))
    if known is not tensor or own is None or own.data_ptr() != held.data_ptr() or own.shape != held.shape:
        own = nn.Parameter(held.detach(), tensor.requires_grad)
        _views[id(tensor)] = (tensor, own)
    own.requires_grad_(tensor.requires_grad)
    gradient = local(tensor.grad)
    own.grad = gradient
    return own, gradient


def _take_over(tensor: Any, own: nn.Parameter, gradient: Any) -> None:
    held = tensor._local_tensor
    if own.data_ptr() != held.data_ptr() and own.shape == held.shape:
        held.copy_(own.detach())
    if tensor.requires_grad != own.requires_grad:
        tensor.requires_grad_(own.requires_grad)
    if own.grad is None:
        tensor.grad = None
    elif own.grad is not gradient:
        tensor.grad = spread(own.grad, tensor)
    own.grad = None


def reshard(module: Any) -> None:
    """Let a module show its shards: after an evaluation, it shows copies of the outermost parameters, gathered."""
    for part in fully_sharded(module):
        part.reshard()


def unite(module: Any) -> None:
    """Let this process hold the whole module, as one that was never sharded. All ranks have to call it."""
    reshard(module)
    whole: dict[int, Any] = {}
    for part in list(module.modules()):
        for held in (part._parameters, part._buffers):
            for name, tensor in list(held.items()):
                if is_sharded(tensor):
                    if id(tensor) not in whole:
                        whole[id(tensor)] = _whole(tensor)
                    held[name] = whole[id(tensor)]
    for part in fully_sharded(module):
        part.__class__ = type(part).__bases__[1]
    for part in module.modules():
        for name in _HOOKS:
            hooks = getattr(part, name, {})
            for key in [key for key, hook in hooks.items() if _of_torch(hook)]:
                del hooks[key]


def _whole(tensor: Any) -> Any:
    full = tensor.detach().full_tensor().clone()
    return nn.Parameter(full, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else full


def _tensors(module: Any) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def fully_sharded(module: Any) -> list[Any]:
    """Return the parts that FSDP2 has sharded."""
    known = getattr(sys.modules.get(_FSDP2), "FSDPModule", None)
    return [] if known is None else [part for part in module.modules() if isinstance(part, known)]


def settings(parts: list[Any]) -> list[tuple[Any, ...]]:
    """Return how the parts that FSDP2 has sharded reduce their gradients."""
    states = [part._get_fsdp_state() for part in parts]
    groups = [group for state in states for group in getattr(state, "_fsdp_param_groups", [state._fsdp_param_group])]
    return [tuple(repr(vars(group).get(name)) for name in _SETTINGS) for group in groups]


_SETTINGS = ("reduce_grads", "all_reduce_grads", "gradient_divide_factor", "reduce_scatter_divide_factor")


def _of_torch(hook: Any) -> bool:
    """Return True for a hook that torch itself set, to gather, spread or convert tensors."""
    while (inner := getattr(hook, "hook", None) or getattr(hook, "func", None)) is not None:
        hook = inner
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.")
