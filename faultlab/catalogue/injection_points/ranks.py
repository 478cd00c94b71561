"""Injection points of trainings on several ranks: their launch, collectives, replicas and samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points.point import InjectionPoint

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile

_AFTER_FORWARD = frozenset({"batches", "forward", "metrics"})


@dataclass(frozen=True)
class OfRanks(InjectionPoint):
    """The base class of points that only trainings on several ranks reach."""

    def inapplicable(self, profile: TargetProfile) -> str:
        return "" if profile.ranks > 1 else "the training has one rank"


@dataclass(frozen=True)
class Collective(OfRanks):
    """A collective of the process group. The injector receives the call, which returns when the collective has ended.

    The call accepts other arguments than those of the training. ``ctx.memory["collective"]`` has its name, its
    arguments, its tensors, which hold the result after the call, and the number of ranks; its method ``skipped``
    returns the work of a collective that does not take place. With ``of="gradients"``, only those that a backward pass
    calls, as DistributedDataParallel's reducer does; ``called`` names the collective, such as ``barrier``.
    """

    of: str = ""
    called: str = ""
    kind = "around"
    leaves = _AFTER_FORWARD

    def inapplicable(self, profile: TargetProfile) -> str:
        alike = bool(profile.sharded) and profile.shards and profile.replicas == 1
        if self.of == "gradients" and alike:
            return "all ranks train on the same samples, so they average no gradients"
        return super().inapplicable(profile)


@dataclass(frozen=True)
class OfReplicas(OfRanks):
    """The base class of points of DistributedDataParallel."""

    def inapplicable(self, profile: TargetProfile) -> str:
        shared = "the ranks share the parameters: no replica is wrapped"
        return shared if profile.sharded else super().inapplicable(profile)


@dataclass(frozen=True)
class Replica(OfReplicas):
    """The forward of DistributedDataParallel around the module. The injector receives the call.

    ``ctx.memory["replica"]`` is the wrapper. Whether it synchronizes during the call holds for the backward too.
    """

    kind = "around"
    leaves = frozenset({"batches", "metrics"})


@dataclass(frozen=True)
class Sharding(OfRanks):
    """The modules that FSDP2 has sharded, at the start of a training step. The injector changes their settings.

    A change of how they reduce gradients counts as an activation.
    """

    kind = "in_place"
    trainer_part = "the hook configure_model, in which FSDP2 shards a module"
    leaves = _AFTER_FORWARD

    def inapplicable(self, profile: TargetProfile) -> str:
        return super().inapplicable(profile) or ("" if profile.sharded == "fully" else "FSDP2 shards no module")


@dataclass(frozen=True)
class ReplicaArguments(OfReplicas):
    """The arguments of DistributedDataParallel, by name, with ``module``. The injector maps dict -> dict.

    A function that the injector stores as ``ctx.memory["constructed"]`` is called with the new wrapper.
    """

    attach_at = "fit"
    leaves = frozenset({"batches", "metrics"})


@dataclass(frozen=True)
class SamplerArguments(OfRanks):
    """The arguments of the DistributedSampler that shards the data, by name. The injector maps dict -> dict."""

    trainer_part = "samplers that the framework constructs; here the training constructs its own"
    attach_at = "fit"
    leaves = frozenset({"backward", "forward", "metrics"})


@dataclass(frozen=True)
class Launch(OfRanks):
    """The variables that a launcher sets for each rank, such as NODE_RANK. The injector maps dict -> dict.

    They are changed before the framework reads its ranks from them. The ranks of faultlab have met before, at a file;
    a rank that is given another address or port also opens the store that torch would open there.
    """

    trainer_part = "a launch that the framework reads; here the training reads the environment itself"
    attach_at = "fit"
    leaves = frozenset({"backward", "batches", "forward", "metrics"})


@dataclass(frozen=True)
class SamplerEpoch(OfRanks):
    """The call ``set_epoch`` of a DistributedSampler with another epoch. The injector receives the call.

    The call accepts another epoch.
    """

    kind = "around"
    leaves = frozenset({"backward", "forward", "metrics"})
