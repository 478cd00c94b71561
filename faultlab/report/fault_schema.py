"""The verdict on one fault in report.json, key by key, and the place of a source mutant."""

from __future__ import annotations

from typing import Literal

from faultlab.core.report import Status
from faultlab.report.schema_fields import LEFT_OUT, Count, Finite, Line, Part, Seconds


class Detection(Part):
    """A detection of a fault."""

    kind: Literal["guard", "test", "module", "framework", "process"]
    """A callback or flag; a test; a raise or assert of the user's; an error in torch or Lightning; a process's end."""
    name: str
    """The guard, the test's id, or the type of the exception."""
    step: Count
    """The training step of the detection, from 0."""
    latency: Count
    """Training steps from the fault's first activation to the detection."""
    names_cause: bool
    """True if the message names the cause."""
    message: str
    """The message."""


class Harm(Part):
    """The cost of a fault, measured on the final weights with the fault removed."""

    metric: str
    """The metric that harm is measured by."""
    clean: Finite
    """The value of the clean run."""
    faulty: Finite
    """The value of the faulted run; null if it is not finite or the run did not end."""
    harmful: bool
    """True if it is worse by more than clean runs differ; false if that is unknown."""
    unknown: str = LEFT_OUT
    """Why the harm is unknown; left out if it is known."""
    seen_by: str = LEFT_OUT
    """The evidence of harm that the metric does not show; left out if the metric shows it."""
    least: float = LEFT_OUT
    """The least distance from the clean value that is harm; left out if the metric did not decide."""
    clean_of: str = LEFT_OUT
    """The clean run that the clean value is of; left out for the one that trains to its end."""


class Prescription(Part):
    """A ready-made guard that detects the fault."""

    guard: str
    """Its class path."""
    step: Count
    """The training step of its detection."""
    cost: Finite
    """Its cost as a share of a clean run's time."""


class TestVerdict(Part):
    """The verdict of the tests on a source mutant."""

    outcome: Literal["killed", "survived", "timeout", "crashed", "lost", "not_activated"]
    """A test failed; all passed; a test never ended; it ended the process; its process was lost; no test runs it."""
    test: str
    """The test that failed."""
    kind: str
    """The source of the exception that made it fail: test, module, framework or process."""
    message: str
    """The message of the failure."""
    tests: Count
    """The number of tests that run the mutant's function."""
    seconds: Seconds
    """Their duration in seconds."""


class TrainingVerdict(Part):
    """The verdict of the training on a source mutant."""

    status: Status
    """The verdict."""
    reason: str
    """The reason for the verdict."""


class Mutant(Part):
    """The place of a source mutant and its change; lines and columns count from 1."""

    file: str
    """The file, relative to the project's root."""
    function: str
    """The function's dotted name."""
    operator: str
    """The kind of change."""
    line: Line
    """Its first line."""
    column: Line
    """Its first column."""
    end_line: Line
    """Its last line."""
    end_column: Line
    """The first column after it."""
    before: str
    """The text that is changed."""
    after: str
    """The text that replaces it."""
    diff: str
    """The change as a unified diff."""
    tests: TestVerdict | None
    """The verdict of the tests; null if tests did not judge it."""
    training: TrainingVerdict | None
    """The verdict of the training; null if it was not trained."""


class Fault(Part):
    """The verdict on one fault or one source mutant, and the evidence for it."""

    id: str
    """The fault as text, such as `label.noisy:fraction=0.3@step=8`; of a mutant, mutmut's name."""
    mode: str
    """The failure mode's id, such as `label.noisy`; of a mutant, `source.` and the kind of change."""
    family: str
    """The part of the mode before the dot; `source` for mutants, which do not count for the coverage."""
    severity: Literal["critical", "major", "minor"]
    """The severity of the failure mode."""
    status: Status
    """The verdict; `coverage` describes each status."""
    reason: str
    """The reason for the verdict, or for its absence."""
    activations: Count
    """The number of times that it changed a value."""
    first_step: Count | None
    """The training step of the first activation; null if it was outside training, or never."""
    detected_by: list[Detection]
    """The detections, the most useful first."""
    warnings: list[str]
    """Warnings that the clean run does not have."""
    harm: Harm | None
    """Its cost; null if that was not measured."""
    prescription: list[Prescription]
    """Ready-made guards that detect this fault, which none of the user's does, the quickest first."""
    seconds: Seconds
    """The duration of the faulted run in seconds."""
    mutant: Mutant = LEFT_OUT
    """The place and change of a source mutant; left out of faults."""
