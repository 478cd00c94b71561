"""What an injection point is: a place in a training where a fault may act, as data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from faultlab.core.fault import STAGES

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

Attachment = Literal["construct", "fit", "step"]
Kind = Literal["map", "around", "in_place"]

IN_STEPS: Mapping[str, str] = {
    "train": "training_step",
    "validate": "validation_step",
    "test": "test_step",
    "predict": "predict_step",
}
IN_LOADERS: Mapping[str, str] = {"train": "train_dataloader", "validate": "val_dataloader", "test": "test_dataloader"}


def throughout(method: str) -> Mapping[str, str]:
    """The one method that a point stands for, whatever the stage."""
    return dict.fromkeys(STAGES, method)


@dataclass(frozen=True)
class InjectionPoint:
    """Base of the injection points. How a framework attaches to one is its hook (see `faultlab.injection.hooks`).

    ``kind`` is how an injector acts there: it maps a value to another, is "around" a call, or changes what it is given
    in place and returns nothing. ``leaves`` names what a fault at this point leaves as it is in a healthy training,
    among what ready-made guards judge (`faultlab.guards.Guard.judges`): batches, forward, backward, metrics.
    ``methods`` has for each stage the method of a module that such a fault would be written into, if somebody had made
    it in the source; a stage without one has none.
    """

    kind: ClassVar[Kind] = "map"
    leaves: ClassVar[frozenset[str]] = frozenset()
    methods: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def kin(self) -> tuple[type[InjectionPoint], ...]:
        """Its class and those that it derives from: what has no hook of its own takes the nearest one's."""
        return tuple(cls for cls in type(self).__mro__ if issubclass(cls, InjectionPoint) and cls is not InjectionPoint)

    @property
    def about(self) -> str:
        """What it says of itself, in one line."""
        return " ".join((inspect.getdoc(type(self)) or "").split())

    @property
    def attach_at(self) -> Attachment:
        """The latest place from which the hook may attach: before the target is built, before fit, or at a step."""
        return "step"

    def hooked(self, profile: TargetProfile) -> bool:
        """Whether the target's framework has a hook for it, as far as anybody asked."""
        return profile.seams is None or any(kin.__name__ in profile.seams for kin in self.kin)

    def inapplicable(self, profile: TargetProfile) -> str:
        """Why nothing passes this point on this target, or an empty string."""
        return ""
