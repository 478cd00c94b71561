"""The metrics that a loop computes or decides by between two meetings of its ranks.

A loop of the user's own does not say what it reports. But torchmetrics objects show the values that they compute, and
`ReduceLROnPlateau` the metric that it is stepped with. Of numbers that a loop computes otherwise, only this is known:
whether the ranks have exchanged anything since they began to validate, each its own share of the data.
"""

from __future__ import annotations

import contextlib
import math
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DistributedSampler

from faultlab.guards.support import collective_record, draws, scheduler_calls, trainer_state
from faultlab.guards.support.exchange import ranks_met
from faultlab.guards.support.observed_calls import ObservedCalls

_MOST = 64
"""How many metrics are kept for the next meeting."""
_PLATEAU = "the metric that ReduceLROnPlateau is stepped with"


class Computed(NamedTuple):
    """A number that is meant to be the same on all ranks."""

    name: str
    value: float


class Observer(Protocol):
    """Is called for the torchmetrics objects of the process."""

    def computed(self, metric: Any) -> None:
        """Called when a metric has computed the value of all ranks; it has that once this returns."""

    def forgets(self, metric: Any) -> None:
        """Called before a metric is reset."""


def _sync_context(original: Any) -> Any:
    @contextlib.contextmanager
    def sync_context(self: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        with original(self, *args, **kwargs):
            # In forward, it computes the value of a batch.
            whole = self._is_synced and getattr(self, "_should_unsync", True)
            before = draws.mark() if whole else []
            yield
            # Each rank may draw other samples to compute it from.
            whole = whole and not draws.since(before)
        for observer in CALLS.listening if whole else ():
            observer.computed(self)

    return sync_context


def _reset(original: Any) -> Any:
    def reset(self: Any) -> None:
        for observer in CALLS.listening:
            observer.forgets(self)
        original(self)

    return reset


def _methods() -> Iterator[tuple[Any, str, Any]]:
    # No metric can have been made yet without the import.
    if (known := sys.modules.get("torchmetrics.metric")) is not None:
        yield known.Metric, "sync_context", _sync_context
        yield known.Metric, "reset", _reset


CALLS: ObservedCalls[Observer] = ObservedCalls(_methods)


class ComputedMetrics:
    """The metrics that one rank's loop computes from its validations, until they are taken.

    Args:
        module: The module that trains. Metrics that are computed while it is in training mode are not kept.
        validation: The validation loader, None if unknown.
    """

    def __init__(self, module: Any, validation: Any) -> None:
        self._module = module
        self._found: list[tuple[str, Callable[[], Any] | float]] = []
        self._batches = self._begun = 0
        self._is_shared_out = _is_shared_out(validation)
        self._record = collective_record.begin()
        CALLS.observe(self)
        scheduler_calls.CALLS.observe(self.scheduled)

    def leave(self) -> None:
        """Observe nothing any more."""
        CALLS.leave(self)
        scheduler_calls.CALLS.leave(self.scheduled)
        collective_record.end(self._record)
        self._found = []

    def take(self) -> list[Computed]:
        """Return what was computed since the last time, in order."""
        found, self._found = [(name, _number(value)) for name, value in self._found], []
        return [Computed(name, value) for name, value in found if value is not None]

    def take_apart(self) -> bool:
        """Return whether the loop has validated since the last time, and the ranks have exchanged nothing from then."""
        batches, self._batches = self._batches, 0
        return bool(batches and self._is_shared_out and self._record.exchanges == self._begun)

    def validated(self) -> None:
        """Note that the loop has validated on a batch."""
        if not self._batches:
            self._begun = self._record.exchanges
        self._batches += 1

    def scheduled(self, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        """Note the metric that a scheduler is about to be stepped with."""
        if isinstance(scheduler, ReduceLROnPlateau):
            value = trainer_state.number(args[0] if args else kwargs.get("metrics"))
            if value is not None:
                self._keep(_PLATEAU, value)

    def computed(self, metric: Any) -> None:
        if metric.process_group is None and not _trains(self._module):
            # A function may make the metric that it validates with. Lists of all outputs are too large to be kept.
            is_small = not any(isinstance(state, list) for state in metric._defaults.values())
            self._keep(type(metric).__name__, (lambda: metric) if is_small else weakref.ref(metric))

    def forgets(self, metric: Any) -> None:
        for place, (name, found) in enumerate(self._found):
            if not isinstance(found, float) and found() is metric:
                value = _number(found)
                self._found[place] = name, math.nan if value is None else value

    def _keep(self, name: str, value: Callable[[], Any] | float) -> None:
        if len(self._found) < _MOST:
            self._found.append((name, value))


def _number(found: Callable[[], Any] | float) -> float | None:
    if isinstance(found, float):
        return found
    return trainer_state.number(getattr(found(), "_computed", None))


def _trains(module: Any) -> bool:
    # A loop may turn only the module in its wrapper.
    own = getattr(module, "module", module)
    return bool(module.training and getattr(own, "training", True))


def _is_shared_out(loaders: Any) -> bool:
    """Return whether each rank gets a part of its own of the data of some loaders."""
    listed: Iterable[Any] = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    samplers = [getattr(loader, "sampler", None) for loader in listed]
    return all(isinstance(one, DistributedSampler) and one.num_replicas == ranks_met() for one in samplers)
