"""The interface of a training framework: it opens targets, assembles trainings and describes them.

A framework is one object of the class `Framework`. Those of other packages are found by the entry point group
`faultlab.frameworks`; see `faultlab.frameworks.registry`.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from faultlab.config.variations import Variation
from faultlab.core.alert import safe_text
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.core.user_code import UserCode
from faultlab.frameworks.foreign import Foreign
from faultlab.frameworks.profiling import Profiling
from faultlab.injection.clock import Clock
from faultlab.injection.mutant_activation import Executions
from faultlab.sandbox.overlay import Overlay

_WIDEST = 160
"""How many characters of an error of faultlab's own loading are reported."""


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
            variation: A harmless change of the target; None to build it unchanged.

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
        observe: Observes a guard that the training makes itself, by its name, and returns it.
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
    observe: Callable[[Any, str], Any] = lambda guard, name: guard
    beside: Mapping[str, Callable[..., None]] | None = None
    first_batch: Callable[[Any], None] | None = None
    checkpoints: tuple[str, str] | None = None
    interruption: tuple[int, Callable[[], None]] | None = None


class UnusableCheckpointError(Exception):
    """A checkpoint can't be used by faultlab. No part of the user's training raised it, so it detects nothing."""


@contextlib.contextmanager
def using_checkpoint() -> Iterator[None]:
    """Distinguish the exceptions of faultlab's own use of a checkpoint from those of the user's training.

    Raises:
        UnusableCheckpointError: The code inside the context raised an exception.
    """
    try:
        yield
    except Exception as error:
        told = textwrap.shorten(f"{type(error).__name__}: {safe_text(error)}", _WIDEST, placeholder=" ...")
        raise UnusableCheckpointError(told) from error


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
        """Return the user's training step.

        Returns:
            The owner of the function, a class or a module, and the function's name; None if it can't be found.
        """

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """Let the training write only below a folder, and record when it saves checkpoints.

        Args:
            patches: Undoes the changes.
            overlay: Lets new files through while data is prepared.
            root: Returns the current folder.
            saved_at: Receives the step of each saved checkpoint.
        """

    def named_folders(self) -> Iterable[str]:
        """Return the files and folders outside of the project that the training names.

        Returns:
            Their absolute paths, whose contents the run's overlay protects.
        """

    def relocate(self, old_root: str, new_root: str) -> None:
        """Redirect whatever writes below one folder to another folder.

        Args:
            old_root: The current folder.
            new_root: The folder to write to from now on.
        """

    def watch_loggers(self, patches: Patches) -> None:
        """Let the trajectory count the calls of loggers.

        Args:
            patches: Undoes the changes.
        """

    def profiling(self) -> Profiling:
        """Return the recorder of the target profile.

        Returns:
            A fresh recorder, to attach before the training runs.
        """

    def profile(self, learnt: Profiling) -> TargetProfile:
        """Return the target profile of the training that has run.

        Args:
            learnt: The recorder that `profiling` returned, after the run.

        Returns:
            The profile.
        """

    def resume(self, epochs: int, build_again: BuildAgain) -> Training:
        """Continue from the last checkpoint in a fresh target. Let exceptions of the user's training propagate.

        Args:
            epochs: The number of epochs of the uninterrupted training.
            build_again: Builds the fresh target.

        Returns:
            The training that continued.

        Raises:
            UnusableCheckpointError: faultlab itself can't load the checkpoint.
        """

    def evaluate_best(self, build_again: BuildAgain) -> None:
        """Evaluate the best checkpoint in a fresh module and add its metrics to the trajectory.

        Args:
            build_again: Builds the fresh target.

        Raises:
            UnusableCheckpointError: faultlab itself can't load or evaluate the checkpoint.
        """

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        """Return the settings of an evaluation for weights that the training left in another precision.

        Args:
            precision: The precision of the clean run, such as ``32-true``; None if unknown.

        Returns:
            The settings to pass to `evaluate`, by name; empty if the precision is the same.
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
        """Return the objects that the target consists of, except for the guards.

        Returns:
            An iterator over the root module first, then the others; the files of their classes belong to the target.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that train.

        Returns:
            The versions by package name.
        """


BuildAgain = Callable[[Mapping[str, Any]], Training]
"""Builds the target again with some settings changed."""


class Framework(Protocol):
    """One training framework.

    Attributes:
        name: Its name in scenarios, under ``framework``.
        joins: True if its trainings of several ranks make their process group themselves.
        foreign: The access to trainings that faultlab did not build.
    """

    name: str

    joins: bool

    foreign: Foreign

    def target(self, scenario: Mapping[str, Any]) -> Target:
        """Import the target that a scenario names.

        Args:
            scenario: The scenario as victims receive it.

        Returns:
            The target, not yet built.

        Raises:
            TargetError: The scenario names something that can't be imported.
        """

    def assemble(self, built: Any, wanted: Assembly) -> Training:
        """Assemble a training of a built target.

        Args:
            built: A result of `Target.build` of this framework.
            wanted: The additions of the run.

        Returns:
            The training, ready to run.

        Raises:
            TargetError: The training would use several processes.
        """

    def clock(self) -> Clock:
        """Return a clock that follows this framework's trainings once it is attached.

        Returns:
            A fresh clock.
        """

    def hooks_of(self, guard: Any) -> Collection[str]:
        """Return the hooks of a user's guard that the framework calls.

        Args:
            guard: The guard, an object of the user's.

        Returns:
            The names of the methods.
        """

    def find_plugins_once(self) -> None:
        """Cache the installed plugins for the trainings of this process and of its copies."""

    def warm_up(self) -> None:
        """Run a tiny training, so that copies of this process are spared the set-up of a first training."""
