"""From the loss to the update: the loss, the gradients, the calls around the step, and the optimizers themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, InjectionPoint, throughout

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_AFTER_FORWARD = frozenset({"batches", "forward", "metrics"})


@dataclass(frozen=True)
class Loss(InjectionPoint):
    """The loss, whatever form the step's return has. The injector maps loss -> loss (a tensor of one element).

    Under manual optimisation it is what goes into ``manual_backward``, or into ``Tensor.backward`` where the module
    calls that itself.
    """

    leaves = frozenset({"batches", "forward"})
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.losses else "no loss was seen in the clean run"


@dataclass(frozen=True)
class Backward(InjectionPoint):
    """Around backward: the module's hook, or ``Tensor.backward`` where the module calls that itself.

    The injector is given the call.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class Gradients(InjectionPoint):
    """The gradients after backward. The injector gets the parameters that have one and changes ``.grad`` in place.

    It sees what this one backward left; what was accumulated before is added again afterwards. A sign turned on the sum
    would be turned back by the next batch that is accumulated.
    It acts before any ``on_after_backward``, so that guards see what it did.
    """

    kind = "in_place"
    leaves = _AFTER_FORWARD

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class Clipping(InjectionPoint):
    """Around each clipping of gradients. The injector is given the call.

    ``ctx.memory["unclipped"]`` gives what the call would, and leaves the gradients as they are.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.clips else "no gradient is clipped in the clean run"


@dataclass(frozen=True)
class OptimizerStep(InjectionPoint):
    """Around ``optimizer.step(closure)``, of automatic and manual optimisation. The injector is given the call.

    ``ctx.memory["closure"]`` holds the closure, which runs the training step under
    automatic optimisation; the call takes another in its stead. ``ctx.memory["optimizer"]`` holds the optimizer.
    What the parameters are after the call counts too.
    """

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = throughout("optimizer_step")

    def inapplicable(self, profile: TargetProfile) -> str:
        if "LightningOptimizer.step" in profile.hooks or profile.past_lightning:
            return ""
        return "training_step steps no optimizer that the module or its Trainer holds"


@dataclass(frozen=True)
class ZeroGrad(InjectionPoint):
    """Around ``optimizer.zero_grad()``, of automatic and manual optimisation. The injector is given the call."""

    kind = "around"
    leaves = _AFTER_FORWARD
    methods = throughout("optimizer_zero_grad")

    def inapplicable(self, profile: TargetProfile) -> str:
        called = "Optimizer.zero_grad" in profile.hooks
        return "" if called else "no optimizer's zero_grad is called in the clean run"


@dataclass(frozen=True)
class Optimizers(InjectionPoint):
    """What ``configure_optimizers`` returns. The injector maps result -> result, or changes what is in it in place.

    The result has any of the forms that Lightning takes; ``optimizers_in`` and ``schedules_in`` find the parts (see
    `faultlab.frameworks.torch.optimizers`), and as a pair they are another such form. Which parameters the module has
    by then counts too.
    """

    attach_at = "fit"
    leaves = _AFTER_FORWARD
    methods = throughout("configure_optimizers")

    def inapplicable(self, profile: TargetProfile) -> str:
        if not set(profile.optimizers) - {"_MockOptimizer"}:
            return "configure_optimizers returns no optimizer"
        return "" if profile.optimized_tensors else "no optimizer holds a parameter of the module"


@dataclass(frozen=True)
class OptimizerState(InjectionPoint):
    """What the optimizers remember (momenta, moments), as a training step finds it.

    The injector gets the list of optimizers and changes their ``state`` in place.
    """

    kind = "in_place"
    leaves = _AFTER_FORWARD
