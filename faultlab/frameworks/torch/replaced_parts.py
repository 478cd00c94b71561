"""Parts of a module that a fault has replaced: which of them may falsify an evaluation, and how to restore them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.torch import layers

_LOSS = re.compile("(?<![a-z])loss|Loss|[cC]riterion|[oO]bjective")


def at_the_end(module: Any, replaced: Mapping[str, Any], profile: TargetProfile) -> dict[str, Any]:
    """Return the replaced parts, by path, that the metric may be computed with.

    They end the network or are called after it, as inside of a loss. A part before the last trained layer belongs to
    the network: the weights after it have adapted to it.
    """
    called = list(profile.parts)
    parts = {path: replaced[path] if path in replaced else layers.at(module, path) for path in profile.weighted}
    trained = [path for path, part in parts.items()
               if part is not None and any(one.requires_grad for one in part.parameters())]  # fmt: skip
    network = called[: called.index(trained[-1])] if trained else []
    return {path: old for path, old in replaced.items() if path not in network}


def inside_of_a_loss(module: Any, path: str) -> bool:
    """Return True if the part belongs to a module that computes a loss, and so not to a network that predicts."""
    names = path.split(".")
    above = [".".join(names[:length]) for length in range(1, len(names))]
    names_and_classes = names[:-1] + [type(layers.at(module, one)).__name__ for one in above]
    return any(map(_LOSS.search, names_and_classes))


def put_back(module: Any, parts: Mapping[str, Any]) -> bool:
    """Restore the parts, by path; none of them if one has untrained weights or no longer has a place."""
    own = {id(parameter) for parameter in module.parameters()}
    if any(id(parameter) not in own for old in parts.values() for parameter in old.parameters()):
        return False
    places = {path: layers.at(module, path.rpartition(".")[0]) if "." in path else module for path in parts}
    if None in places.values():
        return False
    for path, old in parts.items():
        setattr(places[path], path.rpartition(".")[2], old)
    return True


def rebuilt(module: Any, build: Callable[[], Any]) -> Any:
    """Return the module's weights in a freshly built one, without the fault; the module itself if they don't fit."""
    try:
        fresh = build()
        fresh.load_state_dict(module.state_dict())
    except Exception:  # another architecture, or layers that are created later
        return module
    return fresh
