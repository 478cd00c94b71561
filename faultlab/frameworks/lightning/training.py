"""A training by a Lightning Trainer, as a run's session drives it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from faultlab.core.asking import asked
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.base import Assembly, BuildAgain
from faultlab.frameworks.lightning import confinement, evaluation, namespaces, private_api, ranks, resume
from faultlab.frameworks.lightning.probe import Probe
from faultlab.frameworks.lightning.recorder import count_logger_calls, first_batch, of_hooks, recorder
from faultlab.frameworks.lightning.seams.construction import in_precision
from faultlab.frameworks.lightning.target import Built
from faultlab.frameworks.profiling import Profiling
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site
from faultlab.sandbox.overlay import Overlay


class LightningTraining:
    """One Trainer and its built target; see `faultlab.frameworks.base.Training`."""

    def __init__(self, built: Built, trainer: Any, trajectory: Trajectory, clock: Clock) -> None:
        self.built = built
        self.trainer = trainer
        self._trajectory = trajectory
        self._clock = clock

    @classmethod
    def of(cls, built: Built, wanted: Assembly) -> LightningTraining:
        """Create the Trainer; the run's additions come after the user's own callbacks."""
        arguments = ranks.for_this_process({**built.trainer_arguments, **wanted.changed}, built.ranks)
        if wanted.checkpoints is not None:
            arguments = resume.with_checkpoints(arguments, built.namespace, wanted.root, *wanted.checkpoints)
        extra = [of_hooks(wanted.beside)] if wanted.beside is not None else []
        if wanted.interruption is not None:
            extra.append(resume.interruption(built.namespace, *wanted.interruption))
        if wanted.first_batch is not None:
            extra.append(first_batch(built.namespace, wanted.first_batch))
        extra.append(recorder(built.namespace, wanted.trajectory, wanted.clock))
        arguments["callbacks"] = [*arguments["callbacks"], *extra]
        trainer = built.trainer_class(**arguments)
        ranks.take_part(trainer)
        confinement.move(trainer, wanted.root)
        return cls(built, trainer, wanted.trajectory, wanted.clock)

    @property
    def module(self) -> Any:
        return self.built.module

    @module.setter
    def module(self, fresh: Any) -> None:
        self.built = replace(self.built, module=fresh)

    @property
    def guards(self) -> Mapping[str, Any]:
        return self.built.guards

    def run(self) -> None:
        self.trainer.fit(self.module, **self.built.fit)

    def step(self) -> tuple[Any, str] | None:
        cls = type(self.module)
        return (cls, "training_step") if namespaces.overrides(cls, "training_step") else None

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        confinement.confine(patches, overlay, root, saved_at)

    def named_folders(self) -> Iterable[str]:
        return confinement.named_folders(self.trainer, self.module)

    def relocate(self, old_root: str, new_root: str) -> None:
        for owner in [self.trainer, *self.trainer.callbacks, *self.trainer.loggers, *self._experiments()]:
            for name, value in list(asked(owner, "__dict__", {}).items()):
                moved = _moved(value, old_root, new_root)
                if moved is not value:
                    with contextlib.suppress(AttributeError):
                        setattr(owner, name, moved)

    def _experiments(self) -> Iterator[Any]:
        for logger in self.trainer.loggers:
            if (experiment := asked(logger, private_api.EXPERIMENT)) is not None:
                yield experiment

    def watch_loggers(self, patches: Patches) -> None:
        count_logger_calls(self.trainer.loggers, self._trajectory, patches)

    def profiling(self) -> Probe:
        return Probe(Site(type(self.module), self.module), self._clock)

    def profile(self, learnt: Profiling) -> TargetProfile:
        return learnt.profile(self.trainer, self._trajectory.steps, self._trajectory.validation_batches)

    def resume(self, epochs: int, build_again: BuildAgain) -> LightningTraining:
        return resume.go_on(self.trainer, epochs, build_again)

    def evaluate_best(self, build_again: BuildAgain) -> None:
        resume.evaluate_best(self, self._trajectory, build_again)

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        own = self.trainer.precision
        return in_precision(own, self.built.trainer_arguments) if precision not in (None, own) else {}

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        return evaluation.evaluate(self.built, validates, settings)

    def parts(self) -> Iterator[Any]:
        yield self.module
        yield self.built.trainer_class
        yield from self.built.fit.values()

    def versions(self) -> dict[str, str]:
        names = ["torch", self.built.namespace.__name__.partition(".")[0]]
        return {
            name.replace("pytorch_", ""): str(getattr(importlib.import_module(name), "__version__", ""))
            for name in names
        }


def _moved(value: Any, old_root: str, new_root: str) -> Any:
    if isinstance(value, (str, Path)):
        return type(value)(new_root + str(value)[len(old_root) :]) if str(value).startswith(old_root) else value
    if type(value) is dict:
        moved = {_moved(k, old_root, new_root): _moved(v, old_root, new_root) for k, v in value.items()}
        return moved if list(moved) != list(value) or any(moved[key] is not value[key] for key in value) else value
    return value
