"""Weights that a user's code loads with ``strict=False``, which does not report names that don't match."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_MOST = 20
begun: set[str] = set()
"""The places, file and line, of all loads that have begun in this process."""
completed: set[str] = set()
"""Those of them that have completed once."""
found: list[dict[str, Any]] = []
"""The loads in this process: ``module``, ``given``, ``matched``, ``first``, ``own``, ``prefix``, ``place``."""


def noting(load: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``Module.load_state_dict`` to record how many of the given names a module has."""

    def loading(module: Any, state_dict: Any, strict: bool = True, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        begun.add(place)
        outcome = load(module, state_dict, strict, *args, **kwargs)
        completed.add(place)
        if not strict and len(found) < _MOST:
            with contextlib.suppress(Exception):  # a user's own mapping may do anything
                given, unknown = list(state_dict), set(outcome.unexpected_keys)
                found.append(
                    {
                        "module": type(module).__name__,
                        "given": len(given),
                        "matched": sum(name not in unknown for name in given),
                        "first": str(given[0]) if given else "",
                        "own": next(iter(outcome.missing_keys), ""),
                        "prefix": _prefix(given, set(outcome.missing_keys)),
                        "place": place,
                    }
                )
        return outcome

    return loading


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Record what is loaded inside the context."""
    import torch

    before = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = noting(before)  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.load_state_dict = before  # type: ignore[method-assign]


def _prefix(given: list[str], wanted: set[str]) -> str:
    """Return the prefix that the given names have and the wanted ones don't; empty if that is not the difference."""
    for name in given:
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in wanted:
                return name.removesuffix(rest)
    return ""
