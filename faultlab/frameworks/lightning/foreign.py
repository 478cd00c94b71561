"""LightningModules and Trainers that faultlab did not build; see `faultlab.frameworks.foreign.Foreign`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.foreign import Moments
from faultlab.frameworks.lightning import copied_ranks, interrupted, namespaces, private_api
from faultlab.frameworks.lightning.probe import Probe
from faultlab.frameworks.lightning.recorder import count_logger_calls, recorder
from faultlab.frameworks.lightning.seams.callbacks import named_callbacks
from faultlab.frameworks.lightning.seams.steps import STEP_METHODS
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site


class ForeignLightning:
    """Modules and Trainers under either of Lightning's names; see `faultlab.frameworks.foreign.Foreign`."""

    module_name = "LightningModule"
    steps: Mapping[str, str] = STEP_METHODS

    def imported(self) -> bool:
        return bool(namespaces.loaded())

    def copy_ranks(self, patches: Patches) -> None:
        copied_ranks.attach(patches)

    def bases(self) -> list[type]:
        return [sys.modules[name].LightningModule for name in namespaces.loaded()]

    def base_of(self, cls: type) -> type:
        return namespaces.base_module(cls)

    def overrides(self, cls: type, hook: str) -> bool:
        return namespaces.overrides(cls, hook)

    def around_runs(self, patches: Patches, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        for trainer in _trainers():
            patches.wrap(trainer, private_api.RUN, around)

    def purpose(self, trainer: Any) -> str:
        return str(getattr(trainer.state.fn, "value", trainer.state.fn))

    @contextmanager
    def recorded(self, trainer: Any, module: Any, clock: Clock, trajectory: Trajectory) -> Iterator[None]:
        watcher = recorder(sys.modules[namespaces.namespace_of(type(module))], trajectory, clock)
        trainer.callbacks.append(watcher)
        clock.trainer = trainer
        try:
            yield
        finally:
            clock.trainer = None
            if watcher in trainer.callbacks:
                trainer.callbacks.remove(watcher)

    def watch_loggers(self, trainer: Any, trajectory: Trajectory, patches: Patches) -> None:
        count_logger_calls(trainer.loggers, trajectory, patches)

    def watch_saves(self, trainer: Any, steps: set[int], patches: Patches) -> None:
        def noting(save: Callable[..., Any]) -> Callable[..., Any]:
            def saving(trainer: Any, *args: Any, **kwargs: Any) -> Any:
                steps.add(int(trainer.global_step))
                return save(trainer, *args, **kwargs)

            return saving

        patches.wrap(type(trainer), "save_checkpoint", noting)

    def metrics(self, trainer: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = trainer.callback_metrics
        return found

    def profiling(self, module: Any, clock: Clock) -> Probe:
        return Probe(Site(type(module), module), clock)

    def write_below(self, folder: str, patches: Patches) -> None:
        home = os.getcwd()
        for trainer in _trainers():
            own = trainer.default_root_dir.fget  # type: ignore[attr-defined]

            def elsewhere(self: Any, own: Any = own) -> str:
                found = str(own(self))
                return folder if found == home else found

            patches.set(trainer, "default_root_dir", property(elsewhere))

    def watch_guards(self, patches: Patches, observe: Callable[[Any, str], Any]) -> None:
        watched: list[Any] = []

        def make(attach: Callable[..., Any]) -> Callable[..., Any]:
            def attaching(connector: Any, *args: Any, **kwargs: Any) -> Any:
                result = attach(connector, *args, **kwargs)
                for name, callback in named_callbacks(connector.trainer):
                    if callback not in watched:
                        watched.append(callback)
                        observe(callback, name)
                return result

            return attaching

        # The module's own callbacks are in the last group that is attached.
        for namespace in namespaces.loaded():
            connector = private_api.part(namespace, private_api.CALLBACK_CONNECTOR)
            patches.wrap(connector, private_api.ATTACH_CALLBACKS, make)

    def fit(
        self,
        made: Any,
        arguments: Mapping[str, Any],
        moments: Moments,
        *,
        stop_after: int = 0,
        resume: str | None = None,
    ) -> Any:
        return interrupted.fit(made, arguments, moments, stop_after=stop_after, resume=resume)

    def parts_of(self, trainer: Any) -> dict[str, Any]:
        return interrupted.parts_of(trainer)

    def versions(self) -> dict[str, str]:
        packages = [name.partition(".")[0] for name in namespaces.loaded()]
        return {name.replace("pytorch_", ""): str(getattr(sys.modules[name], "__version__", "")) for name in packages}


def _trainers() -> list[type]:
    """Return the Trainer of each imported namespace."""
    return [sys.modules[name].Trainer for name in namespaces.loaded()]
