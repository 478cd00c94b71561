"""Lightning's trainings of several ranks: each rank runs in a process that is there already, so nothing is launched."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from faultlab.errors import TargetError
from faultlab.frameworks.lightning import namespaces, private_api
from faultlab.ranks import membership

# By name, because older Lightning has not all of them.
_SHARDING = "ModelParallelStrategy"
_STRATEGIES = frozenset({"DDPStrategy", _SHARDING})
_ALONE = {"devices": 1, "num_nodes": 1, "strategy": "auto"}


def begin() -> None:
    """Let Lightning know this process's rank before the user's code is called, as a launcher's variables would."""
    if membership.present() is not None:
        for namespace in namespaces.loaded():
            private_api.part(namespace, private_api.RANK_ZERO).rank = membership.rank()


def for_this_process(arguments: Mapping[str, Any], ranks: int) -> dict[str, Any]:
    """Return the Trainer's arguments; for a process that trains or evaluates alone what several ranks do, for one."""
    alone = ranks > 1 and membership.present() is None
    return {**arguments, **(_ALONE if alone else {})}


def stay_alone(module: Any) -> None:
    """Let a module that several ranks have trained be evaluated by this process, without sharding it again."""
    # In the instance: Lightning asks whether the method is the base class's own.
    base: Any = namespaces.base_module(type(module))
    module.configure_model = types.MethodType(base.configure_model, module)


def take_part(trainer: Any) -> None:
    """Let a Trainer be this process's rank; raise TargetError if it would train on other processes than these."""
    member = membership.present()
    asked = trainer.num_devices * trainer.num_nodes
    if member is None:
        if asked > 1 or getattr(trainer.strategy, "launcher", None) is not None:
            remedy = "Set `devices` under `trainer` in the scenario, as a number; or set `devices: 1` and no strategy."
            raise TargetError(("trainer",), "its code asks for several devices or processes", remedy)
        return
    if asked != member.size:
        message = f"the scenario's trainer names {member.size} devices, but the Trainer trains on {asked}"
        raise TargetError(("trainer", "devices"), message, "Let the scenario and its code name the same number.")
    name = type(trainer.strategy).__name__
    if _STRATEGIES.isdisjoint(_names(trainer)):
        raise TargetError(("trainer", "strategy"), f"trainings of several ranks by {name} are not supported",
                          "Use `strategy: ddp`, or ModelParallelStrategy.")  # fmt: skip
    # The ranks are there: neither subprocesses nor spawned ones.
    private_api.without_launcher(trainer.strategy)


def shares_parameters(trainer: Any) -> bool:
    """Return True if the Trainer's ranks share the parameters of a module."""
    return _SHARDING in _names(trainer)


def _names(trainer: Any) -> set[str]:
    return {cls.__name__ for cls in type(trainer.strategy).__mro__}
