"""Injection points of functions of torch that a model or its loss calls: attention, weighted losses, detach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_STEPS, InjectionPoint, throughout

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile


@dataclass(frozen=True)
class Attention(InjectionPoint):
    """What each attention of torch may look at. The injector maps Attending -> Attending.

    This is `scaled_dot_product_attention`, and `multi_head_attention_forward`, which `nn.MultiheadAttention` and the
    layers of transformers call. They do so in evaluations, too, where torch would use its fast path otherwise.
    """

    attach_at = "fit"
    leaves = frozenset({"batches"})
    methods = throughout("forward")

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.first_step.causal else "no attention of torch's functions hides later positions"


@dataclass(frozen=True)
class ClassWeights(InjectionPoint):
    """The weights of classes that a loss function of torch receives. The injector maps tensor -> tensor."""

    attach_at = "fit"
    leaves = frozenset({"batches", "forward"})
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.first_step.class_weights else "no loss function of torch receives weights of classes"


@dataclass(frozen=True)
class StopGradient(InjectionPoint):
    """The result of `Tensor.detach` in a training step where the loss is computed from it. The injector receives it.

    ``ctx.memory["attached"]`` is the tensor itself, with its graph.
    """

    leaves = frozenset({"batches", "forward"})
    methods = IN_STEPS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.first_step.stops else "the loss is computed from no tensor that the training step detaches"
