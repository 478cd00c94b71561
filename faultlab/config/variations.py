"""Harmless variations of a target: everyday changes at which no guard may raise a false alarm.

They are plain data that describe how a victim's scenario is changed, without importing its classes.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

Variation = Mapping[str, Any]

VARIATIONS: dict[str, Variation] = {
    "half the batch size": {"scale": {"batch_size": 0.5}},
    "twice the batch size": {"scale": {"batch_size": 2}},
    "half the learning rate": {"scale": {"learning_rate": 0.5, "lr": 0.5}},
    "twice the learning rate": {"scale": {"learning_rate": 2, "lr": 2}},
    "gradients of two batches accumulated": {"trainer": {"accumulate_grad_batches": 2}},
    "mixed precision": {"trainer": {"precision": "bf16-mixed"}},
    "twice as long": {"longer": 2},
}
"""By name: ``scale`` multiplies arguments of module and data by their names, ``trainer`` sets arguments of the Trainer,
and ``longer`` multiplies its epochs and steps. A training loop has those of the function that trains."""

_LENGTHS = ("max_epochs", "max_steps", "epochs", "num_epochs", "n_epochs")


class NotVariedError(Exception):
    """The scenario has no argument that this variation changes."""


def varied(scenario: Mapping[str, Any], variation: Variation) -> dict[str, Any]:
    """Return the scenario with the variation applied. Raises NotVariedError if it has no such argument."""
    changed = deepcopy(dict(scenario))
    scales = variation.get("scale", {})
    if scales and not sum(_scale(part, scales) for part in _components(changed)):
        raise NotVariedError(f"no argument named {' or '.join(scales)}")
    longer = variation.get("longer")
    if changed.get("train"):
        if "trainer" in variation:
            raise NotVariedError("a training loop has no Trainer")
        lengths: dict[str, float] = dict.fromkeys(_LENGTHS, longer or 0.0)
        if longer and not _scale(changed["train"], lengths):
            raise NotVariedError(f"no argument named {' or '.join(_LENGTHS)}")
        return changed
    trainer = changed.setdefault("trainer", {})
    arguments = trainer.setdefault("init_args", {}) if "class_path" in trainer else trainer
    arguments.update(variation.get("trainer", {}))
    if longer and not sum(_multiply(arguments, name, longer) for name in ("max_epochs", "max_steps")):
        raise NotVariedError("the scenario has neither max_epochs nor max_steps")
    return changed


def _components(scenario: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("module", "data", "build", "train"):
        if scenario.get(name):
            yield scenario[name]


def _scale(component: dict[str, Any], scales: Mapping[str, float]) -> int:
    given = component.setdefault("init_args", {})
    for name, default in _defaults(component["class_path"]).items():
        if name in scales:
            given.setdefault(name, default)
    return sum([_multiply(given, name, factor) for name, factor in scales.items()])


def _multiply(arguments: dict[str, Any], name: str, factor: float) -> bool:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return False
    arguments[name] = max(1, round(value * factor)) if isinstance(value, int) else value * factor
    return True


def _defaults(path: str) -> dict[str, Any]:
    """Return the defaults of a class's or factory's arguments, in the victim, which has imported it."""
    module, _, name = path.rpartition(".")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), name)
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    return {name: parameter.default for name, parameter in parameters.items()}
