"""The model: its layers and weights, its forward, and what it and its trainer are built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import InjectionPoint, throughout

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile


@dataclass(frozen=True)
class Architecture(InjectionPoint):
    """The module after construction and before fit. The injector changes the module's layers or modes in place.

    The change is to this one module and stays with it; the next run builds another. Where somebody else builds the
    modules, it is to each of them as its constructor ends. Where there is nothing to change yet, since the module makes
    its layers in ``setup`` or ``configure_model``, it has its turn when they are there.
    """

    kind = "in_place"
    attach_at = "fit"
    leaves = frozenset({"batches"})
    methods = throughout("__init__")


@dataclass(frozen=True)
class Weights(InjectionPoint):
    """The parameters and buffers as a training step finds them. The injector changes them in place.

    Values, `requires_grad` and which tensors there are all count.
    """

    kind = "in_place"
    leaves = frozenset({"batches", "forward", "metrics"})
    methods = throughout("__init__")


@dataclass(frozen=True)
class _Forward(InjectionPoint):
    leaves = frozenset({"batches"})
    methods = throughout("forward")

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.forward is not None else "no part of the model gives tensors in training_step"


@dataclass(frozen=True)
class ModuleOutput(_Forward):
    """The result of forward. The injector maps output -> output (a tensor, or whatever forward returns)."""


@dataclass(frozen=True)
class HeadInput(_Forward):
    """What enters the last layer of forward that has parameters of its own. The injector maps input -> input.

    Which layer is last shows only when forward is over. So it is the one of the forward before and, until there was
    one, the last that the module registers.
    """

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.taught_head is None:
            return super().inapplicable(profile) or "no layer with parameters runs in what gives the predictions"
        return "" if profile.taught_head else "nothing that learns comes before the last layer"


@dataclass(frozen=True)
class ModuleArguments(InjectionPoint):
    """The arguments that the module is constructed with. The injector maps dict -> dict, defaults included."""

    attach_at = "construct"
    methods = throughout("__init__")

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.takes is None:
            return "the module's class can't be found by its name"
        if not profile.takes:
            return "the module's class takes no arguments"
        return "" if profile.arguments else "no argument of the module is known to be a number or a word"


@dataclass(frozen=True)
class TrainerArguments(InjectionPoint):
    """The arguments that the Trainer is constructed with. The injector maps dict -> dict; only what is given is in it.

    ``callbacks`` is always there, a list. A callback in it may be changed in place; the harness no longer watches it
    then, since what it does is the failure.
    """

    attach_at = "construct"
