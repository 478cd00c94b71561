"""The state of a training, by kind: what a checkpoint has to bring back."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

State = dict[str, dict[str, Any]]
"""For each kind of state, its values by name."""

KINDS = ("parameters", "buffers", "optimizer", "scheduler", "random", "position", "other")


def of(training: Any) -> State:
    """Return a copy of the state of a training.

    Args:
        training: A dict, tuple or object whose parts are modules, optimizers, schedulers, generators and plain numbers.
    """
    state: State = {kind: {} for kind in KINDS}
    for name, part in _parts(training):
        if isinstance(part, nn.Module):
            state["parameters"] |= {key: value.detach().clone() for key, value in part.named_parameters()}
            state["buffers"] |= {key: value.detach().clone() for key, value in part.named_buffers()}
        elif isinstance(part, Optimizer):
            state["optimizer"] |= dict(_flat(part.state_dict(), name))
        elif isinstance(part, torch.Generator):
            state["random"][name] = part.get_state()
        elif callable(getattr(part, "state_dict", None)):
            kind = "scheduler" if hasattr(part, "get_last_lr") or hasattr(part, "num_bad_epochs") else "other"
            # A schedule of the optimizer's rates may hold functions, which no checkpoint saves.
            state[kind] |= {key: value for key, value in _flat(part.state_dict(), name) if not callable(value)}
        elif isinstance(part, (bool, int, float, str, Tensor)):
            state["other"] |= dict(_flat(part, name))
    return state


def of_process() -> dict[str, Any]:
    """Return the states of the process's random number generators."""
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": numpy.random.get_state(),
    }


def restore_process(states: Mapping[str, Any]) -> None:
    """Set the states of the process's random number generators."""
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    numpy.random.set_state(states["numpy"])


def differing(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float = 0.0) -> list[str]:
    """Return what differs between two states of a kind, each as a phrase."""
    found = []
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in other or name not in one:
            found.append(f"{name} is missing" if name not in other else f"{name} was not there")
        elif text := _difference(one[name], other[name], tolerance):
            found.append(f"{name} {text}")
    return found


def _parts(training: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(training, Mapping):
        yield from ((str(name), part) for name, part in training.items())
    elif isinstance(training, (tuple, list)):
        yield from ((f"{type(part).__name__} {number}", part) for number, part in enumerate(training))
    elif isinstance(training, (nn.Module, Optimizer)) or not hasattr(training, "__dict__"):
        yield type(training).__name__, training
    else:
        yield from vars(training).items()


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{path}.{key}")
    elif isinstance(value, (tuple, list)):
        for number, part in enumerate(value):
            yield from _flat(part, f"{path}.{number}")
    elif isinstance(value, Tensor):
        yield path, value.detach().clone()
    else:
        yield path, copy.copy(value)


def _difference(one: Any, other: Any, tolerance: float) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"is {tuple(other.shape)}, was {tuple(one.shape)}"
        if torch.equal(one, other):
            return ""
        if not one.is_floating_point():
            return "differs"
        far = float((one.double() - other.double()).abs().max())
        return "" if far <= tolerance else f"differs by {far:.3g}"
    if type(one) is not type(other):
        return f"is {_shown(other)}, was {_shown(one)}"
    # Tuples of arrays, as the state of NumPy's generator is.
    if isinstance(one, (tuple, numpy.ndarray)):
        return "" if repr(one) == repr(other) else "differs"
    close = isinstance(one, float) and abs(one - other) <= tolerance
    return "" if one == other or close else f"is {_shown(other)}, was {_shown(one)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
