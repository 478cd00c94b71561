"""The arguments of a call, built again with other tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from faultlab.guards.support import trainer_state


class NotRebuiltError(TypeError):
    """A tensor is part of an object of a custom class, which can't be built again."""


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a value with each of its tensors changed, in containers of the same classes.

    Objects that hold no tensor, or none that ``change`` changes, are shared.

    Args:
        value: A tensor, a container or anything else.
        change: Returns a tensor in place of another, or the same one.

    Raises:
        NotRebuiltError: A tensor that changes is part of an object that is not a container, or of a container whose
            class can't be constructed from its parts.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        parts = {key: mapped(part, change) for key, part in value.items()}
        # A custom mapping, such as a tokenizer's, can usually be constructed from another one with the same keys.
        return parts if type(value) is dict else _made(type(value), parts)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _made(type(value), *(mapped(part, change) for part in value))
    if type(value) in (tuple, list):
        return type(value)(mapped(part, change) for part in value)
    if any(change(tensor) is not tensor for tensor in trainer_state.tensors(value)):
        raise NotRebuiltError(f"an input of the custom class {type(value).__name__} can't be built again")
    return value


def _made(kind: type, *parts: Any) -> Any:
    try:
        return kind(*parts)
    except Exception as error:
        raise NotRebuiltError(f"an input of the custom class {kind.__name__} can't be built again") from error
