"""What a campaign found: plain data, written to report.json and read back, the same for every format and the gate."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any

from faultlab.core import report_display, seal
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.reason import Reason, ReasonKind, reasons_from_json, reasons_to_json

SCHEMA = 1
SOURCE = "source"
"""The family of source mutants, which are no failure modes: coverage is counted without them."""


class Status(str, Enum):
    """The verdict on a fault. One meaning each; see docs/DESIGN.md."""

    DETECTED = "detected"
    WARNED = "warned"
    SILENT = "silent"
    NO_EFFECT = "no_effect"
    NOT_APPLICABLE = "not_applicable"
    NOT_ACTIVATED = "not_activated"
    TIMEOUT = "timeout"
    ERROR = "error"
    IGNORED = "ignored"


# A failure mode is as bad as its worst fault; what is inconclusive must not hide behind what was detected.
_WORST_FIRST = [Status.SILENT, Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT, Status.WARNED, Status.DETECTED,
                Status.NO_EFFECT, Status.NOT_APPLICABLE, Status.IGNORED]  # fmt: skip
INCONCLUSIVE = (Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT)
NO_GATE = "no gate in the scenario"
_SEVERITY_ORDER = {"critical": 0, "major": 1, "minor": 2}


@dataclass(frozen=True)
class Harm:
    """What the fault cost: the metric of the final weights, clean and faulty. ``faulty`` is None where no run ended.

    ``unknown`` says why nothing is known of it, and is empty where something is; ``seen_by`` what else than the metric
    shows the harm.
    """

    metric: str
    clean: float | None
    faulty: float | None
    harmful: bool
    unknown: str = ""
    seen_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it, but for the words that there are none of."""
        return {name: value for name, value in vars(self).items() if value or name not in ("unknown", "seen_by")}


@dataclass(frozen=True)
class FaultResult:
    """The verdict on one fault and what it rests on. ``first_step`` is the training step of the first activation.

    Of a source mutant ``mutant`` says where it stands, what it changes, and what tests and training each made of it.
    """

    id: str
    mode: str
    family: str
    severity: str
    status: Status
    reason: str = ""
    activations: int = 0
    first_step: int | None = None
    detected_by: list[Detection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    harm: Harm | None = None
    prescription: list[Prescribed] = field(default_factory=list)
    seconds: float = 0.0
    mutant: dict[str, Any] | None = None

    @property
    def best(self) -> Detection | None:
        """The detection worth most."""
        return min(self.detected_by, key=lambda found: found.worth, default=None)

    @property
    def harmful(self) -> bool:
        """Whether harm was measured."""
        return self.harm is not None and self.harm.harmful

    @property
    def harm_unknown(self) -> str:
        """Why nothing is known of its harm, although it was to be measured; empty where something is."""
        return self.harm.unknown if self.harm is not None else ""

    @property
    def badness(self) -> tuple[int, int, float]:
        """Sorts silent faults, the worst first, and before those without harm those of which nothing is known."""
        harm = self.harm
        severity = severity_order(self.severity)
        if harm is None or not harm.harmful:
            return 1 if self.harm_unknown else 2, severity, 0.0
        if harm.clean is None or harm.faulty is None:
            return 0, severity, -math.inf
        return 0, severity, -abs(harm.faulty - harm.clean) / (abs(harm.clean) + 1e-12)

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which copies whatever it holds to the bottom: a campaign has thousands of these.
        whole = {**vars(self), "detected_by": [found.to_json() for found in self.detected_by]}
        whole["harm"] = None if self.harm is None else self.harm.to_json()
        whole["prescription"] = [guard.to_json() for guard in self.prescription]
        if self.mutant is None:
            del whole["mutant"]
        data: dict[str, Any] = plain(whole)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FaultResult:
        fields = dict(data)
        fields["status"] = Status(fields["status"])
        fields["detected_by"] = [Detection(**found) for found in fields["detected_by"]]
        fields["prescription"] = [Prescribed(**guard) for guard in fields["prescription"]]
        fields["harm"] = None if fields["harm"] is None else Harm(**fields["harm"])
        return cls(**fields)


@dataclass
class Baseline:
    """What healthy looks like.

    ``measure`` says what harm is measured by (``metric``), which values are ``better`` (lower, higher or unknown) and
    ``why``. ``findings`` is what verdicts on this target suffer from: ``kind``, ``what``, ``evidence``, ``remedy``.
    """

    seconds: float = 0.0
    steps: int = 0
    deterministic: bool = True
    seeds: list[int] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    false_alarms: list[Alert] = field(default_factory=list)
    measure: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it, but a measure where nothing was trained, and findings where there are none."""
        whole = {**asdict(self), "false_alarms": [alarm.as_false_alarm() for alarm in self.false_alarms]}
        return {name: value for name, value in whole.items() if value or name not in ("measure", "findings")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Baseline:
        return cls(**{**data, "false_alarms": [Alert.from_json(alarm) for alarm in data["false_alarms"]]})


@dataclass
class Mutation:
    """What was mutated and what that came to, beside the verdicts on the single mutants.

    ``score`` is the share that was detected of those that count: detected, warned, silent, and not activated, since
    what nothing runs nobody checks. ``methods`` has a row for each function, the weakest first, with the failure modes
    of the catalogue that bite in it. ``unmutated`` are functions without a mutant, and why; ``unreached`` those of them
    that mutmut does not change though there is something in them, of which no score says anything.
    """

    mutmut: str = ""
    files: list[str] = field(default_factory=list)
    judges: list[str] = field(default_factory=list)
    score: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    methods: list[dict[str, Any]] = field(default_factory=list)
    unmutated: dict[str, str] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    since: str = ""
    shard: str = ""
    timing: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Demands:
    """What a report must reach to pass: the scenario's ``gate:``, and ``fail_under``, the command line's coverage.

    ``silent`` limits silent failure modes by severity, ``latency`` the steps from activation to detect, ``mutants`` the
    share of source mutants. What is None is not demanded, but false alarms: None allows none.
    """

    coverage: float | None = None
    mutants: float | None = None
    silent: Mapping[str, int] = field(default_factory=dict)
    false_alarms: int | None = None
    latency: int | None = None
    fail_under: float | None = None

    @property
    def of_faults(self) -> list[str]:
        """The names of what is demanded that only injected faults can show."""
        return [name for name in ("coverage", "silent", "latency", "fail_under") if name in self.to_json()]

    def to_json(self) -> dict[str, Any]:
        """What is demanded, and nothing of what is not."""
        return {name: value for name, value in asdict(self).items() if value is not None and value != {}}


@dataclass
class Report:
    """One scenario's campaign. ``to_json`` is the contract of report.json.

    ``mutants`` are the verdicts on source mutants; in the file they stand among the faults. ``target`` says where the
    module stands in the user's source: its class path, ``file``, ``line``, and the lines of its ``methods``.
    ``demands`` is what the gate asks for, None of what has none; ``exemptions`` are the scenario's ``ignore:``, with
    ``mode``, ``reason`` and ``expires``. ``shard`` is ``k/n`` of a share of a campaign, else empty; ``study`` names the
    command that made up what it is of, for a purpose of its own, where that is no scenario of the user's. ``page`` is
    the path of the HTML page, where `faultlab.run` has written it.
    ``date`` is when the campaign began, in UTC, ``commit`` the one of the user's repository (``id``, ``changed``).
    """

    scenario: str
    versions: dict[str, str] = field(default_factory=dict)
    baseline: Baseline = field(default_factory=Baseline)
    faults: list[FaultResult] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)
    passed: bool = True
    reasons: list[Reason] = field(default_factory=list)
    faultlab: str = ""
    mutants: list[FaultResult] = field(default_factory=list)
    mutation: Mutation | None = None
    target: dict[str, Any] = field(default_factory=dict)
    demands: Demands | None = None
    exemptions: list[dict[str, str]] = field(default_factory=list)
    shard: str = ""
    study: str = ""
    date: str = ""
    commit: dict[str, Any] = field(default_factory=dict)
    page: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return report_display.line(self)

    def _repr_html_(self) -> str:
        return report_display.table(self)

    @property
    def gate(self) -> str:
        """What the gate came to, in words; where nothing was asked there is none, but what does not pass is said."""
        if self.demands != Demands() or any(one.kind is ReasonKind.BASELINE for one in self.reasons):
            if not self.passed:
                return "gate NOT passed"
            return (
                "gate passed" if self.baseline.deterministic else "gate passed, by a target that is not deterministic"
            )
        if self.passed:
            return NO_GATE
        unproven = any(one.proves_nothing and not one.kind.of_mutants for one in self.reasons)
        why = "false alarms" if self.baseline.false_alarms else "inconclusive" if unproven else "not passed"
        return f"{NO_GATE}; {why}"

    def by_mode(self) -> dict[str, Status]:
        """Each failure mode's status: that of its worst fault."""
        modes: dict[str, list[Status]] = {}
        for fault in self.faults:
            modes.setdefault(fault.mode, []).append(fault.status)
        return {mode: min(found, key=_WORST_FIRST.index) for mode, found in sorted(modes.items())}

    @property
    def ratio(self) -> float | None:
        """Detected over detected, warned and silent failure modes; None where there is none of these."""
        counts = Counter(self.by_mode().values())
        counted = counts[Status.DETECTED] + counts[Status.WARNED] + counts[Status.SILENT]
        return counts[Status.DETECTED] / counted if counted else None

    def silent(self) -> list[FaultResult]:
        """The faults that nobody detected, the worst first."""
        return sorted((fault for fault in self.faults if fault.status is Status.SILENT), key=lambda f: f.badness)

    def by_detector(self) -> dict[str, int]:
        """How many failure modes each detector detected, at one fault at least."""
        found: dict[str, set[str]] = {}
        for fault in self.faults:
            for detection in fault.detected_by if fault.status is Status.DETECTED else []:
                name = ":".join(filter(None, detection.who))
                found.setdefault(name, set()).add(fault.mode)
        return {name: len(modes) for name, modes in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))}

    def coverage(self) -> dict[str, Any]:
        """What is counted from the verdicts."""
        return {
            "modes": counts_of(self.by_mode().values()),
            "faults": counts_of(fault.status for fault in self.faults),
            "ratio": self.ratio,
            "by_detector": self.by_detector(),
        }

    def to_json(self) -> dict[str, Any]:
        whole = {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "faultlab": self.faultlab,
            **({"shard": self.shard} if self.shard else {}),
            **({"study": self.study} if self.study else {}),
            **({"date": self.date} if self.date else {}),
            **({"commit": self.commit} if self.commit else {}),
            "versions": self.versions,
            **({"target": self.target} if self.target else {}),
            "baseline": self.baseline.to_json(),
            "faults": [],
            "coverage": self.coverage(),
            **({"mutants": asdict(self.mutation)} if self.mutation is not None else {}),
            "timing": self.timing,
            "gate": {
                "passed": self.passed,
                **reasons_to_json(self.reasons),
                **({"demands": self.demands.to_json()} if self.demands is not None else {}),
                **({"exemptions": self.exemptions} if self.exemptions else {}),
            },
        }
        whole = {**plain(whole), "faults": [fault.to_json() for fault in [*self.faults, *self.mutants]]}
        return {**whole, seal.KEY: seal.digest_of(whole)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        if data.get("schema") != SCHEMA:
            raise ValueError(f"a report of schema {data.get('schema')}; this version reads schema {SCHEMA}")
        faults = [FaultResult.from_json(fault) for fault in data["faults"]]
        return cls(
            scenario=data["scenario"],
            versions=dict(data["versions"]),
            baseline=Baseline.from_json(data["baseline"]),
            faults=[fault for fault in faults if fault.family != SOURCE],
            mutants=[fault for fault in faults if fault.family == SOURCE],
            mutation=Mutation(**data["mutants"]) if "mutants" in data else None,
            timing=dict(data["timing"]),
            passed=data["gate"]["passed"],
            reasons=reasons_from_json(data["gate"]),
            faultlab=data["faultlab"],
            target=dict(data.get("target") or {}),
            demands=Demands(**data["gate"]["demands"]) if "demands" in data["gate"] else None,
            exemptions=list(data["gate"].get("exemptions", [])),
            shard=data.get("shard", ""),
            study=data.get("study", ""),
            date=data.get("date", ""),
            commit=dict(data.get("commit") or {}),
        )

    @classmethod
    def read(cls, file: Path) -> Report:
        """Reads a report.json; raises ValueError where it is none."""
        return cls.of(json.loads(file.read_text(encoding="utf-8")), file)

    @classmethod
    def of(cls, data: Any, file: Path) -> Report:
        """The report that a file's data is; raises ValueError where it is none."""
        try:
            return cls.from_json(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no report of faultlab: {type(error).__name__}: {error}") from None


def severity_order(severity: str) -> int:
    """Sorts severities, the gravest first."""
    return _SEVERITY_ORDER.get(severity, 9)


def dump(data: Any, indent: int | None = None) -> str:
    """Strict JSON: what is not finite becomes null, since JSON has no word for it."""
    text = json.dumps(plain(data), indent=indent, ensure_ascii=False, allow_nan=False)
    # A victim's message may hold half a character, which no file takes; its escape is JSON's own.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def dump_to(lines: IO[str], data: Any, indent: int | None = None) -> None:
    """Writes `plain` data to a text file as `dump` has it, piece by piece: a large document is never one string."""
    lines.writelines(json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False).iterencode(data))


def plain(data: Any) -> Any:
    """A copy of the data as JSON has it: lists for tuples, values for enumerations, null for what is not finite."""
    if isinstance(data, Enum):
        return data.value
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    return data


def counts_of(statuses: Iterable[Status]) -> dict[str, int]:
    """How many there are of each status, those that there are none of too."""
    counted = Counter(statuses)
    return {status.value: counted[status] for status in Status}
