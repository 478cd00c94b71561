"""The report of a campaign: plain data, written to report.json and read back by every format and the gate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faultlab.core import report_display, seal
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.harm import Harm as Harm
from faultlab.core.reason import Reason, ReasonKind, reasons_from_json, reasons_to_json
from faultlab.core.source_mutation import Mutation
from faultlab.core.status import INCONCLUSIVE as INCONCLUSIVE
from faultlab.core.status import WORST_FIRST, counts_of
from faultlab.core.status import Status as Status
from faultlab.core.strict_json import dump as dump
from faultlab.core.strict_json import plain

SCHEMA = 1
SOURCE = "source"
"""The family of source mutants. They are not failure modes, and coverage is counted without them."""

NO_GATE = "no gate in the scenario"
_SEVERITY_ORDER = {"critical": 0, "major": 1, "minor": 2}


@dataclass(frozen=True)
class FaultResult:
    """The verdict on one fault and its evidence.

    Attributes:
        id: The fault's text form.
        mode: The failure mode's id.
        family: The part of it before the dot.
        severity: critical, major or minor.
        status: The verdict.
        reason: Why the verdict is so; may be empty.
        activations: How often the fault changed a value.
        first_step: The training step of the first activation, from 0; None if it never acted.
        detected_by: The detections, best first.
        warnings: Warnings that the clean run does not have.
        harm: The cost of the fault; None if it was not measured.
        prescription: Ready-made guards that detect the fault.
        seconds: The duration of the run in seconds.
        mutant: Of a source mutant: its location, its change, and the results of tests and training.
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
        """The detection of the highest worth."""
        return min(self.detected_by, key=lambda found: found.worth, default=None)

    @property
    def harmful(self) -> bool:
        """True if harm was measured."""
        return self.harm is not None and self.harm.harmful

    @property
    def harm_unknown(self) -> str:
        """The reason why the harm is not known although it was to be measured; else empty."""
        return self.harm.unknown if self.harm is not None else ""

    @property
    def symptom(self) -> str:
        """The effect in words that other faults share; empty if the effect is a number of its own."""
        return self.reason or ("its cost could not be measured" if self.harm is None else self.harm.symptom)

    @property
    def badness(self) -> tuple[int, bool, int, float]:
        """A sort key for silent faults: harm, unknown harm, no harm.

        Faults of one symptom follow those that have a number of their own: a NaN is easy to see, a wrong number is not.
        """
        kind = 0 if self.harmful else 1 if self.harm is None or self.harm_unknown else 2
        size = self.harm.size if self.harm is not None else 0.0
        return kind, bool(self.symptom), severity_order(self.severity), -size

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which copies recursively: a campaign has thousands of these.
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
    """The results of the clean runs.

    ``measure`` has the ``metric`` that harm is measured by, which values are ``better`` (lower, higher or unknown) and
    ``why``. ``findings`` are problems of the target that affect its verdicts: ``kind``, ``what``, ``evidence``,
    ``remedy``.
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
        """Return all fields, ``measure`` and ``findings`` only if they are not empty."""
        whole = {**asdict(self), "false_alarms": [alarm.as_false_alarm() for alarm in self.false_alarms]}
        return {name: value for name, value in whole.items() if value or name not in ("measure", "findings")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Baseline:
        return cls(**{**data, "false_alarms": [Alert.from_json(alarm) for alarm in data["false_alarms"]]})


@dataclass
class Report:
    """The report of one scenario's campaign. ``to_json`` is the contract of report.json.

    Attributes:
        scenario: The scenario's name.
        versions: The versions of torch, lightning and python that the campaign ran under.
        baseline: The results of the clean runs.
        faults: The verdicts on the injected faults.
        timing: Seconds in ``import``, ``baseline``, ``faults`` and ``total``, and the ``jobs`` at a time.
        passed: True if there is no reason not to pass.
        reasons: Why the report does not pass.
        faultlab: The version of faultlab that wrote it.
        mutants: The verdicts on source mutants; report.json lists them among the faults.
        mutation: The source mutation; None without one.
        target: The module in the user's source: its class path, ``file``, ``line``, and the lines of its ``methods``.
        demands: The demands of the gate; None if none was asked.
        exemptions: The scenario's ``ignore:`` entries, with ``mode``, ``reason`` and ``expires``.
        shard: ``k/n`` for a share of a campaign; else empty.
        selection: The globs that ``select`` or ``ignore`` a part of the scenario's faults; empty for all of them.
        study: The command that generated the scenario, if the user did not write one; else empty.
        page: The path of the HTML page, if `faultlab.run` wrote it.
        date: When the campaign began, in UTC.
        commit: The commit of the user's repository: ``id``, and whether files are ``changed``.
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
    selection: dict[str, list[str]] = field(default_factory=dict)
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
        """The gate's result in words; without a gate, why the report does not pass, if it does not."""
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
        """Return the status of each failure mode.

        Returns:
            The status of the failure mode's worst fault by failure mode id, sorted by id.
        """
        modes: dict[str, list[Status]] = {}
        for fault in self.faults:
            modes.setdefault(fault.mode, []).append(fault.status)
        return {mode: min(found, key=WORST_FIRST.index) for mode, found in sorted(modes.items())}

    @property
    def ratio(self) -> float | None:
        """The coverage: detected over detected, warned and silent failure modes; None if there are none of these."""
        counts = Counter(self.by_mode().values())
        counted = counts[Status.DETECTED] + counts[Status.WARNED] + counts[Status.SILENT]
        return counts[Status.DETECTED] / counted if counted else None

    def silent(self) -> list[FaultResult]:
        """Return the faults that no detector detected.

        Returns:
            The results with the status ``silent``: harmful faults first, then those whose harm is unknown. Among
            these, the most severe and most harmful come first, and faults of the same symptom stand together.
        """
        worst = sorted((fault for fault in self.faults if fault.status is Status.SILENT), key=lambda f: f.badness)
        together: dict[tuple[int, str], list[FaultResult]] = {}
        for fault in worst:
            together.setdefault((fault.badness[0], fault.symptom), []).append(fault)
        return [fault for alike in together.values() for fault in alike]

    def by_detector(self) -> dict[str, int]:
        """Return how many failure modes each detector detected.

        Returns:
            By the detector's name, the number of failure modes with at least one fault that it detected; highest first.
        """
        found: dict[str, set[str]] = {}
        for fault in self.faults:
            for detection in fault.detected_by if fault.status is Status.DETECTED else []:
                name = ":".join(filter(None, detection.who))
                found.setdefault(name, set()).add(fault.mode)
        return {name: len(modes) for name, modes in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))}

    def coverage(self) -> dict[str, Any]:
        """Return the counts and ratios of the verdicts.

        Returns:
            ``modes`` and ``faults`` with the counts by status, ``ratio`` with the coverage from 0 to 1 or None, and
            ``by_detector``.
        """
        return {
            "modes": counts_of(self.by_mode().values()),
            "faults": counts_of(fault.status for fault in self.faults),
            "ratio": self.ratio,
            "by_detector": self.by_detector(),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the content of report.json.

        Returns:
            Plain data that JSON can represent, with a digest of itself.
        """
        whole = {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "faultlab": self.faultlab,
            **({"shard": self.shard} if self.shard else {}),
            **({"selection": self.selection} if self.selection else {}),
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
        """Return the report that `to_json` wrote.

        Args:
            data: The content of a report.json.

        Returns:
            The report, with source mutants apart from the other faults.

        Raises:
            ValueError: The schema version is unsupported.
            KeyError, TypeError, AttributeError: The data is not a report.
        """
        if data.get("schema") != SCHEMA:
            raise ValueError(f"unsupported report schema {data.get('schema')}: this version reads schema {SCHEMA}")
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
            selection=dict(data.get("selection") or {}),
            study=data.get("study", ""),
            date=data.get("date", ""),
            commit=dict(data.get("commit") or {}),
        )

    @classmethod
    def read(cls, file: Path) -> Report:
        """Read a report.json.

        Args:
            file: The path of the file.

        Returns:
            The report.

        Raises:
            OSError: The file can't be read.
            ValueError: The file is not JSON, is not a report, or has an unsupported schema version.
        """
        return cls.of(json.loads(file.read_text(encoding="utf-8")), file)

    @classmethod
    def of(cls, data: Any, file: Path) -> Report:
        """Return the report with the content of a file.

        Args:
            data: The content, decoded from JSON.
            file: The path of the file, for the error message.

        Returns:
            The report.

        Raises:
            ValueError: The content is not a report, or has an unsupported schema version.
        """
        try:
            return cls.from_json(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is not a faultlab report: {type(error).__name__}: {error}") from None


def severity_order(severity: str) -> int:
    """Return a sort key for severities, most severe first."""
    return _SEVERITY_ORDER.get(severity, 9)
