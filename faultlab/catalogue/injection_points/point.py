"""The base class of injection points: places in a training where a fault can act, as data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from faultlab.core import framework_names
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
    """Return the same method for every stage."""
    return dict.fromkeys(STAGES, method)


@dataclass(frozen=True)
class InjectionPoint:
    """The base class of injection points. A hook attaches a framework to one (see `faultlab.injection.hooks`).

    Attributes:
        kind: How an injector acts: "map" maps a value to another, "around" wraps a call, and "in_place" changes its
            argument in place and returns nothing.
        leaves: The aspects that a fault at this point cannot change, among those that ready-made guards judge
            (`faultlab.guards.Guard.judges`): batches, forward, backward, metrics.
        methods: For each stage, the method of a module that would contain such a fault in the source; a stage may have
            none.
        trainer_part: The part that only trainings by a Trainer have, for the reason why it can't be broken in loops.
    """

    kind: ClassVar[Kind] = "map"
    trainer_part: ClassVar[str] = ""
    leaves: ClassVar[frozenset[str]] = frozenset()
    methods: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        """The name of the class."""
        return type(self).__name__

    @property
    def kin(self) -> tuple[type[InjectionPoint], ...]:
        """The class and its base classes; a point without its own hook uses that of the nearest base class."""
        return tuple(cls for cls in type(self).__mro__ if issubclass(cls, InjectionPoint) and cls is not InjectionPoint)

    @property
    def about(self) -> str:
        """The docstring, in one line."""
        return " ".join((inspect.getdoc(type(self)) or "").split())

    @property
    def attach_at(self) -> Attachment:
        """The latest time for attaching the hook: before the target is built, before fit, or at a step."""
        return "step"

    def hooked(self, profile: TargetProfile) -> bool:
        """Return whether the target's framework has a hook for this point; True if that is unknown."""
        return profile.seams is None or any(kin.__name__ in profile.seams for kin in self.kin)

    def unhooked(self, profile: TargetProfile) -> str:
        """Return the reason why the target's framework has nothing to break at this point, or an empty string."""
        if self.hooked(profile):
            return ""
        if self.trainer_part and profile.by_hand:
            return f"only {framework_names.title()} has {self.trainer_part}"
        part = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).lower()
        return f"`framework: {profile.framework}` has no {part} that faultlab can break"

    def inapplicable(self, profile: TargetProfile) -> str:
        """Return the reason why the target never reaches this point, or an empty string."""
        return ""
