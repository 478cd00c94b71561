"""Results of victims: one for each task of an order, and the outcome that holds it."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from faultlab.core.alert import Alert
from faultlab.core.collectives import Position
from faultlab.core.orders import Place
from faultlab.core.ranks import as_one
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.errors import TargetError

Given = TypeVar("Given", bound="Result")


class Result:
    """The result of an order's task; ``kind`` distinguishes the results."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls: type[Given], data: Mapping[str, Any]) -> Given:
        return cls(**data)


@dataclass(frozen=True)
class ShownWarning:
    """A warning that a user would see: its key, equal in every run, its first step, and its text."""

    key: str
    step: int
    text: str


@dataclass(frozen=True)
class Advisory:
    """The alarms of the ready-made guards in a run that they observed.

    ``watching`` is False if the run was only recorded; ``summary`` is that record. ``of_interruption`` are the
    ``alarms`` that are only about the interruption of the training. ``broken`` has the errors of guards that failed,
    ``idle`` the reasons of guards that skipped every check, ``arguments`` the constructor arguments of each,
    ``seconds`` the time each took.
    """

    watching: bool = True
    alarms: tuple[Alert, ...] = ()
    of_interruption: tuple[Alert, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    summary: Any = None

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "alarms": _alerts_to_json(self.alarms),
            "of_interruption": _alerts_to_json(self.of_interruption),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Advisory:
        alerts = {name: tuple(_alerts_from_json(data[name])) for name in ("alarms", "of_interruption")}
        return cls(**{**data, **alerts})


@dataclass(frozen=True)
class Circumstances:
    """The process of a probing run.

    ``private`` is its private memory in KiB, ``imported`` the modules that the run imported, ``sources`` a hash of the
    files that define the target and its guards, ``defined`` these files with their class names, for the ``target`` and
    the ``guards``.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    private: int = 0
    imported: Sequence[str] = ()
    sources: str = ""
    defined: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


@dataclass
class RunResult(Result):
    """The result of a training, however it ended.

    Attributes:
        trajectory: The course of the training.
        alerts: The alerts of the detectors.
        of_interruption: The alerts that are only about the interruption of the training.
        warnings: The warnings that a user would see.
        activations: How often the fault acted.
        first_step: The step of its first activation.
        broken: How the injector failed; else empty.
        saves: The number of steps after which a checkpoint was written.
        born: The place where the run began.
        unevaluated: Why the final weights could not be evaluated; else empty.
        unevaluated_best: Why those of the best checkpoint could not be evaluated; else empty.
        unusable: Why faultlab could not use the checkpoint that a faulted training wrote; else empty.
        in_place: The metrics of the network with the fault still in it.
        draws: Where the run drew random numbers that no seed controls.
        advice: The alarms of the ready-made guards.
        guards: The names of the user's guards.
        profile: The target profile, of a probing run.
        circumstances: The process, of a probing run.
        states: Of a rank of several, the digests of its parameters and of its buffers at the end.
        waited: The collective that never came about, if that ended this rank; else empty.
        fit_seconds: The duration of the fit, a part of ``seconds``.
        seconds: The duration of the run.
    """

    kind: ClassVar = "run"
    trajectory: Trajectory = field(default_factory=Trajectory)
    alerts: list[Alert] = field(default_factory=list)
    of_interruption: list[Alert] = field(default_factory=list)
    warnings: list[ShownWarning] = field(default_factory=list)
    activations: int = 0
    first_step: int | None = None
    broken: str = ""
    saves: int = 0
    born: Place = "construct"
    unevaluated: str = ""
    unevaluated_best: str = ""
    unusable: str = ""
    in_place: dict[str, float] = field(default_factory=dict)
    draws: Mapping[str, Any] | None = None
    advice: Advisory | None = None
    guards: list[str] = field(default_factory=list)
    profile: TargetProfile | None = None
    circumstances: Circumstances | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    waited: str = ""
    fit_seconds: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "trajectory": self.trajectory.to_json(),
            "alerts": _alerts_to_json(self.alerts),
            "of_interruption": _alerts_to_json(self.of_interruption),
            "warnings": [vars(warning) for warning in self.warnings],
            "advice": self.advice and self.advice.to_json(),
            "profile": self.profile and self.profile.to_json(),
            "circumstances": self.circumstances and vars(self.circumstances),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunResult:
        read = {
            "trajectory": Trajectory.from_json(data["trajectory"]),
            "alerts": _alerts_from_json(data["alerts"]),
            "of_interruption": _alerts_from_json(data["of_interruption"]),
            "warnings": [ShownWarning(**warning) for warning in data["warnings"]],
            "advice": data["advice"] and Advisory.from_json(data["advice"]),
            "profile": data["profile"] and TargetProfile.from_json(data["profile"]),
            "circumstances": data["circumstances"] and Circumstances(**data["circumstances"]),
        }
        return cls(**{**data, **read})


@dataclass
class ExaminedRun(Result):
    """A training that was examined; ``seen`` is the data for the code that ordered it."""

    kind: ClassVar = "examined"
    run: RunResult
    seen: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run.to_json(), "seen": self.seen}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExaminedRun:
        return cls(RunResult.from_json(data["run"]), data["seen"])


@dataclass(frozen=True)
class TargetFailed(Result):
    """The target could not be imported or built."""

    kind: ClassVar = "target_failed"
    error: TargetError

    def to_json(self) -> dict[str, Any]:
        return self.error.to_json()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetFailed:
        return cls(TargetError.from_json(data))


@dataclass(frozen=True)
class NotVaried(Result):
    """The requested variation does not apply: the scenario has nothing that it changes."""

    kind: ClassVar = "not_varied"
    reason: str


@dataclass(frozen=True)
class Broken(Result):
    """An injector failed before the training began."""

    kind: ClassVar = "broken"
    reason: str


@dataclass(frozen=True)
class Unreadable(Result):
    """A message that is not a result: it has a value that can't be serialized, or the victim wrote into the pipe."""

    kind: ClassVar = "unreadable"
    text: str


@dataclass(frozen=True)
class SuiteRun(Result):
    """The end of the requested tests; ``imported`` has the modules that they imported, with their files."""

    kind: ClassVar = "tests"
    imported: Mapping[str, str] = field(default_factory=dict)


RESULTS: Mapping[str, type[Result]] = {
    result.kind: result for result in (RunResult, ExaminedRun, TargetFailed, NotVaried, Broken, Unreadable, SuiteRun)
}


def message_of(result: Result) -> dict[str, Any]:
    """Return the message that carries a victim's result."""
    return {"result": {"kind": result.kind, **result.to_json()}}


def read_result(data: Any) -> Result:
    """Return the result in such a message, or `Unreadable` if there is none."""
    try:
        given = dict(data)
        return RESULTS[given.pop("kind")].from_json(given)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Unreadable(str(data)[:2000])


@dataclass
class Outcome:
    """The end of a run as its fork server observed it.

    Attributes:
        id: The order's id.
        results: The result of each rank; None for a rank that never reported.
        exit: The exit status; negative for a signal.
        timed_out: The run passed its deadline.
        acting: The step when the fault was first about to act.
        output: The head and tail of what the run printed.
        seconds: The duration of the run.
        lost: Why there is no result, if the run was lost; else empty.
        snapshots: The places where it left snapshots.
        notes: The messages that it sent on the way.
        exits: The exit status of each rank, of a run of several.
        collectives: The position of each rank of several in the sequence of collectives when it ended.
    """

    id: str
    results: Sequence[Result | None] = ()
    exit: int = 0
    timed_out: bool = False
    acting: int | None = None
    output: str = ""
    seconds: float = 0.0
    lost: str = ""
    snapshots: list[Place] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    exits: Sequence[int] = ()
    collectives: Sequence[Position] = ()

    @property
    def result(self) -> Result | None:
        """The first rank's result; None if it never reported."""
        return self.results[0] if self.results else None

    @property
    def reported(self) -> bool:
        """True if every rank reported something."""
        return bool(self.results) and None not in self.results

    @property
    def run(self) -> RunResult | None:
        """The training, that of several ranks as one; None if the first died before reporting, or never got there."""
        first = _run_of(self.result)
        return first if first is None or len(self.results) == 1 else as_one(self.runs)

    @property
    def runs(self) -> list[RunResult]:
        """The trainings of all ranks that reported one, in rank order."""
        return [run for result in self.results if (run := _run_of(result)) is not None]

    @property
    def trajectory(self) -> Trajectory | None:
        """The trajectory of the training; None if the first rank never reported."""
        return self.run.trajectory if self.run is not None else None

    @property
    def target_error(self) -> TargetError | None:
        """The error of a rank that could not import or build the target; None without one."""
        return next((result.error for result in self.results if isinstance(result, TargetFailed)), None)

    @property
    def unreadable(self) -> str:
        """The text that a rank sent instead of a result; empty if all sent results."""
        return next((result.text for result in self.results if isinstance(result, Unreadable)), "")

    @property
    def broken(self) -> str:
        """The injector's failure on the first rank that had one; else empty."""
        reasons = (one.reason if isinstance(one, Broken) else run.broken if (run := _run_of(one)) else ""
                   for one in self.results)  # fmt: skip
        return next(filter(None, reasons), "")

    def to_json(self) -> dict[str, Any]:
        results = [result and message_of(result)["result"] for result in self.results]
        return {**vars(self), "results": results, "collectives": [vars(one) for one in self.collectives]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        results = [None if one is None else read_result(one) for one in data["results"]]
        group = {"exits": tuple(data["exits"]), "collectives": tuple(Position(**one) for one in data["collectives"])}
        return cls(**{**data, **group, "results": results})


def _run_of(result: Result | None) -> RunResult | None:
    return result.run if isinstance(result, ExaminedRun) else result if isinstance(result, RunResult) else None


def _alerts_to_json(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    return [asdict(alert) for alert in alerts]


def _alerts_from_json(data: Iterable[Mapping[str, Any]]) -> list[Alert]:
    return [Alert.from_json(alert) for alert in data]
