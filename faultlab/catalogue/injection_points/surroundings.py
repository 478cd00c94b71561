"""Injection points around the training: logging, callbacks, checkpoints, the process and its random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, Attachment, InjectionPoint, Kind

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_BESIDE_TRAINING = frozenset({"backward", "batches", "forward"})


@dataclass(frozen=True)
class Logging(InjectionPoint):
    """A call of ``log`` or ``log_dict`` by the module, or a number that a loop reports.

    The injector maps Logged -> Logged, or to None to drop it.
    """

    leaves = _BESIDE_TRAINING
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.logged else "nothing is logged"


@dataclass(frozen=True)
class MetricReset(InjectionPoint):
    """The reset of a logged metric between epochs, or of a loop's torchmetrics. The injector receives the call."""

    kind = "around"
    leaves = _BESIDE_TRAINING
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.by_hand:
            return "" if "Metric.reset" in profile.hooks else "no metric of torchmetrics is reset"
        return "" if profile.logged else "nothing is logged"


_NO_LOGGER = (
    "the Trainer has no logger; in a scenario, set `logger: true` under `trainer`, or `keep: [logger]` under "
    "`init_args` of `build` to keep the script's"
)


@dataclass(frozen=True)
class LoggerCall(InjectionPoint):
    """A call of the framework, or of a loop, to the loggers. The injector receives the call."""

    kind = "around"
    leaves = _BESIDE_TRAINING

    def inapplicable(self, profile: TargetProfile) -> str:
        if not profile.loggers:
            return "the training calls no logger" if profile.by_hand else _NO_LOGGER
        return "no logged value reaches the logger" if profile.last_logged is None else ""


@dataclass(frozen=True)
class CallbackHook(InjectionPoint):
    """The calls of a user's callback by Lightning's Trainer or that of transformers. The injector receives each call.

    The callback is the first, or the one that the dose ``callback`` names. ``hook`` selects one hook; "" means every
    hook. The harness observes guards inside of these calls: a fault here breaks the guard, which does not detect it.
    """

    hook: str = ""
    kind = "around"
    attach_at = "fit"

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.callbacks else "the training calls no callback of yours"


@dataclass(frozen=True)
class Checkpoint(InjectionPoint):
    """One part of saving or loading a checkpoint.

    ``state``: the dict that is saved, dict -> dict. ``save``: the call that saves one file. ``file``: the written file,
    bytes -> bytes. For these two, ``ctx.memory["path"]`` is the path. ``resume``: the call that loads the checkpoint
    for ``fit`` to resume from. ``weights``: the weights that a module loads, Restored -> Restored. Of a checkpoint that
    a loop saves, ``state`` is only ``state_dict`` and ``optimizer_states``, wherever the loop keeps them in it.
    """

    part: str = "state"
    attach_at = "fit"

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "around" if self.part in ("save", "resume") else "map"

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.saved == ():
            return "the training saves no checkpoint with torch.save or safetensors"
        if not profile.resumes and self.part in ("resume", "weights"):
            return "the scenario does not name how the training continues from its checkpoints (`resume`)"
        return "" if profile.saved is None or "weights" in profile.saved else "the training saves no weights"


@dataclass(frozen=True)
class Averaging(InjectionPoint):
    """Each update of an average of the weights by torch's AveragedModel. The injector receives the call.

    ``ctx.memory["average"]`` is the AveragedModel; a change of its values after the call counts as an activation, too.
    The call accepts another number of ``updates`` that the average has had.
    Lightning's callbacks that average weights use it. Averages that a training computes by its own code or another
    library are not seen.
    """

    kind = "around"
    leaves = frozenset({"backward", "batches"})

    def inapplicable(self, profile: TargetProfile) -> str:
        averaged = "AveragedModel.update_parameters" in profile.hooks
        return "" if averaged else "no average of the weights is updated by torch's AveragedModel"


@dataclass(frozen=True)
class Process(InjectionPoint):
    """A process of the training. The injector acts on it and may not return.

    It is the main process, at the start of a training step. With ``worker=True``, it is the loader's worker that
    fetches the batch of the trigger's step, while the victim waits for that batch.
    """

    worker: bool = False
    kind = "in_place"

    @property
    def attach_at(self) -> Attachment:
        """Before fit for workers, because a worker is a copy of the process that starts it."""
        return "fit" if self.worker else "step"

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if not self.worker or profile.workers else "the training loader has no workers"


@dataclass(frozen=True)
class RandomState(InjectionPoint):
    """The state of the process's random number generators. The injector changes it in place.

    ``before`` is ``step``, at the start of each training step, ``validation``, at the start of each validation step, or
    ``construction``, when the first module is built: a network that is passed to the target's constructor has its
    weights before that constructor starts.
    """

    before: str = "step"
    kind = "in_place"

    @property
    def attach_at(self) -> Attachment:
        """Before the target is built, if the point is its construction."""
        return "construct" if self.before == "construction" else "step"
