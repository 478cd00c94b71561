"""The steps: what they return, how they and the other hooks are called, and in which mode they find the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, Attachment, InjectionPoint

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_WITHIN_STEPS = (*IN_STEPS.values(), "on_train_batch_start", "on_train_batch_end", "backward", "manual_backward",
                 "on_before_backward", "on_after_backward", "optimizer_step", "optimizer_zero_grad",
                 "on_before_zero_grad", "on_before_optimizer_step", "configure_gradient_clipping", "lr_scheduler_step",
                 "on_train_epoch_end")  # fmt: skip


@dataclass(frozen=True)
class StepOutput(InjectionPoint):
    """What ``training_step`` and its siblings return. The injector maps output -> output."""

    leaves = frozenset({"batches", "forward", "metrics"})
    methods = IN_STEPS


@dataclass(frozen=True)
class StepCall(InjectionPoint):
    """The call of one of the module's hooks. The injector is "around": it may raise, skip, repeat or swallow."""

    hook: str = "training_step"
    kind = "around"
    methods = IN_STEPS

    @property
    def attach_at(self) -> Attachment:
        """At the step only for what is called within one: hooks of the fit's or epoch's start are over by then."""
        return "step" if self.hook in _WITHIN_STEPS else "fit"

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if self.hook in profile.hooks else f"{self.hook} is never called in the clean run"


@dataclass(frozen=True)
class Definition(InjectionPoint):
    """What the class defines under a hook's name. The injector maps function or None -> function or None (not defined).

    Which hooks a module has is decided before training, so the hook is in place before fit.
    """

    hook: str = "training_step"
    attach_at = "fit"
    methods = IN_STEPS


@dataclass(frozen=True)
class Mode(InjectionPoint):
    """The mode of the module and its submodules as a step finds it. The injector changes the module's mode in place."""

    kind = "in_place"
    leaves = frozenset({"batches"})
