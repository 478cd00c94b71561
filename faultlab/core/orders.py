"""Orders from the driver to a victim, each with one task."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from faultlab.core.fault import Fault
from faultlab.core.target_profile import TargetProfile

Place = str | int
"""The place where a run begins: ``construct`` (from nothing), ``fit`` (built, before fit), or before a step."""
AnyTask = TypeVar("AnyTask", bound="Task")


@dataclass(frozen=True)
class Planned:
    """One fault of the plan: run from ``at`` if ``status`` is empty, else settled without a run."""

    fault: Fault
    at: Place = "construct"
    status: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """The fault's text, its identifier in reports and folders."""
        return str(self.fault)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "at": self.at, "status": self.status, "reason": self.reason}


class Task:
    """One task of a victim; ``kind`` distinguishes the tasks."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which would copy the target profile for every order.
        return dict(vars(self))

    @classmethod
    def from_json(cls: type[AnyTask], data: Mapping[str, Any]) -> AnyTask:
        return cls(**data)


@dataclass(frozen=True)
class OpenScenario(Task):
    """Import the target of a scenario and serve its runs; ``scenario`` has the form that victims receive."""

    kind: ClassVar = "open"
    scenario: Mapping[str, Any]


@dataclass(frozen=True)
class SwitchedMutant:
    """A source mutant to switch on.

    ``first_step`` is the step of the first call of its function in the clean run, ``calls`` the number of calls.
    """

    switch: str
    first_step: int = 0
    calls: int = 0


@dataclass(frozen=True)
class Train(Task):
    """One training of the target.

    Attributes:
        seed: The seed of the training.
        fault: The fault that the run is about; None for a clean run.
        also: Other faults that are active beside it.
        profile: The target profile, if known.
        probe: Have a clean run record the target profile.
        flags: Keep the Trainer flags that count as guards; else turn them off.
        snapshots: The places where a snapshot run leaves snapshots.
        reload: Continue with what a user does with the training's checkpoints.
        advice: Observe the ready-made guards too (see `faultlab.detectors.advisory_guards`).
        variation: A harmless change of the target (see `faultlab.config.variations`).
        mutant: The source mutant to switch on.
        traced: Have a clean run record where it draws random numbers that no seed controls.
        compiles: Run what was given to `torch.compile` compiled; else it runs as it is.
    """

    kind: ClassVar = "train"
    seed: int
    fault: Fault | None = None
    also: tuple[Fault, ...] = ()
    profile: TargetProfile | None = None
    probe: bool = False
    flags: bool = True
    snapshots: tuple[Place, ...] = ()
    reload: bool = False
    advice: Mapping[str, Any] | None = None
    variation: Mapping[str, Any] | None = None
    mutant: SwitchedMutant | None = None
    traced: bool = False
    compiles: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The fault that the run is about and those beside it."""
        return () if self.fault is None else (self.fault, *self.also)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "fault": None if self.fault is None else self.fault.to_json(),
            "also": [fault.to_json() for fault in self.also],
            "profile": None if self.profile is None else self.profile.to_json(),
            "mutant": None if self.mutant is None else vars(self.mutant),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Train:
        read = {
            "fault": None if data["fault"] is None else Fault.from_json(data["fault"]),
            "also": tuple(map(Fault.from_json, data["also"])),
            "profile": None if data["profile"] is None else TargetProfile.from_json(data["profile"]),
            "snapshots": tuple(data["snapshots"]),
            "mutant": None if data["mutant"] is None else SwitchedMutant(**data["mutant"]),
        }
        return cls(**{**data, **read})


@dataclass(frozen=True)
class Examine(Task):
    """A training that code of a package above the worker examines for a number of training steps.

    ``by`` is a ``module:function`` that the victim imports and calls with the target, the order and a way to report.
    """

    kind: ClassVar = "examine"
    by: str
    train: Train
    steps: int

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "train": self.train.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Examine:
        return cls(**{**data, "train": Train.from_json(data["train"])})


@dataclass(frozen=True)
class RunTests(Task):
    """Tests of a collected suite, by node id, in a pass of this ``style`` (see `faultlab.testing.victims`).

    ``fault`` is armed in each test; ``until_failure`` stops after the first test that detects it.
    """

    kind: ClassVar = "tests"
    tests: tuple[str, ...]
    style: str
    fault: Fault | None = None
    until_failure: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "fault": None if self.fault is None else self.fault.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunTests:
        fault = None if data["fault"] is None else Fault.from_json(data["fault"])
        return cls(**{**data, "tests": tuple(data["tests"]), "fault": fault})


@dataclass(frozen=True)
class RunMutated(Task):
    """Tests of a collected suite, by node id, with the source mutant ``switch`` on."""

    kind: ClassVar = "mutated"
    tests: tuple[str, ...]
    switch: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunMutated:
        return cls(tuple(data["tests"]), data["switch"])


TASKS: Mapping[str, type[Task]] = {task.kind: task for task in (OpenScenario, Train, Examine, RunTests, RunMutated)}


@dataclass(frozen=True)
class Order:
    """One task and how to execute it.

    Attributes:
        id: The run's name, for reports and folders.
        task: The task.
        at: The place where the run may begin.
        deadline: The time limit in seconds.
        root: The folder that the run writes to.
        shared: A folder that the runs of a campaign share.
        sleeps: Expect the run to hang until its deadline without using a core.
        echo: Show what the run prints as it is printed, on this descriptor of the driver (1 or 2); 0 for not at all.
        ranks: The number of processes of the run.
        rank: The number of this process among them, from 0; set by the engine.
        meeting: The path where these processes find each other; set by the engine, and new for each attempt.
    """

    id: str
    task: Task
    at: Place = "construct"
    deadline: float = 600.0
    root: str = ""
    shared: str = ""
    sleeps: bool = False
    echo: int = 0
    ranks: int = 1
    rank: int = 0
    meeting: str = ""

    @property
    def training(self) -> Train | None:
        """The training that the order asks for, including one to examine; None for other tasks."""
        task = self.task
        return task.train if isinstance(task, Examine) else task if isinstance(task, Train) else None

    @property
    def snapshots(self) -> tuple[Place, ...]:
        """The places where the run leaves copies of itself for other orders to begin at."""
        return self.training.snapshots if self.training is not None else ()

    def with_training(self, **changed: Any) -> Order:
        """Return the order with some fields of its training replaced; raise TypeError if it does not ask for one."""
        if not isinstance(self.task, Train):
            raise TypeError(f"{self.id} is not an order to train")
        return replace(self, task=replace(self.task, **changed))

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "task": {"kind": self.task.kind, **self.task.to_json()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        given = dict(data["task"])
        task = TASKS[given.pop("kind")].from_json(given)
        return cls(**{**data, "task": task})
