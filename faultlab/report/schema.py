"""report.json key by key: the contract with other tools and the source of docs/report.schema.json.

These models describe the file; `faultlab.core.report` writes it. Tests check that they agree.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema

from faultlab.core.reason import ReasonKind
from faultlab.report.fault_schema import Fault
from faultlab.report.schema_fields import LEFT_OUT, Count, Finite, Line, Part, Seconds, Share

DIALECT = GenerateJsonSchema.schema_dialect


class FalseAlarm(Part):
    """An alert of a guard, or a failure of a test, on a clean run."""

    kind: Literal["guard", "test"]
    """The kind of detector."""
    name: str
    """The guard's class or name, or the test's id."""
    step: Count
    """The training step, from 0; 0 for a test."""
    message: str
    """The message."""


class Measure(Part):
    """The metric that harm is measured by."""

    metric: str
    """The metric."""
    better: Literal["lower", "higher", "unknown"]
    """Which values are better; if that is unknown, a value far from the clean one in either direction is harm."""
    why: str
    """The evidence for the direction."""


class TargetFinding(Part):
    """A property of the clean target that weakens verdicts."""

    kind: Literal["nondeterministic", "outlier", "direction", "unevaluated", "reported", "best-so-far", "unforked"]
    """Clean runs of one seed differ; a clean seed diverges; the metric's better direction is unknown; the clean run's
    weights can't be evaluated on their own; the training's own report of the metric measures harm, or its best report
    so far; runs can't be forked."""
    what: str
    """The finding."""
    evidence: str
    """The cause, if it is known."""
    remedy: str
    """What to do."""


class Baseline(Part):
    """The clean runs."""

    seconds: Seconds
    """The duration of a clean run in seconds."""
    steps: Count
    """Training steps of a clean run."""
    deterministic: bool
    """True if two clean runs of one seed are bitwise the same."""
    seeds: list[int]
    """The seeds of the clean runs."""
    metrics: dict[str, Finite]
    """The metrics of the first clean run's final weights; null if not finite."""
    false_alarms: list[FalseAlarm]
    """Alerts on clean runs, and tests that were left out since they fail without a fault."""
    measure: Measure = LEFT_OUT
    """The measure of harm; left out if nothing was trained."""
    findings: list[TargetFinding] = LEFT_OUT
    """Properties of the target that weaken verdicts; left out if there are none."""


class Counts(Part):
    """The number of each status."""

    detected: Count
    """A detector that is quiet on clean runs reported it."""
    warned: Count
    """No detector reported it, but there are new warnings."""
    silent: Count
    """It acted and changed the run, and no detector reported it."""
    no_effect: Count
    """It acted, and the run is the same as the clean one."""
    not_applicable: Count
    """It can't occur in this module."""
    not_activated: Count
    """It never acted although it should have: inconclusive."""
    timeout: Count
    """It exceeded its deadline: inconclusive."""
    error: Count
    """faultlab itself failed: inconclusive."""
    ignored: Count
    """The scenario exempts it."""


class Coverage(Part):
    """The share of failure modes that is detected; source mutants do not count."""

    modes: Counts
    """Failure modes, each with the status of its worst fault."""
    faults: Counts
    """Faults."""
    ratio: Share | None
    """Detected failure modes over detected, warned and silent ones; null if there are none of these."""
    by_detector: dict[str, Count]
    """The number of failure modes that each detector detected, by `kind:name` or kind."""


class Method(Part):
    """One function: its source mutants, and the failure modes that act on it."""

    file: str
    """The file, relative to the project's root."""
    function: str
    """The function's dotted name."""
    line: Line
    """The first of its mutants' lines."""
    detected: Count
    """Mutants that were detected."""
    counted: Count
    """Mutants that count for the score."""
    not_activated: Count
    """Mutants that nothing runs."""
    modes_detected: Count
    """Failure modes that act on it and are detected."""
    modes: Count
    """Failure modes that act on it and were judged."""


class Mutation(Part):
    """The source mutants as a whole; the single mutants are among the faults."""

    mutmut: str
    """The version of mutmut that made them."""
    files: list[str]
    """The files that were mutated."""
    judges: list[Literal["tests", "training"]]
    """The judges."""
    score: Share | None
    """Detected mutants over detected, warned, silent and not activated ones."""
    counts: Counts
    """Mutants by status."""
    methods: list[Method]
    """One entry for each function, the weakest first."""
    unmutated: dict[str, str]
    """Functions without a mutant, with the reason."""
    unreached: list[str] = LEFT_OUT
    """Those of them that have code which mutmut can't mutate: the score does not cover them."""
    notes: list[str]
    """Further remarks."""
    kept: Count
    """The number of verdicts that were kept from an earlier run."""
    since: str
    """If only functions changed since a commit were mutated, that commit; empty for all functions."""
    shard: str
    """The share that was judged, as `k/n`."""
    timing: dict[str, float]
    """Seconds in `total`, and the `jobs` at a time."""


class Target(Part):
    """The module's place in the user's source; paths are relative to the project's root."""

    class_path: str = LEFT_OUT
    """The module's class."""
    file: str = LEFT_OUT
    """The file that defines it; left out if it is not a file of the project."""
    line: Line = LEFT_OUT
    """The line of its class."""
    methods: dict[str, Line] = LEFT_OUT
    """The lines of its methods."""
    code: dict[str, str] = LEFT_OUT
    """The source text of these lines, by method."""
    scenario: str = LEFT_OUT
    """The scenario's file as given on the command line."""
    framework: str = LEFT_OUT
    """The framework that trains it; left out for Lightning."""
    project: str = LEFT_OUT
    """The project's root relative to its git repository; left out if they are the same."""


class Selection(Part):
    """The part of a scenario's faults that `faultlab run` was limited to. A gate rejects such a report."""

    select: list[str]
    """The globs and faults of `--select`; empty if all were selected."""
    ignore: list[str]
    """The globs of `--ignore`."""


class Commit(Part):
    """The commit of the user's repository that the campaign ran on."""

    id: str
    """The commit's hash."""
    changed: bool
    """Whether tracked files differed from the commit."""


class Demands(Part):
    """The demands of the gate; a key that is left out is not demanded."""

    coverage: Share = LEFT_OUT
    """The least coverage that the scenario requires."""
    mutants: Share = LEFT_OUT
    """The least share of source mutants to be detected."""
    silent: dict[Literal["critical", "major", "minor"], Count] = LEFT_OUT
    """The most silent failure modes of each severity."""
    false_alarms: Count = LEFT_OUT
    """The most false alarms on clean runs; if left out, none."""
    latency: Count = LEFT_OUT
    """The most training steps from a fault's first activation to its first detection."""
    fail_under: Share = LEFT_OUT
    """The least coverage that the command line requires."""


class Exemption(Part):
    """Failure modes that the scenario exempts, expired or not."""

    mode: str
    """The failure mode's id, or a glob."""
    reason: str
    """The reason for the exemption."""
    expires: date
    """The last day of the exemption."""


class Gate(Part):
    """The result of the gate."""

    passed: bool
    """True if there is no reason to fail."""
    reasons: list[str]
    """Every reason for a failure, in words, which may change."""
    kinds: list[ReasonKind]
    """The kind of each reason, in their order."""
    demands: Demands = LEFT_OUT
    """The demands."""
    exemptions: list[Exemption] = LEFT_OUT
    """The failure modes that are exempt."""


class Document(Part):
    """report.json of faultlab: the findings of one scenario's campaign."""

    schema_: Literal[1] = Field(alias="schema")
    """The version of this format. It changes if a reader would break; keys may be added without a change."""
    scenario: str
    """The scenario's name."""
    faultlab: str
    """The version of faultlab."""
    shard: str = LEFT_OUT
    """The share of the faults in this report, as `k/n`; left out if it has all."""
    selection: Selection = LEFT_OUT
    """The selection of a partial report; left out if it has all faults of the scenario."""
    study: str = LEFT_OUT
    """The command that generated the scenario for its own purpose; left out for a scenario of the user's."""
    date: str = LEFT_OUT
    """When the campaign began: ISO 8601, in UTC."""
    commit: Commit = LEFT_OUT
    """The commit of the user's repository; left out if the project is not in one."""
    versions: dict[str, str]
    """The versions of torch, lightning and python in the campaign."""
    target: Target = LEFT_OUT
    """The module; left out if it is unknown."""
    baseline: Baseline
    """The clean runs."""
    faults: list[Fault]
    """Every verdict: faults by id, then source mutants."""
    coverage: Coverage
    """The share of failure modes that is detected."""
    mutants: Mutation = LEFT_OUT
    """The source mutants as a whole; left out if there are none."""
    timing: dict[str, float]
    """Seconds in `import`, `baseline`, `faults` and `total`, and the `jobs` at a time."""
    gate: Gate
    """The result of the gate."""
    digest: str
    """A digest of all other keys: `faultlab gate` rejects a report that was edited by hand."""


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json (draft 2020-12)."""
    return _schema(Document)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files (draft 2020-12), for editors; `faultlab check` checks more."""
    from faultlab.config.scenario import Scenario

    return _schema(Scenario)


class _Tidy(GenerateJsonSchema):
    """A schema without redundant parts: titles made of names, and null defaults of optional keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Any:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(by_alias=True, schema_generator=_Tidy)}
