"""What faultlab asks of a training framework: to open a target, to put a training together, and to tell what it does.

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
    """What a target was built to: a fresh module and the user's guards, by name."""

    @property
    def module(self) -> Any:
        """The root module that trains."""

    @property
    def guards(self) -> Mapping[str, Any]:
        """The user's guards that are objects."""


class Target(Protocol):
    """The user's target; making it has imported the user's code, `build` calls it."""

    executions: Executions | None
    """Set where the code that was imported has source mutants in it."""

    @property
    def framework(self) -> Framework:
        """The framework that trains it."""

    @property
    def code(self) -> UserCode:
        """What counts as the user's own code."""

    @property
    def flags(self) -> Mapping[str, Any]:
        """The settings of the training that count as guards."""

    def build(self, root: str, with_flags: bool = True, variation: Variation | None = None) -> Built:
        """Build the target anew.

        Args:
            root: The folder that the run may write to.
            with_flags: Whether settings that count as guards are set.
            variation: A change of the target that does no harm.

        Raises:
            NotVariedError: The target has nothing that the variation changes.
            TargetError: The scenario names something that can't be called so.
        """


@dataclass
class Assembly:
    """What a run adds to the target that was built for it.

    ``changed`` holds settings that are others than the target's; ``beside`` the hooks of guards that are no part of the
    training; ``first_batch`` is told the first batch. A run that goes on from its checkpoints has in ``checkpoints``
    the metric and the mode that tell the best one, and in ``interruption`` the number of epochs, half-way through which
    the training ends, and what is told so.
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
    """Learns from a clean run how the target is made."""

    def given(self, batch: Any) -> None:
        """Take a batch that a step is called with by hand."""

    def watching(self) -> AbstractContextManager[None]:
        """Attach inside the context; nothing is left behind after it."""

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        """Return what was learnt."""


class Training(Protocol):
    """A training that is put together and can be run, once."""

    module: Any
    """The root module that trains; evaluations may put another in its place."""

    @property
    def guards(self) -> Mapping[str, Any]:
        """The user's guards by name."""

    def run(self) -> None:
        """Train from the beginning to the end. What training raises is raised."""

    def step(self) -> tuple[Any, str] | None:
        """Return the owner and name of the user's training step; None where there is none to be found."""

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """Have the training write below the folder that ``root`` gives, and note the steps at which it saves."""

    def named_folders(self) -> Iterable[str]:
        """Give the files and folders outside of the project that the training names."""

    def relocate(self, old_root: str, new_root: str) -> None:
        """Point what was told to write below the one folder to below the other."""

    def watch_loggers(self, patches: Patches) -> None:
        """Have the trajectory count what reaches loggers."""

    def profiling(self) -> Profiling:
        """Return what learns how the target is made."""

    def profile(self, learnt: Profiling) -> TargetProfile:
        """Return what was learnt of the training that has run."""

    def resume(self, epochs: int, build_again: BuildAgain) -> Training:
        """Train on from the last checkpoint in a fresh target. What goes wrong is raised."""

    def evaluate_best(self, build_again: BuildAgain) -> None:
        """Evaluate the best checkpoint in a fresh module and add its metrics to the trajectory."""

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        """Return the settings that an evaluation needs for weights left in another than that precision."""

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        """Evaluate the module as it is, with no fault in reach.

        Args:
            validates: Whether the target's own validation gives the metrics; else its training loss does.
            settings: What `evaluation_settings` gave.
        """

    def parts(self) -> Iterator[Any]:
        """Give the objects that the target is made of, but for the guards."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that train."""


BuildAgain = Callable[[Mapping[str, Any]], Training]
"""Builds the target anew with some settings changed."""


class Foreign(Protocol):
    """Modules and trainings of somebody else's in this process, as tests make them."""

    steps: Mapping[str, str]
    """The modules' methods that are steps, with the stage of each."""

    def imported(self) -> bool:
        """Return whether the framework has been imported by now."""

    def bases(self) -> list[type]:
        """Return the framework's own classes that users derive their modules from."""

    def base_of(self, cls: type) -> type:
        """Return the one of these that a class derives from."""

    def overrides(self, cls: type, hook: str) -> bool:
        """Return whether the user's class, or a base of the user's, defines the hook."""

    def around_runs(self, patches: Patches, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Wrap what runs a training, an evaluation or a prediction; it is called with the trainer and the module."""

    def purpose(self, trainer: Any) -> str:
        """Return what a trainer runs for: fit, validate, test or predict."""

    def recorded(self, trainer: Any, module: Any, clock: Clock, trajectory: Trajectory) -> AbstractContextManager[None]:
        """Have the trajectory record what the trainer runs, and the clock know that it is on."""

    def watch_loggers(self, trainer: Any, trajectory: Trajectory, patches: Patches) -> None:
        """Have the trajectory count what reaches loggers."""

    def watch_saves(self, trainer: Any, steps: set[int], patches: Patches) -> None:
        """Note the steps at which the trainer saves checkpoints."""

    def metrics(self, trainer: Any) -> Mapping[str, Any]:
        """Return what the trainer has been told of metrics, by name."""

    def profiling(self, module: Any, clock: Clock) -> Profiling:
        """Return what learns how a module is made and trained."""

    def write_below(self, folder: str, patches: Patches) -> None:
        """Have trainings that were given no folder write below this one: runs go on side by side."""

    def watch_guards(self, patches: Patches, observe: Callable[[Any, str], Any]) -> None:
        """Hand every guard of each training to ``observe`` before it begins, with its name."""

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework's packages that are imported."""


class Framework(Protocol):
    """One training framework."""

    name: str
    """As scenarios give it under ``framework``."""

    foreign: Foreign
    """How trainings are met that somebody else puts together."""

    def target(self, scenario: Mapping[str, Any]) -> Target:
        """Import what a scenario names.

        Raises:
            TargetError: The scenario names something that can't be imported.
        """

    def assemble(self, built: Any, wanted: Assembly) -> Training:
        """Put a training of what was built together.

        Args:
            built: What this framework's target was built to.
            wanted: What the run adds.

        Raises:
            TargetError: It would train in several processes.
        """

    def clock(self) -> Clock:
        """Return a clock that follows this framework's trainings once it is attached."""

    def hooks_of(self, guard: Any) -> Collection[str]:
        """Return the names of the hooks by which the framework calls a guard of the user's."""

    def find_plugins_once(self) -> None:
        """Have trainings of this process and of its copies take installed plugins as they are now."""

    def warm_up(self) -> None:
        """Train something tiny of its own: copies of this process need not set up what a first training does."""
