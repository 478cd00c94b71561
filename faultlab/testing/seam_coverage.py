"""The injection points that a unit executes: hooks are attached to all at once, and no fault ever acts."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.data import get_worker_info

from faultlab.core.fault import Fault
from faultlab.core.target_profile import TargetProfile
from faultlab.injection.armed_fault import Armed, Turns
from faultlab.injection.clock import Clock
from faultlab.injection.registry import Registered
from faultlab.testing.embedding import Embedding
from faultlab.testing.knowledge import INSTALLED, Moment
from faultlab.testing.loop_embedding import LoopEmbedding


class Touch(Armed):
    """A stand-in for any fault at one injection point: it records when it could act, and never does."""

    def __init__(self, registered: Registered, clock: Clock, profile: TargetProfile) -> None:
        super().__init__(Fault(registered.mode.id), registered, clock, profile)
        self.embedding: Embedding | LoopEmbedding | None = None
        self._moments: set[Moment] = set()

    def due(self, stage: str | None = None, turns: Turns | None = None) -> bool:
        if not self.enabled:
            return False
        if get_worker_info() is not None:
            # A worker's memory ends with it, but its count is shared.
            self._acted()
        elif self.embedding is not None and self.embedding.installing:
            self._moments.add((INSTALLED, 0, 0))
        else:
            self._moments.add((stage or self.clock.stage, self.clock.step, self.clock.epoch))
        return False

    @property
    def moments(self) -> list[Moment]:
        """The moments when a fault at this injection point could have acted."""
        in_workers = {("train", step, 0) for step in range(self.profile.steps)} if self.activations else set()
        used = self.embedding is None or self.embedding.used
        return sorted(moment for moment in self._moments | in_workers if used or moment[0] != INSTALLED)


def touches(registry: Mapping[str, Registered], clock: Clock, profile: TargetProfile) -> dict[str, Touch]:
    """Return one for each distinct injection point for which the target's framework has a hook, by its text."""
    distinct = {
        repr(registered.mode.point): registered
        for registered in registry.values()
        if registered.mode.point.hooked(profile)
    }
    return {seam: Touch(registered, clock, profile) for seam, registered in distinct.items()}
