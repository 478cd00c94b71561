"""PyTorch Lightning as a framework; see `faultlab.frameworks.base.Framework`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from faultlab.frameworks.base import Assembly, Framework
from faultlab.frameworks.foreign import Foreign
from faultlab.frameworks.lightning import NAME, namespaces
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.foreign import ForeignLightning
from faultlab.frameworks.lightning.seams.callbacks import own_hooks
from faultlab.frameworks.lightning.target import Built, Target
from faultlab.frameworks.lightning.training import LightningTraining
from faultlab.frameworks.lightning.warm_up import warm_up


class Lightning:
    """Lightning, under both of its package names."""

    name = NAME
    joins = False
    foreign: Foreign = ForeignLightning()

    def target(self, scenario: Mapping[str, Any]) -> Target:
        return Target(scenario)

    def assemble(self, built: Built, wanted: Assembly) -> LightningTraining:
        return LightningTraining.of(built, wanted)

    def clock(self) -> LightningClock:
        return LightningClock()

    def hooks_of(self, guard: Any) -> Collection[str]:
        return own_hooks(guard)

    def find_plugins_once(self) -> None:
        namespaces.find_plugins_once()

    def warm_up(self) -> None:
        for namespace in namespaces.loaded():
            warm_up(namespace)


FRAMEWORK: Framework = Lightning()
