"""Objects as a target: the module, data and guards that `faultlab.run` is called with, in copies of its process.

Named by the scenario that `faultlab.run` makes up, as ``build: {class_path: faultlab.targets.live.build}``. Each run
builds the target afresh: classes and factories are called, and instances are copied before they train.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import TargetError
from faultlab.frameworks.registry import default_framework

_given: list[Parts] = []


@dataclass(frozen=True)
class Parts:
    """The arguments of `faultlab.run` that make the target."""

    module: Any
    data: Any = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    guards: Sequence[Any] = ()

    def copied(self) -> Parts:
        """Return a deep copy, in which parts share the objects that they share here."""
        try:
            return copy.deepcopy(self)
        except Exception as error:  # whatever a user's objects do when they are copied
            name = next((name for name, value in vars(self).items() if not _copies(value)), "module")
            message = f"{name} can't be copied for each run: {type(error).__name__}: {safe_text(error)}"
            raise TargetError((name,), message, _REMEDIES[name]) from error


_REMEDIES = {
    "module": "Give its class, or a function that makes it.",
    "data": "Give a function that makes them.",
    "trainer": "Give plain values, and objects that can be copied.",
    "guards": "Give their classes, or guards that can be copied.",
}


def give(parts: Parts) -> None:
    """Have `build` return the target that these parts make."""
    _given[:] = [parts]


def build() -> tuple[Any, Any, dict[str, Any]]:
    """Return a fresh module, its data, and the Trainer's arguments, the guards among them.

    Raises:
        TargetError: An object can't be copied.
    """
    (parts,) = _given
    made = parts.copied()
    module = made.module if is_module(made.module) else made.module()
    data = made.data() if callable(made.data) else made.data
    guards: dict[str, Any] = {}
    for index, given in enumerate(made.guards):
        guard = given() if isinstance(given, type) else given
        name = type(guard).__name__
        guards[name if name not in guards else f"{name}-{index}"] = guard
    return module, data, {**made.trainer, "guards": guards}


def module_name() -> str:
    """Return the name of the class that users derive such modules from."""
    return default_framework().foreign.module_name


def is_module(value: Any) -> bool:
    """Return whether it is a module that the framework's Trainer trains."""
    return isinstance(value, tuple(default_framework().foreign.bases()))


def _copies(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:  # as above
        return False
    return True
