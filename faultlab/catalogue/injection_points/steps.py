"""Injection points of the steps: their return values, the calls of hooks, and the mode of the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, Attachment, InjectionPoint
from faultlab.core import framework_names

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_WITHIN_STEPS = (*IN_STEPS.values(), "on_train_batch_start", "on_train_batch_end", "backward", "manual_backward",
                 "on_before_backward", "on_after_backward", "optimizer_step", "optimizer_zero_grad",
                 "on_before_zero_grad", "on_before_optimizer_step", "configure_gradient_clipping", "lr_scheduler_step",
                 "on_train_epoch_end")  # fmt: skip


_WITHOUT = {
    "training_step": "the scenario names no function of a training step under `step`",
    "validation_step": "no module that trains is called in an evaluation",
    "lr_scheduler_step": "no scheduler is stepped in the clean run",
    "transfer_batch_to_device": "the training moves its batches itself, without a hook for it",
}
"""For each hook that stands for a part of every training, the reason why a training without Lightning has it not."""


@dataclass(frozen=True)
class StepOutput(InjectionPoint):
    """The return value of ``training_step`` and the other steps. The injector maps output -> output."""

    leaves = frozenset({"batches", "forward", "metrics"})
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return StepCall().inapplicable(profile) if profile.by_hand else ""


@dataclass(frozen=True)
class StepCall(InjectionPoint):
    """The call of one of the module's hooks. The injector receives the call and may raise, skip, repeat or swallow.

    For ``lr_scheduler_step``, ``ctx.memory["scheduler"]`` is the scheduler.
    """

    hook: str = "training_step"
    kind = "around"
    methods = IN_STEPS

    @property
    def attach_at(self) -> Attachment:
        """At the step only for hooks that run within one; those at the start of fit or of an epoch have run by then."""
        return "step" if self.hook in _WITHIN_STEPS else "fit"

    def inapplicable(self, profile: TargetProfile) -> str:
        if self.hook in profile.hooks:
            return ""
        if profile.by_hand:
            return _WITHOUT.get(self.hook, f"only modules of {framework_names.title()} have the hook {self.hook}")
        return f"{self.hook} is never called in the clean run"


@dataclass(frozen=True)
class Definition(InjectionPoint):
    """The class's definition of a hook. The injector maps function -> function; None means that it is not defined.

    Lightning looks for a module's hooks before training, so the injector acts before fit.
    """

    hook: str = "training_step"
    attach_at = "fit"
    methods = IN_STEPS
    trainer_part = "modules whose hooks are found by their names"


@dataclass(frozen=True)
class Mode(InjectionPoint):
    """The mode of the module and its submodules at the start of a step. The injector changes the mode in place."""

    kind = "in_place"
    leaves = frozenset({"batches"})
