"""What a failure mode may need of the loading: datasets with a length, shuffling, workers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import Leaf, Recon


@requirement("sized-dataset")
def _sized_dataset(recon: Recon) -> str:
    if recon.loading is None:
        return "the training data comes from no DataLoader"
    if recon.loading.samples is None:
        return "the training data has no length"
    return "" if recon.loading.samples > 1 else "the training data is a single sample"


@requirement("sized-loader")
def _sized_loader(recon: Recon) -> str:
    promised = recon.loading is not None and recon.loading.length is not None
    return "" if promised else "the training loader has no length"


@requirement("plain-sampling")
def _plain_sampling(recon: Recon) -> str:
    own = recon.loading is not None and recon.loading.own_sampling
    return "the training loader samples in a way of its own" if own else ""


@requirement("sized-validation")
def _sized_validation(recon: Recon) -> str:
    if not recon.validation_batches:
        return "there is no validation loop"
    if recon.validation_loading is None:
        return "the validation data comes from no DataLoader"
    if recon.validation_loading.samples is None:
        return "the validation data has no length"
    return "the validation loader samples in a way of its own" if recon.validation_loading.own_sampling else ""


@requirement("data-of-its-own-for-validation")
def _separate_validation(recon: Recon) -> str:
    return "validation is on the training data already" if recon.validates_on_training_data else ""


@requirement("validation-labels")
def _validation_labels(recon: Recon) -> str:
    if not recon.validation_batches:
        return "there is no validation loop"
    leaves = [recon.validation_leaves[path] for path in recon.labels if path in recon.validation_leaves]
    if not leaves:
        return "the labels are not found in the validation batch"
    varied = any(_rows(leaf) > 1 and leaf.low != leaf.high for leaf in leaves)
    return "" if varied else "the labels of a validation batch all have one value"


@requirement("label-per-sample")
def _label_per_sample(recon: Recon) -> str:
    leaves = [recon.leaves[path] for path in recon.labels if path in recon.leaves]
    found = any(_rows(leaf) == recon.batch_size and leaf.low != leaf.high for leaf in leaves)
    return "" if found else "no label has a row for each sample, and varies"


@requirement("array-items")
def _array_items(recon: Recon) -> str:
    return "" if recon.loading and recon.loading.arrays else "the items of the dataset hold no array"


@requirement("shuffled-loader")
def _shuffled_loader(recon: Recon) -> str:
    return "" if recon.loading and recon.loading.shuffled else "the training loader does not shuffle"


@requirement("batching-loader")
def _batching_loader(recon: Recon) -> str:
    batches = recon.loading is not None and recon.loading.batch_size is not None
    return "" if batches else "the training loader does not batch"


@requirement("several-in-a-batch")
def _several_in_a_batch(recon: Recon) -> str:
    several = recon.loading is not None and (recon.loading.batch_size or 0) > 1
    return _batching_loader(recon) or ("" if several else "the training loader's batches are of a single sample")


@requirement("several-batches")
def _several_batches(recon: Recon) -> str:
    return "" if recon.steps_per_epoch > 1 else "an epoch has a single batch"


@requirement("workers")
def _workers(recon: Recon) -> str:
    return "" if recon.workers else "the training loader has no workers"


@requirement("several-workers")
def _several_workers(recon: Recon) -> str:
    return _workers(recon) or ("" if recon.workers > 1 else "the training loader has a single worker")


@requirement("fetching-half-way")
def _fetching_half_way(recon: Recon) -> str:
    # Without a length Lightning fetches a batch ahead.
    early = recon.loading is not None and recon.loading.batches is None
    return "the batches of both steps are fetched in the first" if early and recon.steps == 2 else ""


def _rows(leaf: Leaf) -> int:
    return leaf.shape[0] if leaf.shape else 0
