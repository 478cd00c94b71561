"""Injection points of the data: the batches of a loader, the items of a dataset, and how both are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_LOADERS, InjectionPoint, throughout
from faultlab.core.target_profile import NO_BATCH

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_NO_LOADER = "the training data does not come from a DataLoader"
_BEFORE_FORWARD = frozenset({"backward", "metrics"})


@dataclass(frozen=True)
class Batch(InjectionPoint):
    """The batches that the loader yields.

    Without a role, the injector maps batch -> batch. With ``role`` (inputs or labels), it maps tensor -> tensor, for
    every leaf of the batch with that role except masks, lengths and indices among the inputs; ``wanted`` (floating,
    integer or any) restricts the leaves. Batches are never modified in place: they may share storage with the dataset,
    and one broken batch would then affect every later epoch.
    """

    role: str = ""
    wanted: str = "any"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS

    def paths(self, profile: TargetProfile) -> tuple[str, ...]:
        """Return the leaves of the batch with this role."""
        return profile.contents if self.role == "inputs" else profile.labels

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.batch == NO_BATCH:
            return _NO_LOADER
        if not self.role:
            return ""
        paths = self.paths(profile)
        if not paths:
            return profile.unlabelled if self.role == "labels" else "no part of the batch is used as an input"
        # Complex and sparse tensors, which injectors do not receive, have no lowest value.
        kinds = {leaf.kind for path in paths if (leaf := profile.leaves.get(path)) and leaf.low is not None}
        if not kinds or (self.wanted != "any" and self.wanted not in kinds):
            return f"the {self.role} contain no {self.wanted.replace('any', 'ordinary')} tensor"
        return ""


@dataclass(frozen=True)
class Loader(InjectionPoint):
    """The stream of batches. The injector maps Stream -> Stream once per epoch (see `faultlab.injection.values`)."""

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS

    def inapplicable(self, profile: TargetProfile) -> str:
        return _NO_LOADER if profile.batch == NO_BATCH else ""


@dataclass(frozen=True)
class LoaderArguments(InjectionPoint):
    """The arguments of each DataLoader that the framework receives. The injector maps Loading -> Loading."""

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.loading else _NO_LOADER


@dataclass(frozen=True)
class Loaders(InjectionPoint):
    """The loaders that the framework receives: one, or several in lists and dicts.

    The injector maps loaders -> loaders, whether a hook of the target returns them or they are passed to ``fit``.
    """

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS
    trainer_part = "a Trainer that is given the loaders; here the training iterates over its own"


@dataclass(frozen=True)
class Sample(InjectionPoint):
    """The items of the dataset when they are fetched for a batch. The injector maps item -> item.

    It also runs in the loaders' workers, which are copies of the victim: the victim's own process does not see the
    injector's memory there. A step's trigger acts at one item, the first of the batch that the step waits for; if the
    loader has no length, Lightning waits for each batch one step early.
    """

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = throughout("__getitem__")

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.loading is None:
            return _NO_LOADER
        return "the dataset returns whole batches instead of single items" if profile.loading.whole_batches else ""
