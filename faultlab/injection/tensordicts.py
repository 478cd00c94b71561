"""TensorDicts and tensorclasses, recognized by their form: the package need not be installed.

They require that all their tensors begin with the same dimensions and are on one device, store lists as tensors, and
may be locked. Broken parts have to get in nevertheless, as if the container had been built from them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from faultlab.core.asking import asked, has


def held(value: Any) -> Any:
    """Return the value if it is a TensorDict, or the one inside a tensorclass; None for anything else."""
    if _is_tensordict(value):
        return value
    inner = asked(value, "__dict__", {}).get("_tensordict")
    return inner if _is_tensordict(inner) and hasattr(type(value), "from_tensordict") else None


def rebuilt(value: Any, changed: Mapping[str, Any]) -> Any:
    """Return the container with some parts changed, by name, with the batch dimensions and device that all share."""
    inner = held(value)
    # `get` returns what is not a tensor as the TensorDict stores it.
    items = {key: changed[str(key)] if str(key) in changed else inner.get(key) for key in list(inner.keys())}
    return of_items(value, items)


def of_items(value: Any, items: Mapping[Any, Any]) -> Any:
    """Return a container like this one that holds these items."""
    inner = held(value)
    devices = {item.device for item in items.values() if has(item, "device")}
    made = sys.modules["tensordict"].TensorDict(
        dict(items),
        batch_size=_shared(inner.batch_size, items.values()),
        # If it has a device, everything put into it is moved there.
        device=inner.device if devices == {inner.device} else None,
    )
    if inner.is_locked:
        made.lock_()
    if inner is value:
        return made
    return type(value).from_tensordict(made, getattr(value, "_non_tensordict", None))


def _is_tensordict(value: Any) -> bool:
    return any(cls.__name__ == "TensorDictBase" for cls in type(value).__mro__)


def _shared(size: Iterable[int], items: Iterable[Any]) -> list[int]:
    """Return how many of the leading dimensions the items still share."""
    shapes = [shape for item in items if (shape := _shape(item)) is not None]
    most = min([len(list(size)), *map(len, shapes)])
    first = shapes[0] if shapes else tuple(size)
    agreed = [all(shape[: n + 1] == first[: n + 1] for shape in shapes) for n in range(most)]
    return list(first[: sum(agreed)])


def _shape(item: Any) -> tuple[int, ...] | None:
    """Return the dimensions of a tensor or of another container; None for values without, such as a string."""
    if isinstance(item, list):
        return (len(item),)
    shape = asked(item, "batch_size", asked(item, "shape"))
    return None if shape is None else tuple(shape)
