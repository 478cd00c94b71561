"""The functions that autograd has recorded for a value."""

from __future__ import annotations

from typing import Any

SAME_VALUES: tuple[str, ...] = (
    "Squeeze",
    "Unsqueeze",
    "View",
    "Reshape",
    "UnsafeView",
    "Permute",
    "Transpose",
    "TBackward",
    "Clone",
)
"""The beginnings of the names of functions that only arrange or copy values."""
SAME_VALUES += ("Alias", "ToCopy", "Select", "Slice", "Index", "Contiguous")


def arranged(node: Any) -> Any:
    """Return the function whose values another one only arranges, None if there is none."""
    while node is not None and type(node).__name__.startswith(SAME_VALUES):
        node = node.next_functions[0][0] if node.next_functions else None
    return node


def origin(value: Any) -> str:
    """Return the name of the function that computed a value, apart from its arrangement; empty if it is unknown."""
    node = arranged(getattr(value, "grad_fn", None))
    return "" if node is None else type(node).__name__.partition("Backward")[0]
