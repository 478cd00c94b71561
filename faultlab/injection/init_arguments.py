"""``save_hyperparameters()`` in mutated classes.

Lightning finds the arguments of a module by walking up the stack from the call while frames are called ``__init__``. In
a mutated class they have mutmut's names, with trampoline frames between them.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from faultlab.core import packages

_MUTATED_INIT = re.compile(r"xǁ.+ǁ__init____mutmut_(orig|\d+)")
_RESTORED = "_faultlab_restored"


def restore() -> None:
    """Make Lightning find the arguments in mutated classes, in each imported Lightning package."""
    for package in packages.NAMESPACES:
        parsing = sys.modules.get(f"{package}.utilities.parsing")
        if parsing is not None and not hasattr(parsing, _RESTORED):
            setattr(parsing, _RESTORED, True)
            _restore(parsing)


def _restore(parsing: ModuleType) -> None:
    def reading(get: Callable[..., Any]) -> Callable[..., Any]:
        def get_init_args(frame: FrameType) -> Any:
            if not _MUTATED_INIT.fullmatch(frame.f_code.co_name) or "__class__" not in frame.f_locals:
                return get(frame)
            return _arguments(frame, parsing.parse_class_init_keys)

        return get_init_args

    def collecting(collect: Callable[..., Any]) -> Callable[..., Any]:
        def collect_init_args(frame: FrameType, *args: Any, **kwargs: Any) -> Any:
            while frame.f_globals.get("__name__") == "mutmut.mutation.trampoline" and frame.f_back is not None:
                frame = frame.f_back
            return collect(frame, *args, **kwargs)

        return collect_init_args

    # They call each other through their module, so that both reach the replacements.
    parsing._get_init_args = reading(parsing._get_init_args)  # type: ignore[attr-defined]
    parsing.collect_init_args = collecting(parsing.collect_init_args)  # type: ignore[attr-defined]


def _arguments(frame: FrameType, names_of: Callable[[type], tuple[str | None, ...]]) -> tuple[Any, dict[str, Any]]:
    """Return the object that is initialized and the arguments that its class's ``__init__`` names."""
    found = frame.f_locals
    cls = found["__class__"]
    self_name, args_name, kwargs_name = names_of(cls)
    parameters = inspect.signature(cls.__init__).parameters
    arguments = {name: found[name] for name in parameters if name in found}
    arguments.update(arguments.get(kwargs_name, {}) if kwargs_name else {})
    left_out = {self_name, args_name, kwargs_name}
    return found.get(self_name or ""), {name: value for name, value in arguments.items() if name not in left_out}
