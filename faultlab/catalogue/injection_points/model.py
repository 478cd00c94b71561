"""Injection points of the model: its layers, its weights, its forward, and the arguments of module and Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import InjectionPoint, throughout

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile


@dataclass(frozen=True)
class Architecture(InjectionPoint):
    """The module after construction and before fit. The injector changes the module's layers or modes in place.

    The change affects only this module and persists; the next run builds another module. If the user's code builds the
    modules, each of them is changed when its constructor ends. If there is nothing to change yet, because the module
    creates its layers in ``setup`` or ``configure_model``, the injector runs when they exist.
    """

    kind = "in_place"
    attach_at = "fit"
    leaves = frozenset({"batches"})
    methods = throughout("__init__")


@dataclass(frozen=True)
class Weights(InjectionPoint):
    """The parameters and buffers at the start of a training step. The injector changes them in place.

    A change of values, of `requires_grad` or of the set of tensors counts as an activation.
    """

    kind = "in_place"
    leaves = frozenset({"batches", "forward", "metrics"})
    methods = throughout("__init__")


@dataclass(frozen=True)
class _Forward(InjectionPoint):
    leaves = frozenset({"batches"})
    methods = throughout("forward")

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.forward is not None else "no part of the model returns tensors in a training step"


@dataclass(frozen=True)
class ModuleOutput(_Forward):
    """The result of forward. The injector maps output -> output (a tensor, or any other type that forward returns)."""


@dataclass(frozen=True)
class HeadInput(_Forward):
    """The input of the last layer of forward with its own parameters. The injector maps input -> input.

    The last layer is known only when forward ends. Therefore the last layer of the previous forward is used and, in the
    first one, the last layer that the module registers.
    """

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.taught_head is None:
            return (
                super().inapplicable(profile)
                or "no layer with parameters runs in the part that computes the predictions"
            )
        return "" if profile.taught_head else "there is nothing trainable before the last layer"


@dataclass(frozen=True)
class ModuleArguments(InjectionPoint):
    """The arguments of the module's constructor, including defaults. The injector maps dict -> dict."""

    attach_at = "construct"
    methods = throughout("__init__")
    trainer_part = "a module whose arguments the scenario names; here the training constructs it"

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.takes is None:
            return "the module's class cannot be found by its name"
        if not profile.takes:
            return "the module's class takes no arguments"
        return "" if profile.arguments else "no argument of the module is known to be a number or a string"


@dataclass(frozen=True)
class TrainerArguments(InjectionPoint):
    """The explicit arguments of the Trainer's constructor. The injector maps dict -> dict.

    ``callbacks`` is always present, as a list. A callback in it may be changed in place; the harness then no longer
    observes it, because its behavior is the failure. ``in_loops`` is the failure mode that does the same to a loop.
    """

    in_loops: str = ""
    attach_at = "construct"
    trainer_part = "a Trainer with these arguments"

    def unhooked(self, profile: TargetProfile) -> str:
        reason = super().unhooked(profile)
        return f"{reason}; {self.in_loops} does the same to a loop" if reason and self.in_loops else reason
