"""The data: batches as loaders yield them, the items of a dataset, and how both are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import IN_LOADERS, InjectionPoint, throughout

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_BEFORE_FORWARD = frozenset({"backward", "metrics"})


@dataclass(frozen=True)
class Batch(InjectionPoint):
    """The batches that the loader yields.

    Without a role the injector maps batch -> batch. With ``role`` (inputs or labels) it maps tensor -> tensor, for
    every leaf of the batch that plays it, but for masks, lengths and indices among the inputs; ``wanted`` (floating,
    integer or any) narrows the leaves. Batches are never written into: they may share storage with the dataset, and one
    broken batch would poison every later epoch.
    """

    role: str = ""
    wanted: str = "any"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS

    def paths(self, profile: TargetProfile) -> tuple[str, ...]:
        """The leaves of the batch that play the role."""
        return profile.contents if self.role == "inputs" else profile.labels

    def inapplicable(self, profile: TargetProfile) -> str:
        if not self.role:
            return ""
        paths = self.paths(profile)
        if not paths:
            return profile.unlabelled if self.role == "labels" else "no part of the batch is used as inputs"
        # Complex and sparse tensors, which injectors are spared, have no lowest value either.
        kinds = {leaf.kind for path in paths if (leaf := profile.leaves.get(path)) and leaf.low is not None}
        if not kinds or (self.wanted != "any" and self.wanted not in kinds):
            return f"the {self.role} hold no {self.wanted.replace('any', 'ordinary')} tensor"
        return ""


@dataclass(frozen=True)
class Loader(InjectionPoint):
    """How batches arrive. The injector maps Stream -> Stream once an epoch (see `faultlab.injection.values`)."""

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS


@dataclass(frozen=True)
class LoaderArguments(InjectionPoint):
    """The arguments of each DataLoader when the framework takes it over. The injector maps Loading -> Loading."""

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.loading else "the training data comes from no DataLoader"


@dataclass(frozen=True)
class Loaders(InjectionPoint):
    """What the framework is given when it asks for loaders: one, or several in lists and dicts.

    The injector maps loaders -> loaders, whether a hook of the target's returns them or ``fit`` was passed them.
    """

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = IN_LOADERS


@dataclass(frozen=True)
class Sample(InjectionPoint):
    """The items of the dataset, as they are fetched for a batch. The injector maps item -> item.

    It has its turn in the loaders' workers too, which are copies of the victim: what it remembers there the victim's
    own process does not know. A step's trigger acts at one item, the first of the batch that the step waits for; where
    there is no length, Lightning waits for each batch one step early.
    """

    attach_at = "fit"
    leaves = _BEFORE_FORWARD
    methods = throughout("__getitem__")

    def inapplicable(self, profile: TargetProfile) -> str:
        if profile.loading is None:
            return "the training data comes from no DataLoader"
        return "the dataset gives whole batches, and no single items" if profile.loading.whole_batches else ""
