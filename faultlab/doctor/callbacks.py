"""In the victim: the settings of the Trainer's callbacks, and the names of their methods."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from faultlab.core.asking import asked
from faultlab.doctor import anatomy, sources
from faultlab.frameworks.lightning import namespaces, private_api

# The attribute and the argument for the first epoch that a callback acts in.
_STARTS = {
    "StochasticWeightAveraging": (private_api.AVERAGES_FROM, "swa_epoch_start"),
    "BackboneFinetuning": ("unfreeze_backbone_at_epoch", "unfreeze_backbone_at_epoch"),
}


def facts(trainer: Any) -> dict[str, Any]:
    """Return the callbacks' settings that can conflict with the training.

    ``starts`` (name, argument, epoch counted from 0), ``checkpoints`` (name, argument, every), ``patience`` (name,
    checks), ``near`` (methods that almost have a hook's name), ``averaging`` (name, epoch counted from 0, rate),
    ``monitors`` (name, key, mode).
    """
    # Includes the script's own ModelCheckpoints, which write nothing here.
    own = list(trainer.callbacks)
    known = {id(callback) for callback in own}
    everyone = own + [callback for callback in anatomy.scripted()[1] if id(callback) not in known]
    found: dict[str, Any] = {
        "starts": [],
        "checkpoints": [],
        "patience": [],
        "near": [],
        "averaging": [],
        "monitors": [],
    }
    for callback in everyone:
        name = type(callback).__name__
        found["starts"] += _starts(callback, name)
        if not found["checkpoints"] or callback not in own:
            found["checkpoints"] += _checkpoints(callback, name)
        patience = asked(callback, "patience")
        if isinstance(patience, int) and asked(callback, "monitor"):
            found["patience"].append({"name": name, "checks": patience})
        if isinstance(key := asked(callback, "monitor"), str) and asked(callback, "strict", True):
            found["monitors"].append({"name": name, "key": key, "mode": str(asked(callback, "mode", ""))})
        found["averaging"] += _averaging(callback, name)
        found["near"] += list(_near(type(callback)))
    return found


def _starts(callback: Any, name: str) -> list[dict[str, Any]]:
    for cls, (attribute, argument) in _STARTS.items():
        epoch = asked(callback, attribute)
        if any(one.__name__ == cls for one in type(callback).__mro__) and isinstance(epoch, int):
            first = epoch - 1 if cls == "StochasticWeightAveraging" else epoch
            return [{"name": name, "argument": f"{argument}={epoch}", "epoch": first}]
    scheduling = asked(callback, "scheduling")
    if name == "GradientAccumulationScheduler" and isinstance(scheduling, dict):
        # Lightning adds epoch 0 itself if it is missing.
        factors = {epoch: factor for epoch, factor in scheduling.items() if factor > 1}
        if factors:
            return [{"name": name, "argument": f"scheduling={scheduling}", "epoch": min(factors)}]
    return []


def _averaging(callback: Any, name: str) -> list[dict[str, Any]]:
    if not any(one.__name__ == "StochasticWeightAveraging" for one in type(callback).__mro__):
        return []
    rates = asked(callback, private_api.AVERAGES_RATES)
    rate = max(rates) if isinstance(rates, list) and rates else rates
    epoch = asked(callback, private_api.AVERAGES_FROM)
    if not isinstance(rate, (int, float)) or not isinstance(epoch, int):
        return []
    return [{"name": name, "epoch": max(epoch - 1, 0), "rate": float(rate)}]


def _checkpoints(callback: Any, name: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "argument": attribute.removeprefix("_"), "every": every}
        for attribute in private_api.SAVE_INTERVALS
        if isinstance(every := asked(callback, attribute), int) and every > 1
    ]


def _near(cls: type) -> Iterator[dict[str, Any]]:
    base = namespaces.base_callback(cls)
    if base is None or namespaces.is_lightnings(cls):
        return
    hooks = [name for name in dir(base) if name.startswith(("on_", "setup", "teardown"))]
    for owner in cls.__mro__[: cls.__mro__.index(base)]:
        if namespaces.is_lightnings(owner):
            return
        for name, method in vars(owner).items():
            hook = sources.meant(name, hooks) if name.startswith("on") and inspect.isfunction(method) else ""
            # A method that the class calls itself is its own, whatever its name.
            if hook and not any(name in _names(other) for other in vars(owner).values()):
                place = f"{method.__code__.co_filename}:{method.__code__.co_firstlineno}"
                yield {"name": f"{owner.__name__}.{name}", "hook": hook, "place": place}


def _names(member: Any) -> tuple[str, ...]:
    return member.__code__.co_names if inspect.isfunction(member) else ()
