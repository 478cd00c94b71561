"""What surrounds the training: what it logs, its callbacks and checkpoints, the process and its random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, Attachment, InjectionPoint, Kind

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_BESIDE_TRAINING = frozenset({"backward", "batches", "forward"})


@dataclass(frozen=True)
class Logging(InjectionPoint):
    """What the module logs with ``log`` and ``log_dict``. The injector maps Logged -> Logged, or None for nothing."""

    leaves = _BESIDE_TRAINING
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.logged else "the module logs nothing"


@dataclass(frozen=True)
class MetricReset(InjectionPoint):
    """What clears a logged metric between epochs. The injector is around the reset."""

    kind = "around"
    leaves = _BESIDE_TRAINING
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.logged else "the module logs nothing"


@dataclass(frozen=True)
class LoggerCall(InjectionPoint):
    """What the framework hands the loggers. The injector is around the call."""

    kind = "around"
    leaves = _BESIDE_TRAINING

    def inapplicable(self, profile: TargetProfile) -> str:
        if not profile.loggers:
            return "the Trainer has no logger"
        return "nothing that is logged reaches the logger" if profile.last_logged is None else ""


@dataclass(frozen=True)
class CallbackHook(InjectionPoint):
    """The hooks of one of the user's callbacks, as the Trainer calls them. The injector is around each call.

    The callback is the first, or the one that the dose ``callback`` names. ``hook`` narrows it to one; "" is every
    hook. The harness watches guards from within: what is done here is done to the guard, and not detected by it.
    """

    hook: str = ""
    kind = "around"
    attach_at = "fit"

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.callbacks else "the Trainer has no callback of the user's"


@dataclass(frozen=True)
class Checkpoint(InjectionPoint):
    """One part of a checkpoint's way to the disk and back.

    ``state``: the dict that is saved, dict -> dict. ``save``: around the saving of one file. ``file``: the file once it
    is written, bytes -> bytes; for both, its path is ``ctx.memory["path"]``. ``resume``: around the loading of the
    checkpoint that ``fit`` was told to go on from. ``weights``: what a module loads, Restored -> Restored.
    """

    part: str = "state"
    attach_at = "fit"

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "around" if self.part in ("save", "resume") else "map"


@dataclass(frozen=True)
class Process(InjectionPoint):
    """A process of the training. The injector does something to it, from which it may not return.

    It is the main process, as a training step begins; with ``worker=True`` the one of a loader's workers that fetches
    the batch of the trigger's step, when the victim waits for it.
    """

    worker: bool = False
    kind = "in_place"

    @property
    def attach_at(self) -> Attachment:
        """A worker is a copy of the process that starts it, so the hook has to be there by then."""
        return "fit" if self.worker else "step"

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if not self.worker or profile.workers else "the training loader has no workers"


@dataclass(frozen=True)
class RandomState(InjectionPoint):
    """The state of the process's random numbers. The injector changes it in place.

    ``before`` is ``step``, as each training step begins, or ``construction``, as the first module of all is built: a
    network that is passed to the target's constructor has its weights before that begins.
    """

    before: str = "step"
    kind = "in_place"

    @property
    def attach_at(self) -> Attachment:
        """Before the target is built, for what acts as it is."""
        return "construct" if self.before == "construction" else "step"
