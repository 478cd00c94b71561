"""Batches and step outputs as trees of leaves, of any type, rebuilt without changing the original.

Tuples, lists, mappings, NamedTuples, dataclasses, slotted classes and plain objects with tensor attributes are nodes;
everything else is a leaf. A leaf's path joins its keys with dots: ``"0"``, ``"x.image"``; the path of a single tensor
is ``""``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch

from faultlab.core.asking import asked, has
from faultlab.injection import tensordicts
from faultlab.ranks.shards import is_sharded, local, spread

_MAX_DEPTH = 8
_OPAQUE_PACKAGES = ("numpy", "pandas", "polars", "torch", "builtins", "datetime", "pathlib", "PIL")

Path = str


def leaves(value: Any) -> list[tuple[Path, Any]]:
    """Return every leaf with its path, in order."""
    return list(_walk(value, "", _MAX_DEPTH, set()))


def nodes(value: Any) -> list[tuple[Path, Any]]:
    """Return every node and every leaf with its path, each node before its parts."""
    return list(_walk(value, "", _MAX_DEPTH, set(), within=True))


def tensors(value: Any) -> list[tuple[Path, torch.Tensor]]:
    """Return every tensor leaf with its path, in order."""
    return [(path, leaf) for path, leaf in leaves(value) if isinstance(leaf, torch.Tensor)]


def under(path: Path, prefixes: tuple[Path, ...]) -> bool:
    """Return True if the path is one of the prefixes or below one."""
    return any(prefix in ("", path) or path.startswith(prefix + ".") for prefix in prefixes)


def replace(value: Any, changed: Mapping[Path, Any]) -> Any:
    """Return the tree with some leaves replaced: nodes on their paths are copied, the rest is shared."""
    return _rebuild(value, "", changed) if changed else value


def map_tensors(value: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """Return the tree with every tensor leaf mapped."""
    return replace(value, {path: function(tensor) for path, tensor in tensors(value)})


def bare(value: Any) -> Any:
    """Return the tree with plain tensors in place of those whose class stores more than values, such as column names.

    What such a class stores does not survive most operations; `dressed` restores it in the result. Of a distributed
    tensor, it has the part that this process holds.
    """
    return replace(value, {path: _undress(leaf) for path, leaf in tensors(value) if _keeps_more(leaf)})


def dressed(value: Any, like: Any) -> Any:
    """Return the tree with the classes, and their extra data, of the tensors at the same paths of ``like``."""
    originals = {path: leaf for path, leaf in tensors(like) if _keeps_more(leaf)}
    if not originals:
        return value
    return replace(value, {path: _dress(leaf, originals[path]) for path, leaf in tensors(value) if path in originals})


def _keeps_more(tensor: torch.Tensor) -> bool:
    return type(tensor).__module__.partition(".")[0] != "torch" or is_sharded(tensor)


def _undress(tensor: torch.Tensor) -> torch.Tensor:
    return local(tensor) if is_sharded(tensor) else tensor.as_subclass(torch.Tensor)


def _dress(tensor: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    if is_sharded(original):
        return spread(tensor, original)  # type: ignore[no-any-return]
    if type(tensor) is not torch.Tensor:
        return tensor
    new = tensor.as_subclass(type(original))
    vars(new).update(vars(original))
    return new


def identical(one: Any, other: Any) -> bool:
    """Return True if two trees are equal bit for bit: structure, types, shapes, values and place in the graph."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    ones, others = leaves(one), leaves(other)
    return [path for path, _ in ones] == [path for path, _ in others] and all(
        _same(a, b) for (_, a), (_, b) in zip(ones, others)
    )


def same_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return True if two tensors, or this process's parts of them, hold the same values; NaN equals NaN."""
    # A comparison of distributed tensors would wait for the other ranks.
    one, other = local(one), local(other)
    if one.dtype != other.dtype or one.shape != other.shape or one.device != other.device:
        return False
    if one.layout is not torch.strided or other.layout is not torch.strided:
        return one is other
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        # Results with a graph are compared by the graph: equal values may still produce different gradients.
        if one.requires_grad != other.requires_grad or one.grad_fn is not other.grad_fn:
            return False
        if one.requires_grad and one.grad_fn is None:
            return False
        return same_values(one.detach(), other.detach())
    try:
        return bool(one == other)
    except Exception:  # an object whose == is not a truth value, such as an array: another object differs
        return False


def _children(value: Any) -> list[tuple[str, Any]] | None:
    """Return the named parts of a node, or None for a leaf."""
    if isinstance(value, (torch.Tensor, type)) or callable(asked(value, "named_parameters")):
        return None
    if (held := tensordicts.held(value)) is not None:
        return [(str(key), held[key]) for key in list(held.keys())]
    if isinstance(value, Mapping):
        return [(str(key), value[key]) for key in list(value.keys())]
    if isinstance(value, tuple) and has(value, "_fields"):
        return list(zip(asked(value, "_fields"), value))
    if isinstance(value, (list, tuple)):
        return [(str(index), item) for index, item in enumerate(value)]
    # A PyTorch Geometric graph is callable and still a batch; other callables hold no data.
    if type(value).__module__.partition(".")[0] in _OPAQUE_PACKAGES or (callable(value) and not has(value, "to")):
        return None
    names = _attribute_names(value)
    return [(name, asked(value, name)) for name in names if has(value, name)] if names else None


def _attribute_names(value: Any) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    names = list(asked(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in dict.fromkeys(names) if not name.startswith("__")]


def _walk(value: Any, path: Path, depth: int, seen: set[int], within: bool = False) -> Iterator[tuple[Path, Any]]:
    children = _children(value) if depth and id(value) not in seen else None
    if children is None or within:
        yield path, value
    seen = seen | {id(value)}
    for name, child in children or ():
        yield from _walk(child, f"{path}.{name}" if path else name, depth - 1, seen, within)


def _rebuild(value: Any, path: Path, changed: Mapping[Path, Any]) -> Any:
    if path in changed:
        return changed[path]
    prefix = f"{path}." if path else ""
    if not any(key.startswith(prefix) for key in changed):
        return value
    children = _children(value)
    if children is None:
        return value
    new = {name: _rebuild(child, prefix + name, changed) for name, child in children}
    if tensordicts.held(value) is not None:
        return tensordicts.rebuilt(value, {name: new[name] for name, child in children if new[name] is not child})
    if isinstance(value, MutableMapping):
        result = shell(value)
        for key in list(value.keys()):
            result[key] = new[str(key)]
        return result
    if isinstance(value, Mapping):
        return type(value)({key: new[str(key)] for key in value})  # type: ignore[call-arg]
    if isinstance(value, tuple) and has(value, "_fields"):
        return type(value)(*new.values())
    if isinstance(value, (list, tuple)):
        return type(value)(new.values())
    result = copy.copy(value)
    for name, child in children:
        if new[name] is not child:
            object.__setattr__(result, name, new[name])
    return result


def with_items(mapping: MutableMapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a mapping of the same type, with its methods and attributes, that holds only these items."""
    if tensordicts.held(mapping) is not None:
        return tensordicts.of_items(mapping, items)
    result = shell(mapping)
    result.clear()
    result.update(items)
    return result


def shell(value: Any) -> Any:
    """Return a copy that shares the parts but not their container: writing into it does not change the original."""
    result = copy.copy(value)
    for name, part in list(asked(result, "__dict__", {}).items()):
        # A hand-written mapping keeps its items in a dict of its own, which copy.copy shares.
        if isinstance(part, dict) and part is vars(value).get(name):
            object.__setattr__(result, name, copy.copy(part))
    return result


def get(value: Any, path: Path) -> Any:
    """Return the leaf at a path; raise KeyError if there is none."""
    return dict(leaves(value))[path]
