"""The trainings of each unit of a suite by loops of its own, as the clean run shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faultlab.core.patching import Patches
from faultlab.frameworks.loops.observation import Observation
from faultlab.frameworks.loops.resting import RestingPatches
from faultlab.injection import compilation


class LoopObserver:
    """Observes one unit at a time: an outer one rests while an inner one is observed."""

    def __init__(self) -> None:
        self._observed: list[Observation | None] = []

    @contextmanager
    def observing(self) -> Iterator[Observation]:
        """Observe what happens inside the context."""
        observation = Observation()
        self._observed.append(observation)
        try:
            with compilation.lifted(), Patches() as patches:
                observation.attach(RestingPatches(patches, lambda: self._observed[-1] is not observation))
                yield observation
        finally:
            self._observed.pop()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Observe nothing inside the context: what trains there is no loop of the user's."""
        self._observed.append(None)
        try:
            yield
        finally:
            self._observed.pop()
