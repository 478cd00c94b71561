"""The process itself, and the random numbers that it draws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data._utils import fetch

from faultlab.core import resource_limits
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.injection.loader_workers import Workers
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed


@dataclass(frozen=True)
class Process(Seam):
    """A process of the training. The injector does something to it, from which it may not return.

    It is the main process, as a training step begins; with ``worker=True`` the one of a loader's workers that fetches
    the batch of the trigger's step, when the victim waits for it.
    """

    worker: bool = False

    @property
    def attach_at(self) -> str:  # type: ignore[override]
        """A worker is a copy of the process that starts it, so it has to be armed by then."""
        return "fit" if self.worker else "step"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        if self.worker:
            workers = Workers(armed)
            for fetcher in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
                patches.wrap(fetcher, "fetch", lambda get: _in_worker(armed, workers, get))
        else:
            # Whatever the injector leaves the process to do with is what it had once the fault is taken off.
            patches.on_exit(resource_limits.remember())
            # By way of Lightning and not of the class: a training that is resumed may have a module of another one.
            for namespace in namespaces.loaded():
                calls = namespaces.part(namespace, "trainer:call")
                patches.wrap(calls, "_call_strategy_hook", lambda call: _in_step(armed, call))

    def inapplicable(self, recon: Recon) -> str:
        return "" if not self.worker or recon.workers else "the training loader has no workers"


def _in_worker(armed: Armed, workers: Workers, get: Callable[..., Any]) -> Callable[..., Any]:
    def fetching(fetcher: Any, *args: Any, **kwargs: Any) -> Any:
        if workers.fetch_for(fetcher) == "step" and armed.due(turns="one"):
            workers.wait_for_victim()
            armed.strike()
        return get(fetcher, *args, **kwargs)

    return fetching


def _in_step(armed: Armed, call: Callable[..., Any]) -> Callable[..., Any]:
    def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
        if hook == "training_step" and armed.due("train"):
            armed.strike()
        return call(trainer, hook, *args, **kwargs)

    return calling


@dataclass(frozen=True)
class RandomState(Seam):
    """The state of the process's random numbers. The injector changes it in place.

    ``before`` is ``step``, as each training step begins, or ``construction``, as the first module of all is built: a
    network that is passed to the target's constructor has its weights before that begins.
    """

    before: str = "step"

    @property
    def attach_at(self) -> str:  # type: ignore[override]
        """See Seam."""
        return "construct" if self.before == "construction" else "step"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(call: Callable[..., Any]) -> Callable[..., Any]:
            def changing(*args: Any, **kwargs: Any) -> Any:
                again = self.before == "construction" and armed.activations
                if not again and armed.due("train"):
                    armed.in_place(None, _random_state)
                return call(*args, **kwargs)

            return changing

        if self.before == "step":
            patches.wrap(site.owner("training_step"), "training_step", make)
        else:
            patches.wrap(torch.nn.Module, "__init__", make)


def _random_state(_: Any) -> list[Any]:
    import numpy

    return [torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()]  # type: ignore[index]
