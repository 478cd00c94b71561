"""What the driver asks of a victim: an order, with one task out of a few."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from faultlab.core.fault import Fault
from faultlab.core.target_profile import TargetProfile

Place = str | int
"""Where a run begins: ``construct`` (from nothing), ``fit`` (built, before fit), or the step that it is about to do."""
Asked = TypeVar("Asked", bound="Task")


@dataclass(frozen=True)
class Planned:
    """One fault of the plan: run from ``at`` where ``status`` is empty, else settled without a run."""

    fault: Fault
    at: Place = "construct"
    status: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """The fault's text, which reports and folders know it by."""
        return str(self.fault)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "at": self.at, "status": self.status, "reason": self.reason}


class Task:
    """What a victim is to do; ``kind`` tells the tasks apart."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which copies what the target is known by with every order.
        return dict(vars(self))

    @classmethod
    def from_json(cls: type[Asked], data: Mapping[str, Any]) -> Asked:
        return cls(**data)


@dataclass(frozen=True)
class OpenScenario(Task):
    """Import the target of a scenario, which is as victims are given it, and serve its runs from then on."""

    kind: ClassVar = "open"
    scenario: Mapping[str, Any]


@dataclass(frozen=True)
class SwitchedMutant:
    """A source mutant to switch on.

    ``first_step`` is that in which the clean run calls its function, ``calls`` how many calls are known of.
    """

    switch: str
    first_step: int = 0
    calls: int = 0


@dataclass(frozen=True)
class Train(Task):
    """One training of the target.

    ``fault`` is the one that the run is about, ``also`` holds others that are there beside it, ``profile`` what is
    known of the target. ``probe`` has a clean run learn that. Without ``flags`` the Trainer flags that count as guards
    are off. ``snapshots`` are the places that a snapshot run leaves snapshots at. With ``reload`` the run goes on to
    what a user does with its checkpoints. ``advice`` asks for the ready-made guards to be observed too (see
    `faultlab.detectors.advisory_guards`), ``variation`` for a change of the target that does no harm (see
    `faultlab.config.variations`). ``traced`` has a clean run note where it draws what no seed gives. With ``compiles``
    what `torch.compile` was given runs compiled, which else it does not.
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
        """The one that the run is about, and those beside it."""
        return () if self.fault is None else (self.fault, *self.also)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "fault": None if self.fault is None else str(self.fault),
            "also": list(map(str, self.also)),
            "profile": None if self.profile is None else self.profile.to_json(),
            "mutant": None if self.mutant is None else vars(self.mutant),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Train:
        read = {
            "fault": None if data["fault"] is None else Fault.parse(data["fault"]),
            "also": tuple(map(Fault.parse, data["also"])),
            "profile": None if data["profile"] is None else TargetProfile.from_json(data["profile"]),
            "snapshots": tuple(data["snapshots"]),
            "mutant": None if data["mutant"] is None else SwitchedMutant(**data["mutant"]),
        }
        return cls(**{**data, **read})


@dataclass(frozen=True)
class Examine(Task):
    """A training looked at by a package above the worker, for so many training steps.

    ``by`` names what is called with the target, the order and the way to report, as ``module:function``; it is looked
    up in the victim.
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
    """Tests of a collected suite, by their node ids, in a pass of this ``style`` (see `faultlab.testing.victims`).

    ``fault`` is armed in each; with ``until_failure`` the tests after one that detects it are not run.
    """

    kind: ClassVar = "tests"
    tests: tuple[str, ...]
    style: str
    fault: Fault | None = None
    until_failure: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "fault": None if self.fault is None else str(self.fault)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunTests:
        fault = None if data["fault"] is None else Fault.parse(data["fault"])
        return cls(**{**data, "tests": tuple(data["tests"]), "fault": fault})


@dataclass(frozen=True)
class RunMutated(Task):
    """Tests of a collected suite, by their node ids, with the source mutant on that ``switch`` names."""

    kind: ClassVar = "mutated"
    tests: tuple[str, ...]
    switch: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunMutated:
        return cls(tuple(data["tests"]), data["switch"])


TASKS: Mapping[str, type[Task]] = {task.kind: task for task in (OpenScenario, Train, Examine, RunTests, RunMutated)}


@dataclass(frozen=True)
class Order:
    """One task, and how it is to be carried out.

    ``at`` is where the run may begin, ``deadline`` is in seconds, ``ranks`` the number of processes that the run is a
    group of. ``root`` is the folder that the run writes to, ``shared`` one that the runs of a campaign have in common.
    ``sleeps`` says that it is expected to stand still until its deadline, and takes no core while it does. With
    ``echo`` what the run prints is shown as it comes, on that descriptor (1 or 2) of the driver.
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

    @property
    def training(self) -> Train | None:
        """The training that it asks for, one that is examined too; None where it asks for something else."""
        task = self.task
        return task.train if isinstance(task, Examine) else task if isinstance(task, Train) else None

    @property
    def snapshots(self) -> tuple[Place, ...]:
        """The places at which it is to leave copies of itself that other orders begin at."""
        return self.training.snapshots if self.training is not None else ()

    def with_training(self, **changed: Any) -> Order:
        """The order with other fields of its training; raises TypeError where it asks for none."""
        if not isinstance(self.task, Train):
            raise TypeError(f"{self.id} is no order to train")
        return replace(self, task=replace(self.task, **changed))

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "task": {"kind": self.task.kind, **self.task.to_json()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        given = dict(data["task"])
        task = TASKS[given.pop("kind")].from_json(given)
        return cls(**{**data, "task": task})
