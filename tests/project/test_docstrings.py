"""Public names document their parameters and results, in Google's style; docs/STYLE.md asks for it."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

import faultlab
from faultlab import engines, guards
from faultlab.frameworks import base, foreign, profiling

PROTOCOLS = [
    value
    for module in (base, foreign, profiling, engines)
    for value in vars(module).values()
    if getattr(value, "_is_protocol", False) and value.__module__ == module.__name__
]
# Lightning's names, whose parameters are Lightning's too.
HOOKS = re.compile("on_|setup$|teardown$|state_dict$|load_state_dict$|configure_")


def _public() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for prefix, module in (("faultlab", faultlab), ("faultlab.guards", guards)):
        for name in module.__all__:
            found |= _of(f"{prefix}.{name}", getattr(module, name))
    for protocol in PROTOCOLS:
        found |= _methods(f"{protocol.__module__}.{protocol.__name__}", protocol)
    return found


def _of(path: str, value: Any) -> dict[str, Callable[..., Any]]:
    if not isinstance(value, type):
        return {path: value} if inspect.isroutine(value) else {}
    # What a scenario holds is documented key by key, as editors show it.
    if issubclass(value, (enum.Enum, pydantic.BaseModel)):
        return {}
    constructed = "__init__" in vars(value) or dataclasses.is_dataclass(value)
    return {**({path: value} if constructed else {}), **_methods(path, value)}


def _methods(path: str, cls: type) -> dict[str, Callable[..., Any]]:
    """Return the class's own methods, except those whose base documents them."""
    inherited = {name for parent in cls.__mro__[1:] for name in vars(parent)}
    functions = {name: getattr(value, "__func__", value) for name, value in vars(cls).items() if name not in inherited}
    return {
        f"{path}.{name}": function
        for name, function in functions.items()
        if inspect.isfunction(function) and not name.startswith("_") and not HOOKS.match(name)
    }


PUBLIC = _public()


def _parameters(of: Callable[..., Any]) -> list[str]:
    names = inspect.signature(of).parameters
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def _section(of: Callable[..., Any], *titles: str) -> str | None:
    """Return the text of the section of that title; None if there is none."""
    texts = [inspect.cleandoc(of.__doc__ or "")]
    if isinstance(of, type) and "__init__" in vars(of):
        texts.append(inspect.cleandoc(vars(of)["__init__"].__doc__ or ""))
    for text in texts:
        match = re.search(rf"^(?:{'|'.join(titles)}):\n((?:[ ]+.*\n?|\n)*)", text, re.MULTILINE)
        if match:
            return match.group(1)
    return None


def _undocumented(of: Callable[..., Any]) -> list[str]:
    section = _section(of, "Args", "Attributes") or ""
    return [name for name in _parameters(of) if not re.search(rf"^ +\**{name}\b[^:\n]*:", section, re.MULTILINE)]


def _returns(of: Callable[..., Any]) -> bool:
    if isinstance(of, type):
        return False
    return inspect.signature(of).return_annotation not in (None, "None", "NoReturn", inspect.Signature.empty)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_callable_names_its_parameters_under_args(name: str) -> None:
    assert _undocumented(PUBLIC[name]) == []


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if _returns(value)])
def test_a_public_callable_that_returns_something_has_returns(name: str) -> None:
    assert _section(PUBLIC[name], "Returns", "Yields") is not None


def test_there_are_public_callables_of_each_kind() -> None:
    assert {"faultlab.run", "faultlab.Fault.parse", "faultlab.guards.Divergence"} <= PUBLIC.keys()
    assert {"faultlab.engines.Engine.run", "faultlab.frameworks.base.Framework.assemble"} <= PUBLIC.keys()


def test_a_parameter_that_is_missing_is_found() -> None:
    def documented(one: int, two: int) -> int:
        """Return a sum.

        Args:
            one: A number.
            two: Another.

        Returns:
            The sum.
        """
        return one + two

    def half(one: int, two: int) -> int:
        """Return a sum.

        Args:
            one: A number, which is not two: it is another.
        """
        return one + two

    assert (_undocumented(documented), _section(documented, "Returns")) == ([], "    The sum.")
    assert (_undocumented(half), _section(half, "Returns")) == (["two"], None)
