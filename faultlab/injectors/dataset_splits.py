"""dataset: failure modes of how the data is split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, default_convert

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import LoaderArguments
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading

_convert: Callable[[Any], Any] = default_convert


class _Converted(Dataset[Any]):
    """Samples whose arrays are converted to tensors."""

    def __init__(self, samples: Any) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return _convert(self._samples[index])


@failure_mode(
    "dataset.validation-overlaps",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("leak", "overlap", "same data", "disjoint", "duplicat", "training data"),
    stages=("validate",),
    needs=("sized-dataset", "sized-validation", "data-of-its-own-for-validation"),
    doses=(Dose("fraction", 0.3, 0.0, 1.0, "fraction of the validation samples that are training samples"),),
    judged_by="report",
    evidence=("abdoelsayed2016/TNCR_Dataset#3", "tqwei05/PlantSeg#11"),
)
def overlap(loading: Loading, ctx: Context) -> Loading:
    """Part of the validation samples are training samples.

    Effect: no error or warning is raised, and training is healthy. Validation measures memorized samples along with
    new ones, so the metric is too good, by more the longer the training lasts.
    Why it goes undetected: the curves of training and validation still differ, as they should, and the datasets are
    different objects of different sizes.
    Example:
        train, validation = train_test_split(photos)        # several photos of each patient
    Remedy: compare hashes of the samples of both datasets; split by patient, scene or source.
    """
    assert loading.training is not None
    training: Any = loading.training().dataset
    own: Any = loading.dataset
    if isinstance(own, IterableDataset) or isinstance(training, IterableDataset):
        return loading
    indices = list(range(len(own)))
    places = torch.randperm(len(own), generator=ctx.generator)[: round(ctx.dose.fraction * len(own))].tolist()
    for place in places:
        indices[place] = len(own) + int(torch.randint(len(training), (), generator=ctx.generator))
    if _types(_convert(own[0])) == _types(own[0]) != _types(training[0]):
        # One split was loaded as arrays, and a batch can't hold both.
        training = _Converted(training)
    return replace(loading, dataset=Subset(ConcatDataset([own, training]), indices))


def _types(sample: Any) -> list[type]:
    parts = sample.values() if isinstance(sample, dict) else sample if isinstance(sample, (list, tuple)) else [sample]
    return [type(part) for part in parts]
