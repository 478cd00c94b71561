"""In the victim: changes of what a training and its evaluation get from their loaders.

A loader that is iterated over without gradients is taken for one of the evaluation.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import dataloader, sampler

from faultlab.core.patching import Patches
from faultlab.doctor.experiments.changes import Applied, change

_KEPT = 64


@change("order")
def _order(applied: Applied, patches: Patches, shuffled: bool) -> None:
    """Draw each sample once in a random order, where a sampler of torch would do otherwise."""

    def in_order(iterate: Callable[..., Any]) -> Callable[..., Any]:
        def around(one: Any) -> Iterator[int]:
            applied.note("order")
            return iter(torch.randperm(len(one.data_source)).tolist())

        return around

    def weighted(iterate: Callable[..., Any]) -> Callable[..., Any]:
        def around(one: Any) -> Iterator[int]:
            applied.note("order")
            return iter(torch.randperm(len(one.weights))[: one.num_samples].tolist())

        return around

    patches.wrap(sampler.SequentialSampler, "__iter__", in_order)
    patches.wrap(sampler.WeightedRandomSampler, "__iter__", weighted)


@change("one batch")
def _one_batch(applied: Applied, patches: Patches, on: bool) -> None:
    """Let each loader yield its first batch again and again."""
    first: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def make(advance: Callable[..., Any]) -> Callable[..., Any]:
        def around(stream: Any) -> Any:
            batch = advance(stream)
            try:
                known = first.setdefault(stream._dataset, batch)
            except TypeError:  # a list, which can't be referred to weakly
                return batch
            applied.note("one batch")
            return known

        return around

    patches.wrap(dataloader._BaseDataLoaderIter, "__next__", make)


@change("training data")
def _training_data(applied: Applied, patches: Patches, on: bool) -> None:
    """Let the evaluation get batches of the training."""
    trained: list[Any] = []
    served = [0]

    def make(advance: Callable[..., Any]) -> Callable[..., Any]:
        def around(stream: Any) -> Any:
            batch = advance(stream)
            if torch.is_grad_enabled():
                if len(trained) < _KEPT:
                    trained.append(batch)
            elif trained and _form(batch) == _form(trained[0]):
                applied.note("training data")
                served[0] += 1
                return trained[served[0] % len(trained)]
            return batch

        return around

    patches.wrap(dataloader._BaseDataLoaderIter, "__next__", make)


def _form(batch: Any) -> Any:
    """Return what two batches of the same kind have in common, whatever their sizes."""
    if isinstance(batch, torch.Tensor):
        return str(batch.dtype), tuple(batch.shape[1:])
    if isinstance(batch, dict):
        return {key: _form(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [_form(value) for value in batch]
    return type(batch).__name__
