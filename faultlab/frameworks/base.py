"""The interface of a training framework: it opens targets, assembles trainings and describes them.

A framework is one object of the class `Framework`. Those of other packages are found by the entry point group
`faultlab.frameworks`; see `faultlab.frameworks.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from faultlab.config.variations import Variation
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.core.user_code import UserCode
from faultlab.injection.clock import Clock
from faultlab.injection.mutant_activation import Executions
from faultlab.sandbox.overlay import Overlay


class Built(Protocol):
    """A target that was built: a fresh module and the user's guards."""

    @property
    def module(self) -> Any:
        """The root module that trains."""

    @property
    def guards(self) -> Mapping[str, Any]:
        """The user's guards that are objects, by name."""


class Target(Protocol):
    """The user's target. Creating it imports the user's code; `build` calls it.

    Attributes:
        executions: The record of mutated functions that run; None if the imported code has no source mutants.
    """

    executions: Executions | None

    @property
    def framework(self) -> Framework:
        """The framework that trains it."""

    @property
    def code(self) -> UserCode:
        """The definition of the user's own code."""

    @property
    def flags(self) -> Mapping[str, Any]:
        """The settings of the training that count as guards, by name."""

    def build(self, root: str, with_flags: bool = True, variation: Variation | None = None) -> Built:
        """Build a fresh target.

        Args:
            root: The folder that the run may write to.
            with_flags: Set the settings that count as guards.
            variation: A harmless change of the target.

        Returns:
            The module, guards and arguments of one training.

        Raises:
            NotVariedError: The target has nothing that the variation changes.
            TargetError: The scenario names something that can't be called in this way.
        """


@dataclass
class Assembly:
    """The additions of a run to the target that was built for it.

    Attributes:
        root: The folder that the run may write to.
        trajectory: Records the course of the training.
        clock: The run's clock.
        changed: Settings that replace the target's own, by name.
        beside: Hooks of guards that are not part of the training, by hook name.
        first_batch: Is called with the first batch.
        checkpoints: For a run that continues from its checkpoints, the metric and the mode (min or max) of the best
            one.
        interruption: For such a run, the number of epochs, midway through which the training ends, and a function to
            call then.
    """

    root: str
    trajectory: Trajectory
    clock: Clock
    changed: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Callable[..., None]] | None = None
    first_batch: Callable[[Any], None] | None = None
    checkpoints: tuple[str, str] | None = None
    interruption: tuple[int, Callable[[], None]] | None = None


class Profiling(Protocol):
    """Records how the target is built, during a clean run."""

    def given(self, batch: Any) -> None:
        """Record the batch of a step that is called without a loader.

        Args:
            batch: The batch, of any nesting.
        """

    def watching(self) -> AbstractContextManager[None]:
        """Return a context that records the run; nothing remains attached after it."""

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        """Return the target profile.

        Args:
            trainer: The framework's trainer; None for a step that was called without one.
            steps: The number of training steps.
            validation_batches: The number of validation batches.
        """


class Training(Protocol):
    """A training that is assembled and can be run once.

    Attributes:
        module: The root module that trains; evaluations may replace it.
    """

    module: Any

    @property
    def guards(self) -> Mapping[str, Any]:
        """The user's guards by name."""

    def run(self) -> None:
        """Train from beginning to end. Let exceptions of the training propagate."""

    def step(self) -> tuple[Any, str] | None:
        """Return the owner and name of the user's training step; None if it can't be found."""

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """Let the training write only below a folder, and record when it saves checkpoints.

        Args:
            patches: Undoes the changes.
            overlay: Lets new files through while data is prepared.
            root: Returns the current folder.
            saved_at: Receives the step of each saved checkpoint.
        """

    def named_folders(self) -> Iterable[str]:
        """Return the files and folders outside of the project that the training names."""

    def relocate(self, old_root: str, new_root: str) -> None:
        """Point what writes below one folder to another.

        Args:
            old_root: The folder so far.
            new_root: The folder from now on.
        """

    def watch_loggers(self, patches: Patches) -> None:
        """Let the trajectory count the calls of loggers."""

    def profiling(self) -> Profiling:
        """Return the recorder of the target profile."""

    def profile(self, learnt: Profiling) -> TargetProfile:
        """Return the target profile of the training that has run.

        Args:
            learnt: What `profiling` returned, after the run.
        """

    def resume(self, epochs: int, build_again: BuildAgain) -> Training:
        """Continue from the last checkpoint in a fresh target. Let exceptions propagate.

        Args:
            epochs: The number of epochs of the uninterrupted training.
            build_again: Builds the fresh target.

        Returns:
            The training that continued.
        """

    def evaluate_best(self, build_again: BuildAgain) -> None:
        """Evaluate the best checkpoint in a fresh module and add its metrics to the trajectory.

        Args:
            build_again: Builds the fresh target.
        """

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        """Return the settings of an evaluation for weights that the training left in another precision.

        Args:
            precision: The precision of the clean run, such as ``32-true``; None if unknown.
        """

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        """Evaluate the module as it is, without any fault.

        Args:
            validates: Use the metrics of the target's own validation; else its training loss.
            settings: What `evaluation_settings` returned.

        Returns:
            The metrics by name.
        """

    def parts(self) -> Iterator[Any]:
        """Yield the objects that the target consists of, except for the guards."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that train, by name."""


BuildAgain = Callable[[Mapping[str, Any]], Training]
"""Builds the target again with some settings changed."""


class Foreign(Protocol):
    """Modules and trainings in this process that faultlab did not build, such as those of tests.

    Attributes:
        steps: The modules' methods that are steps, with the stage of each.
    """

    steps: Mapping[str, str]

    def imported(self) -> bool:
        """Return True if the framework has been imported."""

    def bases(self) -> list[type]:
        """Return the framework's own classes that users derive their modules from."""

    def base_of(self, cls: type) -> type:
        """Return the one of `bases` that a class derives from."""

    def overrides(self, cls: type, hook: str) -> bool:
        """Return True if the user's class, or a base class of the user's, defines the hook."""

    def around_runs(self, patches: Patches, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Wrap what runs a training, an evaluation or a prediction.

        Args:
            patches: Does the wrapping.
            around: Makes the wrapper, which is called with the trainer and the module.
        """

    def purpose(self, trainer: Any) -> str:
        """Return what a trainer runs for: fit, validate, test or predict."""

    def recorded(self, trainer: Any, module: Any, clock: Clock, trajectory: Trajectory) -> AbstractContextManager[None]:
        """Return a context that lets the trajectory record the trainer's run and the clock follow it."""

    def watch_loggers(self, trainer: Any, trajectory: Trajectory, patches: Patches) -> None:
        """Let the trajectory count the calls of the trainer's loggers."""

    def watch_saves(self, trainer: Any, steps: set[int], patches: Patches) -> None:
        """Record the step of each checkpoint that the trainer saves."""

    def metrics(self, trainer: Any) -> Mapping[str, Any]:
        """Return the metrics that the trainer has received, by name."""

    def profiling(self, module: Any, clock: Clock) -> Profiling:
        """Return the recorder of the profile of a module and its training."""

    def write_below(self, folder: str, patches: Patches) -> None:
        """Let trainings without a folder of their own write below this one, because runs are executed in parallel."""

    def watch_guards(self, patches: Patches, observe: Callable[[Any, str], Any]) -> None:
        """Call ``observe`` with every guard of each training and its name, before the training begins."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework's packages that are imported, by name."""


class Framework(Protocol):
    """One training framework.

    Attributes:
        name: Its name in scenarios, under ``framework``.
        foreign: The access to trainings that faultlab did not build.
    """

    name: str

    foreign: Foreign

    def target(self, scenario: Mapping[str, Any]) -> Target:
        """Import what a scenario names.

        Args:
            scenario: The scenario as victims receive it.

        Raises:
            TargetError: The scenario names something that can't be imported.
        """

    def assemble(self, built: Any, wanted: Assembly) -> Training:
        """Assemble a training of a built target.

        Args:
            built: A result of `Target.build` of this framework.
            wanted: The additions of the run.

        Raises:
            TargetError: The training would use several processes.
        """

    def clock(self) -> Clock:
        """Return a clock that follows this framework's trainings once it is attached."""

    def hooks_of(self, guard: Any) -> Collection[str]:
        """Return the names of the hooks of a user's guard that the framework calls."""

    def find_plugins_once(self) -> None:
        """Cache the installed plugins for the trainings of this process and of its copies."""

    def warm_up(self) -> None:
        """Run a tiny training, so that copies of this process are spared the set-up of a first training."""
