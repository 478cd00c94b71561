"""What victims answer: a result of the kind that the order's task has, and the outcome that it is part of."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from faultlab.core.alert import Alert
from faultlab.core.orders import Place
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.errors import TargetError

Given = TypeVar("Given", bound="Result")


class Result:
    """What came of an order's task; ``kind`` tells the results apart."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls: type[Given], data: Mapping[str, Any]) -> Given:
        return cls(**data)


@dataclass(frozen=True)
class ShownWarning:
    """A warning that a user would see: what it is known by in every run, the step it came in first, and its text."""

    key: str
    step: int
    text: str


@dataclass(frozen=True)
class Advisory:
    """What the ready-made guards said of a run that they were observed in.

    ``watching`` is False where the run was only recorded, of which ``summary`` is the record. ``of_interruption`` are
    those ``alarms`` that are about an interruption of the training alone. ``broken`` has the guards that failed
    themselves, with their errors, ``idle`` those that left out every look, and why, ``arguments`` what each was
    constructed with, ``seconds`` what each took.
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
            "alarms": _told(self.alarms),
            "of_interruption": _told(self.of_interruption),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Advisory:
        told = {name: tuple(_heard(data[name])) for name in ("alarms", "of_interruption")}
        return cls(**{**data, **told})


@dataclass(frozen=True)
class Circumstances:
    """What a probing run tells of the process that it ran in.

    ``private`` is its private memory, in KiB, ``imported`` the modules that it imported on its way, ``sources`` a hash
    of the files that the target and its guards are defined in, ``defined`` these files with the names of the classes,
    those of the ``target`` and those of the ``guards``.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    private: int = 0
    imported: Sequence[str] = ()
    sources: str = ""
    defined: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


@dataclass
class RunResult(Result):
    """What came of a training, however it ended.

    ``of_interruption`` are those ``alerts`` that are about an interruption of the training alone. ``activations``
    counts how often the fault acted, ``first_step`` is the step in which it first did; ``broken`` says how the injector
    failed, if it did. ``saves`` counts the steps after which a checkpoint was written. ``born`` is where the run began.
    ``unevaluated`` says why the final weights could not be evaluated, ``unevaluated_best`` why those of the best
    checkpoint couldn't, both empty where they could; ``in_place`` has the metrics of the network with the fault still
    in it. ``draws`` says where the run took numbers that no seed gives, ``guards`` names the user's. ``profile`` and
    ``circumstances`` are those of a probing run. ``fit_seconds`` is what the fit alone took of ``seconds``.
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
    in_place: dict[str, float] = field(default_factory=dict)
    draws: Mapping[str, Any] | None = None
    advice: Advisory | None = None
    guards: list[str] = field(default_factory=list)
    profile: TargetProfile | None = None
    circumstances: Circumstances | None = None
    fit_seconds: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "trajectory": self.trajectory.to_json(),
            "alerts": _told(self.alerts),
            "of_interruption": _told(self.of_interruption),
            "warnings": [vars(warning) for warning in self.warnings],
            "advice": self.advice and self.advice.to_json(),
            "profile": self.profile and self.profile.to_json(),
            "circumstances": self.circumstances and vars(self.circumstances),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunResult:
        read = {
            "trajectory": Trajectory.from_json(data["trajectory"]),
            "alerts": _heard(data["alerts"]),
            "of_interruption": _heard(data["of_interruption"]),
            "warnings": [ShownWarning(**warning) for warning in data["warnings"]],
            "advice": data["advice"] and Advisory.from_json(data["advice"]),
            "profile": data["profile"] and TargetProfile.from_json(data["profile"]),
            "circumstances": data["circumstances"] and Circumstances(**data["circumstances"]),
        }
        return cls(**{**data, **read})


@dataclass
class ExaminedRun(Result):
    """A training that was looked at: ``seen`` is what the looking gave, which is for whoever ordered it to read."""

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
    """The scenario has nothing that the variation that was asked for changes."""

    kind: ClassVar = "not_varied"
    reason: str


@dataclass(frozen=True)
class Broken(Result):
    """An injector failed before there was a training to speak of."""

    kind: ClassVar = "broken"
    reason: str


@dataclass(frozen=True)
class Unreadable(Result):
    """What came was no result: something in it can't be written down, or the victim wrote into the pipe."""

    kind: ClassVar = "unreadable"
    text: str


@dataclass(frozen=True)
class SuiteRun(Result):
    """All tests that were asked for are over; ``imported`` has the modules that they imported, with their files."""

    kind: ClassVar = "tests"
    imported: Mapping[str, str] = field(default_factory=dict)


RESULTS: Mapping[str, type[Result]] = {
    result.kind: result for result in (RunResult, ExaminedRun, TargetFailed, NotVaried, Broken, Unreadable, SuiteRun)
}


def message_of(result: Result) -> dict[str, Any]:
    """The message by which a victim gives its result."""
    return {"result": {"kind": result.kind, **result.to_json()}}


def read_result(said: Any) -> Result:
    """The result that stands in such a message, whatever stands there."""
    try:
        given = dict(said)
        return RESULTS[given.pop("kind")].from_json(given)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Unreadable(str(said)[:2000])


@dataclass
class Outcome:
    """How a run ended, as its fork server saw it.

    ``results`` has what each rank reported (None of one that never did), ``exit`` is its status (negative: the signal),
    ``acting`` the step at which the fault was first about to act, ``output`` the head and tail of what it printed,
    ``notes`` what it said on its way.
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

    @property
    def result(self) -> Result | None:
        """What the first rank reported; None where it never did."""
        return self.results[0] if self.results else None

    @property
    def reported(self) -> bool:
        """Whether every rank lived to report something."""
        return bool(self.results) and None not in self.results

    @property
    def run(self) -> RunResult | None:
        """The first rank's training; None where it did not live to say how that went, or did not get so far."""
        return _run_of(self.result)

    @property
    def runs(self) -> list[RunResult]:
        """The trainings of all ranks that told of theirs, in the order of the ranks."""
        return [run for result in self.results if (run := _run_of(result)) is not None]

    @property
    def trajectory(self) -> Trajectory | None:
        """What the first rank's training did, where it lived to say so."""
        return self.run.trajectory if self.run is not None else None

    @property
    def target_error(self) -> TargetError | None:
        """Why a rank could not import or build the target; None where all could."""
        return next((result.error for result in self.results if isinstance(result, TargetFailed)), None)

    @property
    def unreadable(self) -> str:
        """What a rank told instead of a result; empty where all told results."""
        return next((result.text for result in self.results if isinstance(result, Unreadable)), "")

    @property
    def broken(self) -> str:
        """How an injector failed, on the first of the ranks where one did; empty where none did."""
        told = (one.reason if isinstance(one, Broken) else run.broken if (run := _run_of(one)) else ""
                for one in self.results)  # fmt: skip
        return next(filter(None, told), "")

    def to_json(self) -> dict[str, Any]:
        results = [result and message_of(result)["result"] for result in self.results]
        return {**vars(self), "results": results}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        results = [None if said is None else read_result(said) for said in data["results"]]
        return cls(**{**data, "results": results})


def _run_of(result: Result | None) -> RunResult | None:
    return result.run if isinstance(result, ExaminedRun) else result if isinstance(result, RunResult) else None


def _told(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    return [asdict(alert) for alert in alerts]


def _heard(data: Iterable[Mapping[str, Any]]) -> list[Alert]:
    return [Alert.from_json(alert) for alert in data]
