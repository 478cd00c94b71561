"""Weights that a user's code loads with ``strict=False``, which says nothing of names that don't match."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_MOST = 20
found: list[dict[str, Any]] = []
"""What this process has loaded: ``module``, ``given``, ``matched``, ``first``, ``own``, ``prefix``, ``place`` each."""


def noting(load: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Module.load_state_dict``: how many of the given names a module has."""

    def loading(module: Any, state_dict: Any, strict: bool = True, *args: Any, **kwargs: Any) -> Any:
        outcome = load(module, state_dict, strict, *args, **kwargs)
        if not strict and len(found) < _MOST:
            with contextlib.suppress(Exception):  # whatever a user's own mapping does when it is asked
                frame = sys._getframe(1)
                given, unknown = list(state_dict), set(outcome.unexpected_keys)
                found.append(
                    {
                        "module": type(module).__name__,
                        "given": len(given),
                        "matched": sum(name not in unknown for name in given),
                        "first": str(given[0]) if given else "",
                        "own": next(iter(outcome.missing_keys), ""),
                        "prefix": _prefix(given, set(outcome.missing_keys)),
                        "place": f"{frame.f_code.co_filename}:{frame.f_lineno}",
                    }
                )
        return outcome

    return loading


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Note what is loaded meanwhile."""
    import torch

    before = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = noting(before)  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.load_state_dict = before  # type: ignore[method-assign]


def _prefix(given: list[str], wanted: set[str]) -> str:
    """What stands before the names that are given and not before those that are wanted; empty where it isn't that."""
    for name in given:
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in wanted:
                return name.removesuffix(rest)
    return ""
