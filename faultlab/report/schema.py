"""report.json key by key: the contract that other tools read, of which docs/report.schema.json is made.

These models describe the file; `faultlab.core.report` writes it. Tests hold both together.
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
    """A guard or test that complained of a healthy run."""

    kind: Literal["guard", "test"]
    """Who complained."""
    name: str
    """The guard's class or name, or the test's id."""
    step: Count
    """The training step, from 0; 0 for a test."""
    message: str
    """What it said."""


class Measure(Part):
    """What harm is measured by."""

    metric: str
    """The metric."""
    better: Literal["lower", "higher", "unknown"]
    """Which values are better; where that is unknown, what is far off to either side is harm."""
    why: str
    """Who says so."""


class TargetFinding(Part):
    """Something about the healthy target that verdicts suffer from."""

    kind: Literal["nondeterministic", "outlier", "direction", "unevaluated"]
    """Clean runs of one seed differ; a clean seed goes far off; nobody knows which way the metric gets better; the
    clean run's weights can't be evaluated by themselves."""
    what: str
    """What was found."""
    evidence: str
    """The cause, where it could be found."""
    remedy: str
    """What to do."""


class Baseline(Part):
    """What healthy looks like: the clean runs."""

    seconds: Seconds
    """What a clean run took, in seconds."""
    steps: Count
    """Training steps of a clean run."""
    deterministic: bool
    """Whether two clean runs of one seed are the same to the bit."""
    seeds: list[int]
    """The seeds of the clean runs."""
    metrics: dict[str, Finite]
    """The metrics of the first clean run's final weights; null where not finite."""
    false_alarms: list[FalseAlarm]
    """Complaints about clean runs, and tests that were left out since they fail without a fault."""
    measure: Measure = LEFT_OUT
    """What harm is measured by; left out where nothing was trained."""
    findings: list[TargetFinding] = LEFT_OUT
    """What verdicts on this target suffer from; left out where nothing is known to."""


class Counts(Part):
    """How many there are of each status."""

    detected: Count
    """A detector raised or signalled that is quiet on clean runs."""
    warned: Count
    """Nobody did, but there are new warnings."""
    silent: Count
    """It acted, changed the run, and nobody detected."""
    no_effect: Count
    """It acted, and the run is the clean one."""
    not_applicable: Count
    """It can't happen to this module."""
    not_activated: Count
    """It should have acted and never did: inconclusive."""
    timeout: Count
    """It ran past its deadline: inconclusive."""
    error: Count
    """faultlab itself failed: inconclusive."""
    ignored: Count
    """The scenario exempts it."""


class Coverage(Part):
    """What share of the failure modes is detected; source mutants do not count."""

    modes: Counts
    """Failure modes, each with the status of its worst fault."""
    faults: Counts
    """Faults."""
    ratio: Share | None
    """Detected failure modes over detected, warned and silent ones; null where there is none of these."""
    by_detector: dict[str, Count]
    """How many failure modes each detector detected, by `kind:name` or kind."""


class Method(Part):
    """One function: its source mutants, and the failure modes that bite in it."""

    file: str
    """The file, relative to the project's root."""
    function: str
    """The function's dotted name."""
    line: Line
    """The first of its mutants' lines."""
    detected: Count
    """Mutants that somebody detected."""
    counted: Count
    """Mutants that count for the score."""
    not_activated: Count
    """Mutants that nothing runs."""
    modes_detected: Count
    """Failure modes that bite in it and are detected."""
    modes: Count
    """Failure modes that bite in it and were judged."""


class Mutation(Part):
    """What was mutated and what that came to; the single mutants stand among the faults."""

    mutmut: str
    """The version of mutmut that made them."""
    files: list[str]
    """The files that were mutated."""
    judges: list[Literal["tests", "training"]]
    """Who judged."""
    score: Share | None
    """The share that was detected of those detected, warned, silent and not activated."""
    counts: Counts
    """Mutants by status."""
    methods: list[Method]
    """A row a function, the weakest first."""
    unmutated: dict[str, str]
    """Functions without a mutant, and why."""
    unreached: list[str] = LEFT_OUT
    """Those of them that mutmut does not change though there is something in them: no score says anything of these."""
    notes: list[str]
    """What else to know."""
    kept: Count
    """How many verdicts an earlier run had left."""
    since: str
    """The commit since which functions changed that were mutated; empty for all."""
    shard: str
    """The share that was judged, as `k/n`."""
    timing: dict[str, float]
    """Seconds in `total`, and the `jobs` at a time."""


class Target(Part):
    """Where the module stands in the user's source; paths are relative to the project's root."""

    class_path: str = LEFT_OUT
    """The module's class."""
    file: str = LEFT_OUT
    """The file that defines it; left out where that is no file of the project."""
    line: Line = LEFT_OUT
    """The line of its class."""
    methods: dict[str, Line] = LEFT_OUT
    """The lines of its methods."""
    code: dict[str, str] = LEFT_OUT
    """The source text of these lines, by method."""
    scenario: str = LEFT_OUT
    """The scenario's file, as it was named on the command line."""
    project: str = LEFT_OUT
    """The project's root relative to its git repository; left out where they are the same."""


class Commit(Part):
    """The commit of the user's repository that the campaign ran on."""

    id: str
    """The commit's hash."""
    changed: bool
    """Whether tracked files differed from the commit."""


class Demands(Part):
    """What a report must reach to pass; what is left out is not demanded."""

    coverage: Share = LEFT_OUT
    """The least coverage that the scenario asks for."""
    mutants: Share = LEFT_OUT
    """The least share of source mutants to be detected."""
    silent: dict[Literal["critical", "major", "minor"], Count] = LEFT_OUT
    """How many failure modes of a severity may be silent."""
    false_alarms: Count = LEFT_OUT
    """How many false alarms clean runs may raise; left out, none."""
    latency: Count = LEFT_OUT
    """The most training steps from a fault's first activation to its first detection."""
    fail_under: Share = LEFT_OUT
    """The least coverage that the command line asks for."""


class Exemption(Part):
    """Failure modes that the scenario exempts, expired or not."""

    mode: str
    """The failure mode's id, or a glob."""
    reason: str
    """Why it is exempt."""
    expires: date
    """The last day that it is."""


class Gate(Part):
    """Whether the campaign passes."""

    passed: bool
    """True if there is no reason against it."""
    reasons: list[str]
    """Every reason why it does not pass, in words, which may change."""
    kinds: list[ReasonKind]
    """The kind of each reason, in their order."""
    demands: Demands = LEFT_OUT
    """What was asked for."""
    exemptions: list[Exemption] = LEFT_OUT
    """The failure modes that are exempt."""


class Document(Part):
    """report.json of faultlab: what one scenario's campaign found."""

    schema_: Literal[1] = Field(alias="schema")
    """The version of this format. It changes where a reader would break; keys may be added without."""
    scenario: str
    """The scenario's name."""
    faultlab: str
    """The version of faultlab."""
    shard: str = LEFT_OUT
    """The share of the faults that this report has, as `k/n`; left out for all of them."""
    study: str = LEFT_OUT
    """The command that made up what this is of, for a purpose of its own; left out for a scenario of the user's."""
    date: str = LEFT_OUT
    """When the campaign began: ISO 8601, in UTC."""
    commit: Commit = LEFT_OUT
    """The commit of the user's repository; left out where the project is in none."""
    versions: dict[str, str]
    """The versions of torch, lightning and python that the campaign ran under."""
    target: Target = LEFT_OUT
    """The module; left out where it is not known."""
    baseline: Baseline
    """The clean runs."""
    faults: list[Fault]
    """Every verdict: faults by id, then source mutants."""
    coverage: Coverage
    """What share of the failure modes is detected."""
    mutants: Mutation = LEFT_OUT
    """The source mutants as a whole; left out where there are none."""
    timing: dict[str, float]
    """Seconds in `import`, `baseline`, `faults` and `total`, and the `jobs` at a time."""
    gate: Gate
    """Whether the campaign passes."""
    digest: str
    """A digest of all other keys, so that a change by hand shows; `faultlab gate` refuses such a report."""


def report_schema() -> dict[str, Any]:
    """The JSON Schema of report.json, of draft 2020-12."""
    return _schema(Document)


def scenario_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files, of draft 2020-12, for editors: what goes beyond it `faultlab check` says."""
    from faultlab.config.scenario import Scenario

    return _schema(Scenario)


class _Tidy(GenerateJsonSchema):
    """Without what says nothing more: titles made of names, and that what is left out is null."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Any:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(by_alias=True, schema_generator=_Tidy)}
