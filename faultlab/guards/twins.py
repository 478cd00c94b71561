"""A copy of a module to be tried out: what `copy.deepcopy` makes of it, in a fraction of its time.

Nearly all that a module consists of are hooks that nobody has set, numbers and strings. Those are taken over as they
are, its parts are copied one by one, and only what is left goes through `copy.deepcopy`.
"""

from __future__ import annotations

import copy
import copyreg
import types
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type, torch.dtype, torch.device, torch.Size,
                    types.FunctionType, types.BuiltinFunctionType})  # fmt: skip
_STOCK = frozenset(vars(nn.Module()))
_COPIES = ("__deepcopy__", "__reduce_ex__", "__reduce__")


def copied(value: Any, memo: dict[int, Any]) -> Any:
    """The copy; ``memo`` says of what there is to be none, and what stands in its place, by identity."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if (known := memo.get(id(value))) is not None:
        return known
    if kind is dict or kind is set or (kind is OrderedDict and not vars(value)):
        made = memo[id(value)] = kind()
        if kind is set:
            made.update(copied(part, memo) for part in value)
        else:
            _fill(made, value, memo)
        return made
    if kind in (nn.Parameter, Tensor) and _is_its_own(value):
        made = memo[id(value)] = _tensor(value)
        made.grad = copied(value.grad, memo)
        return made
    if isinstance(value, nn.Module) and not any(hasattr(kind, own) and _owns(kind, own) for own in _COPIES):
        return _module(value, memo)
    return copy.deepcopy(value, memo)


def _fill(made: dict[Any, Any], value: dict[Any, Any], memo: dict[int, Any]) -> None:
    for key, part in value.items():
        kind = type(part)
        if kind in _ATOMS and type(key) is str:
            made[key] = part
        elif kind is OrderedDict and not part and key in _STOCK:
            made[key] = OrderedDict()
        else:
            made[copied(key, memo)] = copied(part, memo)


def _tensor(tensor: Tensor) -> Tensor:
    values = tensor.detach().clone()
    if type(tensor) is nn.Parameter:
        return nn.Parameter(values, tensor.requires_grad)
    return values.requires_grad_(tensor.requires_grad)


def _module(module: nn.Module, memo: dict[int, Any]) -> Any:
    """As pickling would do it, by the state that the module gives of itself."""
    construct, arguments, state, *rest = module.__reduce_ex__(4)
    kind = type(module)
    if construct is not copyreg.__newobj__ or arguments != (kind,) or type(state) is not dict or any(rest):  # type: ignore[attr-defined]
        return copy.deepcopy(module, memo)
    made = memo[id(module)] = kind.__new__(kind)
    own: dict[str, Any] = {}
    _fill(own, state, memo)
    made.__setstate__(own)
    return made


def _owns(kind: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(nn.Module, name, None)


def _is_its_own(tensor: Tensor) -> bool:
    """Whether a tensor is a leaf of ordinary memory, all of which it has to itself, and carries nothing else."""
    return (
        tensor.is_leaf
        and tensor.layout is torch.strided
        and tensor.device.type in ("cpu", "cuda")
        and not (tensor.is_quantized or tensor.is_inference() or tensor.is_nested)
        and not vars(tensor)
        and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.itemsize
    )
