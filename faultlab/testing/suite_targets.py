"""The targets that the clean run of a suite finds: the modules that each test builds and trains, and their profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from faultlab.core import packages
from faultlab.core.class_paths import path_of, subclasses
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.registry import default_framework

_NOT_USERS = (*packages.TRAIN, "torchmetrics", "faultlab")


@dataclass
class Use:
    """One unit's use of one class: instances built, training steps, and the longest run's target profile."""

    built: int = 0
    steps: int = 0
    profile: TargetProfile | None = None

    def to_json(self) -> dict[str, Any]:
        return {"built": self.built, "steps": self.steps, "profile": self.profile.to_json() if self.profile else None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Use:
        profile = data["profile"]
        return cls(data["built"], data["steps"], TargetProfile.from_json(profile) if profile else None)


@dataclass
class Learner:
    """A context that watches every module that is not the framework's own.

    ``uses`` is the current unit's, by the dotted path of the class; each unit sets a new dict. ``injected`` is set if
    the unit injects faults itself. ``current`` is the learner that watches this process. Trainers run in ``apart``.
    """

    current: ClassVar[Learner | None] = None

    folder: str = ""
    injected: bool = False
    uses: dict[str, Use] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._framework = default_framework()
        self._foreign = self._framework.foreign
        self.clock = self._framework.clock()
        self._patches = Patches()
        self._wrapped: set[type] = set()
        self._depth = 0
        self.apart: Callable[[], AbstractContextManager[None]] = nullcontext

    def __enter__(self) -> Learner:
        Learner.current = self
        self.clock.attach(self._patches)
        for base in self._foreign.bases():
            self._patches.wrap(base, "__init__", self._constructing)
            for cls in subclasses(base):
                self._watch(cls)
        self._foreign.around_runs(self._patches, self._running)
        if self.folder:
            self._foreign.write_below(self.folder, self._patches)
        return self

    def __exit__(self, *_: Any) -> None:
        Learner.current = None
        self._patches.close()

    def _use(self, module: Any) -> Use:
        return self.uses.setdefault(path_of(type(module)), Use())

    def _watch(self, cls: type) -> None:
        """Count direct calls of the training step, by a wrapper on the class that defines it."""
        if is_users(cls) and cls not in self._wrapped and "training_step" in vars(cls):
            self._wrapped.add(cls)
            self._patches.wrap(cls, "training_step", self._stepping)

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: Any, *args: Any, **kwargs: Any) -> None:
            construct(module, *args, **kwargs)
            if is_users(type(module)):
                self._use(module).built += 1
                for cls in type(module).__mro__:
                    self._watch(cls)

        return constructing

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(module: Any, *args: Any, **kwargs: Any) -> Any:
            if self._depth:
                return step(module, *args, **kwargs)
            self.clock.tick()
            use = self._use(module)
            use.steps += 1
            if use.profile is not None or not (args or kwargs):
                return step(module, *args, **kwargs)
            probe = self._foreign.profiling(module, self._framework.clock())
            self._depth += 1
            try:
                with probe.watching():
                    probe.given(args[0] if args else next(iter(kwargs.values())))
                    output = type(module).training_step(module, *args, **kwargs)
            finally:
                self._depth -= 1
            found = probe.profile(None, 1, 0)
            # The caller may call backward on the loss later, or not at all.
            use.profile = replace(found, losses=max(found.losses, int(_has_loss(output))))
            return output

        return stepping

    def _running(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def running(trainer: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            with self.apart():
                return watched(trainer, model, *args, **kwargs)

        def watched(trainer: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            if self._depth or not is_users(type(model)) or self._foreign.purpose(trainer) != "fit":
                return run(trainer, model, *args, **kwargs)
            use, trajectory = self._use(model), Trajectory()
            self.clock.restart()
            probe = self._foreign.profiling(model, self.clock)
            self._depth += 1
            try:
                recorded = self._foreign.recorded(trainer, model, self.clock, trajectory)
                with recorded, probe.watching(), Patches() as patches:
                    saves: set[int] = set()
                    self._foreign.watch_saves(trainer, saves, patches)
                    result = run(trainer, model, *args, **kwargs)
                found = probe.profile(trainer, trajectory.steps, trajectory.validation_batches)
                found = replace(found, saves=len(saves))
                if use.profile is None or richness(found) > richness(use.profile):
                    use.profile = found
            finally:
                self._depth -= 1
                use.steps += trajectory.steps
            return result

        return running


def _has_loss(output: Any) -> bool:
    loss = output.get("loss") if isinstance(output, Mapping) else output
    return bool(getattr(loss, "requires_grad", False))


def richness(profile: TargetProfile) -> tuple[bool, int, int]:
    """Return a sort key: how complete a target profile is."""
    return bool(profile.epochs or profile.optimizers), profile.validation_batches > 0, profile.steps


def is_users(cls: type) -> bool:
    """Return whether a class is neither the framework's own nor one of its demos."""
    return cls.__module__.partition(".")[0] not in _NOT_USERS


def find_class(path: str) -> type | None:
    """Return the existing module class of that dotted path; None if there is none."""
    bases = default_framework().foreign.bases()
    return next((cls for base in bases for cls in subclasses(base) if path_of(cls) == path), None)
