"""Injection points from the loss to the update: the loss, the gradients, the step, and the optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, InjectionPoint, throughout
from faultlab.core import packages
from faultlab.core.target_profile import IN_BACKWARD

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_AFTER_FORWARD = frozenset({"batches", "forward", "metrics"})


@dataclass(frozen=True)
class Loss(InjectionPoint):
    """The loss, in any form of return value. The injector maps loss -> loss (a tensor of one element).

    Under manual optimization it is the argument of ``manual_backward``, or of ``Tensor.backward`` if the module calls
    that itself.
    """

    leaves = frozenset({"batches", "forward"})
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.losses else "no loss was seen in the clean run"


@dataclass(frozen=True)
class Backward(InjectionPoint):
    """The call of backward: the module's hook, or ``Tensor.backward`` if the module calls that itself.

    The injector receives the call.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class Gradients(InjectionPoint):
    """The gradients after backward. The injector changes the ``.grad`` of the parameters that have one in place.

    It receives the gradients of this backward alone; gradients accumulated before are added afterwards. Otherwise, the
    next accumulated batch would flip a negated sum back. It acts before any ``on_after_backward``, so that guards see
    the change.
    """

    kind = "in_place"
    leaves = _AFTER_FORWARD

    def inapplicable(self, profile: TargetProfile) -> str:
        if IN_BACKWARD in profile.hooks:
            return "the optimizers are stepped within backward, as each gradient is ready, and none is left after it"
        return "" if profile.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class Clipping(InjectionPoint):
    """Each call that clips gradients. The injector receives the call.

    ``ctx.memory["unclipped"]`` returns the same value as the call, but leaves the gradients unchanged.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.clips else "no gradient is clipped in the clean run"


@dataclass(frozen=True)
class OptimizerStep(InjectionPoint):
    """The call ``optimizer.step(closure)``, of automatic and manual optimization. The injector receives the call.

    ``ctx.memory["closure"]`` is the closure, which runs the training step under automatic optimization; the call
    accepts another one instead. ``ctx.memory["optimizer"]`` is the optimizer. A change of the parameters after the call
    counts as an activation, too.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = throughout("optimizer_step")

    def inapplicable(self, profile: TargetProfile) -> str:
        if packages.WRAPPED_STEP in profile.hooks or profile.past_trainer:
            return ""
        if profile.by_hand:
            return "no optimizer is stepped in the clean run"
        return "training_step steps no optimizer that the module or its Trainer holds"


@dataclass(frozen=True)
class ZeroGrad(InjectionPoint):
    """The call ``optimizer.zero_grad()`` or ``module.zero_grad()``. The injector receives the call."""

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = throughout("optimizer_zero_grad")

    def inapplicable(self, profile: TargetProfile) -> str:
        called = {"Optimizer.zero_grad", "Module.zero_grad"} & set(profile.hooks)
        return "" if called else "zero_grad is not called in the clean run"


@dataclass(frozen=True)
class Optimizers(InjectionPoint):
    """The result of ``configure_optimizers``. The injector maps result -> result, or changes its parts in place.

    The result has any form that Lightning accepts; ``optimizers_in`` and ``schedules_in`` find the parts (see
    `faultlab.frameworks.torch.optimizers`), and a pair of both is another such form. A change of the module's
    parameters counts as an activation, too.
    """

    attach_at = "fit"
    leaves = _AFTER_FORWARD
    methods = throughout("configure_optimizers")

    def inapplicable(self, profile: TargetProfile) -> str:
        if not set(profile.optimizers) - {packages.NO_OPTIMIZER}:
            return "there is no optimizer" if profile.by_hand else "configure_optimizers returns no optimizer"
        return "" if profile.optimized_tensors else "no optimizer holds a parameter of the module"


@dataclass(frozen=True)
class OptimizerState(InjectionPoint):
    """The state of the optimizers (momenta, moments) at the start of a training step.

    The injector receives the list of optimizers and changes their ``state`` in place.
    """

    kind = "in_place"
    leaves = _AFTER_FORWARD
