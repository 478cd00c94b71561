"""Requirements on the loading of data: datasets with a length, shuffling, workers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.part_facts import Leaf
from faultlab.core.target_profile import TargetProfile


@requirement("sized-dataset")
def _sized_dataset(profile: TargetProfile) -> str:
    if profile.loading is None:
        return "the training data does not come from a DataLoader"
    if profile.loading.samples is None:
        return "the training data has no length"
    return "" if profile.loading.samples > 1 else "the training data is a single sample"


@requirement("sized-loader")
def _sized_loader(profile: TargetProfile) -> str:
    promised = profile.loading is not None and profile.loading.length is not None
    return "" if promised else "the training loader has no length"


@requirement("plain-sampling")
def _plain_sampling(profile: TargetProfile) -> str:
    own = profile.loading is not None and profile.loading.own_sampling
    return "the training loader has custom sampling" if own else ""


@requirement("sized-validation")
def _sized_validation(profile: TargetProfile) -> str:
    if not profile.validation_batches:
        return "there is no validation loop"
    if profile.validation_loading is None:
        return "the validation data does not come from a DataLoader"
    if profile.validation_loading.samples is None:
        return "the validation data has no length"
    return "the validation loader has custom sampling" if profile.validation_loading.own_sampling else ""


@requirement("data-of-its-own-for-validation")
def _separate_validation(profile: TargetProfile) -> str:
    return "validation already uses the training data" if profile.validates_on_training_data else ""


@requirement("validation-inputs")
def _validation_inputs(profile: TargetProfile) -> str:
    if not profile.validation_batches:
        return "there is no validation loop"
    leaves = [profile.validation_leaves[path] for path in profile.contents if path in profile.validation_leaves]
    floating = any(leaf.kind == "floating" and leaf.low is not None for leaf in leaves)
    return "" if floating else "the validation batch does not contain the floating-point inputs of the training"


@requirement("validation-labels")
def _validation_labels(profile: TargetProfile) -> str:
    if not profile.validation_batches:
        return "there is no validation loop"
    leaves = [profile.validation_leaves[path] for path in profile.labels if path in profile.validation_leaves]
    if not leaves:
        return "the validation batch does not contain the labels"
    varied = any(_rows(leaf) > 1 and leaf.low != leaf.high for leaf in leaves)
    return "" if varied else "all labels of a validation batch have the same value"


@requirement("label-per-sample")
def _label_per_sample(profile: TargetProfile) -> str:
    leaves = [profile.leaves[path] for path in profile.labels if path in profile.leaves]
    found = any(_rows(leaf) == profile.batch_size and leaf.low != leaf.high for leaf in leaves)
    return "" if found else "no label has a row for each sample and varies"


@requirement("array-items")
def _array_items(profile: TargetProfile) -> str:
    return "" if profile.loading and profile.loading.arrays else "the items of the dataset contain no array"


@requirement("shuffled-loader")
def _shuffled_loader(profile: TargetProfile) -> str:
    return "" if profile.loading and profile.loading.shuffled else "the training loader does not shuffle"


@requirement("batching-loader")
def _batching_loader(profile: TargetProfile) -> str:
    batches = profile.loading is not None and profile.loading.batch_size is not None
    return "" if batches else "the training loader does not batch"


@requirement("several-in-a-batch")
def _several_in_a_batch(profile: TargetProfile) -> str:
    several = profile.loading is not None and (profile.loading.batch_size or 0) > 1
    return _batching_loader(profile) or ("" if several else "the training loader's batches contain a single sample")


@requirement("several-batches")
def _several_batches(profile: TargetProfile) -> str:
    return "" if profile.steps_per_epoch > 1 else "an epoch has a single batch"


@requirement("workers")
def _workers(profile: TargetProfile) -> str:
    return "" if profile.workers else "the training loader has no workers"


@requirement("several-workers")
def _several_workers(profile: TargetProfile) -> str:
    return _workers(profile) or ("" if profile.workers > 1 else "the training loader has a single worker")


@requirement("fetching-half-way")
def _fetching_half_way(profile: TargetProfile) -> str:
    # Without a length, Lightning fetches one batch ahead.
    early = profile.loading is not None and profile.loading.batches is None
    return "the batches of both steps are fetched in the first step" if early and profile.steps == 2 else ""


def _rows(leaf: Leaf) -> int:
    return leaf.shape[0] if leaf.shape else 0
