"""Requirements on the ranks of the training."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import TargetProfile


@requirement("several-ranks")
def _several_ranks(profile: TargetProfile) -> str:
    return "" if profile.ranks > 1 else "the training has one rank"


@requirement("synced-metrics")
def _synced_metrics(profile: TargetProfile) -> str:
    return "" if profile.synced else "the module logs nothing with sync_dist=True"


@requirement("own-sampler")
def _own_sampler(profile: TargetProfile) -> str:
    return "" if profile.shards else "the training loader has no DistributedSampler"


@requirement("synced-validation")
def _synced_validation(profile: TargetProfile) -> str:
    if not (profile.synced and profile.logged_in_validation):
        return "the module logs nothing with sync_dist=True in validation"
    batches = profile.validation_loading.batches if profile.validation_loading else None
    return "" if batches is None or batches > 1 else "each rank validates on a single batch"


@requirement("several-validation-metrics")
def _several_validation_metrics(profile: TargetProfile) -> str:
    return "" if len(profile.logged_in_validation) > 1 else "the module logs a single metric in validation"
