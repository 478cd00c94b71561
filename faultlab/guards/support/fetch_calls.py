"""Observation of the fetching of batches in this process, by loaders without workers, while anyone observes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch.utils.data import dataloader

from faultlab.guards.support.observed_calls import ObservedCalls

_OWNER, _NAME = getattr(dataloader, "_SingleProcessDataLoaderIter", None), "_next_data"


class Observer(Protocol):
    """Is called around the reading of the samples of each batch."""

    def before_fetch(self, dataset: Any) -> None:
        """Called before samples are read from a loader's dataset."""

    def after_fetch(self, dataset: Any) -> None:
        """Called after they were read, unless that raised an exception."""


def _fetched(original: Any) -> Any:
    def next_data(iterator: Any) -> Any:
        dataset, observers = getattr(iterator, "_dataset", None), CALLS.listening
        for observer in observers:
            observer.before_fetch(dataset)
        data = original(iterator)
        for observer in observers:
            observer.after_fetch(dataset)
        return data

    return next_data


def _functions() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    if _OWNER is not None and _NAME in vars(_OWNER):
        yield _OWNER, _NAME, _fetched


CALLS: ObservedCalls[Observer] = ObservedCalls(_functions)
