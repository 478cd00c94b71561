"""The interface to trainings that faultlab did not build, which each framework implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.profiling import Profiling
from faultlab.injection.clock import Clock


@dataclass(frozen=True)
class Moments:
    """What is called at the moments of a training.

    Attributes:
        begins: Called when the training begins and the weights are loaded, before any batch is.
        trains: Called with the parts of the training when all of its state is loaded.
        batch: Called with the number of the epoch and each training batch.
        epoch: Called with the number of epochs that have ended, at the end of each.
    """

    begins: Callable[[], None] = lambda: None
    trains: Callable[[Mapping[str, Any]], None] = lambda parts: None
    batch: Callable[[int, Any], None] = lambda epoch, batch: None
    epoch: Callable[[int], None] = lambda epochs: None


class Foreign(Protocol):
    """Modules and trainings in this process that faultlab did not build, such as those of tests.

    Attributes:
        module_name: The name of the class that users derive their modules from, for messages.
        steps: The modules' methods that are steps, with the stage of each.
    """

    module_name: str

    steps: Mapping[str, str]

    def imported(self) -> bool:
        """Return True if the framework has been imported.

        Returns:
            Whether the process has imported it so far; this call does not import it.
        """

    def copy_ranks(self, patches: Patches) -> None:
        """Let trainings on several ranks start copies of this process, where they would start other processes.

        Args:
            patches: Undoes the changes.
        """

    def bases(self) -> list[type]:
        """Return the framework's own classes that users derive their modules from.

        Returns:
            One class for each package name under which the framework is imported.
        """

    def base_of(self, cls: type) -> type:
        """Return the framework's own class that a class derives from.

        Args:
            cls: The class of a user's module.

        Returns:
            One of `bases`.
        """

    def overrides(self, cls: type, hook: str) -> bool:
        """Return True if the user's class, or a base class of the user's, defines the hook.

        Args:
            cls: The class of a user's module.
            hook: The name of a method of the framework's base class.

        Returns:
            Whether another class than the framework's defines it.
        """

    def around_runs(self, patches: Patches, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Wrap the method that runs a training, an evaluation or a prediction.

        Args:
            patches: Makes and undoes the changes.
            around: Makes the wrapper, which is called with the trainer and the module.
        """

    def purpose(self, trainer: Any) -> str:
        """Return what a trainer is running for.

        Args:
            trainer: The framework's trainer, while it runs.

        Returns:
            ``fit``, ``validate``, ``test`` or ``predict``.
        """

    def recorded(self, trainer: Any, module: Any, clock: Clock, trajectory: Trajectory) -> AbstractContextManager[None]:
        """Return a context that lets the trajectory record the trainer's run and the clock follow it.

        Args:
            trainer: The framework's trainer.
            module: The root module that it trains or evaluates.
            clock: A clock of this framework.
            trajectory: Receives the course of the run.

        Returns:
            The context, to enter before the run.
        """

    def watch_loggers(self, trainer: Any, trajectory: Trajectory, patches: Patches) -> None:
        """Let the trajectory count the calls of the trainer's loggers.

        Args:
            trainer: The framework's trainer.
            trajectory: Receives the counts.
            patches: Undoes the changes.
        """

    def watch_saves(self, trainer: Any, steps: set[int], patches: Patches) -> None:
        """Record the step of each checkpoint that the trainer saves.

        Args:
            trainer: The framework's trainer.
            steps: Receives the trainer's count of steps at each save.
            patches: Undoes the changes.
        """

    def metrics(self, trainer: Any) -> Mapping[str, Any]:
        """Return the metrics that the trainer has received.

        Args:
            trainer: The framework's trainer.

        Returns:
            The metrics by name: tensors or numbers.
        """

    def profiling(self, module: Any, clock: Clock) -> Profiling:
        """Return the recorder of the profile of a module and its training.

        Args:
            module: The root module that trains.
            clock: The clock that follows the training.

        Returns:
            A fresh recorder, to attach before the training runs.
        """

    def write_below(self, folder: str, patches: Patches) -> None:
        """Let trainings without a folder of their own write below this one, because runs are executed in parallel.

        Args:
            folder: The path of the folder.
            patches: Undoes the changes.
        """

    def watch_guards(self, patches: Patches, observe: Callable[[Any, str], Any]) -> None:
        """Report every guard of each training before the training begins.

        Args:
            patches: Undoes the changes.
            observe: Is called with each guard and its name.
        """

    def fit(
        self,
        made: Any,
        arguments: Mapping[str, Any],
        moments: Moments,
        *,
        stop_after: int = 0,
        resume: str | None = None,
    ) -> Any:
        """Train a module and return its trainer.

        Args:
            made: The module, or a pair of the module and its data.
            arguments: Arguments of the trainer that replace the quiet ones.
            moments: What is called in between.
            stop_after: The number of epochs after which the training is stopped, 0 for its end.
            resume: The checkpoint to continue from.

        Returns:
            The trainer, whose training has ended.
        """

    def parts_of(self, trainer: Any) -> dict[str, Any]:
        """Return what a trainer trains.

        Args:
            trainer: A trainer that `fit` returned.

        Returns:
            The module, the optimizers and the schedulers by name.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework's packages that are imported.

        Returns:
            The versions by package name.
        """
