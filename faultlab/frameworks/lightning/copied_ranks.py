"""Trainers of a test that train on several ranks: copies of the test's process are the other ranks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches
from faultlab.errors import UsageError
from faultlab.frameworks.lightning import namespaces, private_api
from faultlab.ranks import copies, membership


def attach(patches: Patches) -> None:
    """Let Trainers of DDP on the CPU start copies of this process, until the patches are closed."""
    for namespace in namespaces.loaded():
        strategy = private_api.part(namespace, private_api.DDP)
        for path in private_api.LAUNCHERS:
            patches.wrap(private_api.part(namespace, path), "launch", functools.partial(_making, strategy))


def _making(ddp: type, launch: Callable[..., Any]) -> Callable[..., Any]:
    def launching(launcher: Any, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        if membership.present() is not None:
            return function(*args, **kwargs)
        if trainer is None or trainer.strategy.root_device.type != "cpu":
            return launch(launcher, function, *args, trainer=trainer, **kwargs)
        if not isinstance(trainer.strategy, ddp) or trainer.num_nodes > 1:
            name = type(trainer.strategy).__name__
            raise UsageError(f"tests that train by {name} on several processes can't be broken: use strategy='ddp'")
        return copies.together(trainer.num_devices, lambda rank: function(*args, **kwargs), joins=False)

    return launching
