"""The verdict on one fault in report.json, key by key, and where a source mutant stands."""

from __future__ import annotations

from typing import Literal

from faultlab.core.report import Status
from faultlab.report.schema_fields import LEFT_OUT, Count, Finite, Line, Part, Seconds


class Detection(Part):
    """Somebody who detected a fault."""

    kind: Literal["guard", "test", "module", "framework", "process"]
    """A callback or flag; a test; a raise or assert of the user's; a crash in torch or Lightning; a process's end."""
    name: str
    """The guard, the test's id, or what was raised."""
    step: Count
    """The training step in which it detected, from 0."""
    latency: Count
    """Training steps from the fault's first activation to this."""
    names_cause: bool
    """Whether the message says what is wrong."""
    message: str
    """What it said."""


class Harm(Part):
    """What a fault cost, measured on the final weights with the fault taken off."""

    metric: str
    """The metric it is measured by."""
    clean: Finite
    """The clean run's."""
    faulty: Finite
    """The faulted run's; null where it is not finite or no run ended."""
    harmful: bool
    """Whether it is worse by more than clean runs differ; false where that is unknown."""
    unknown: str = LEFT_OUT
    """Why nothing is known of the harm; left out where something is."""
    seen_by: str = LEFT_OUT
    """What shows the harm where the metric hides it; left out where the metric shows it."""


class Prescription(Part):
    """A ready-made guard that detects the fault."""

    guard: str
    """Its class path."""
    step: Count
    """The training step in which it detects."""
    cost: Finite
    """What it costs as a share of a clean run's time."""


class TestVerdict(Part):
    """What the tests made of a source mutant."""

    outcome: Literal["killed", "survived", "timeout", "crashed", "lost", "not_activated"]
    """Whether a test failed, all passed, it never ended, it ended the process, that is unknown, or none runs it."""
    test: str
    """The test that failed."""
    kind: str
    """Whose exception made it fail: that of a test, module, framework or process."""
    message: str
    """What it failed with."""
    tests: Count
    """How many tests run the mutant's function."""
    seconds: Seconds
    """What they took, in seconds."""


class TrainingVerdict(Part):
    """What the guards made of a source mutant while it trained."""

    status: Status
    """The verdict."""
    reason: str
    """What it rests on."""


class Mutant(Part):
    """Where a source mutant stands and what it changes; lines and columns count from 1."""

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
    """What is changed."""
    after: str
    """What stands there instead."""
    diff: str
    """The change as a unified diff."""
    tests: TestVerdict | None
    """What the tests made of it; null where none were asked."""
    training: TrainingVerdict | None
    """What the guards made of it; null where it was not trained."""


class Fault(Part):
    """The verdict on one fault, or on one source mutant, and what it rests on."""

    id: str
    """The fault as text, such as `label.noisy:fraction=0.3@step=8`; of a mutant, mutmut's name."""
    mode: str
    """The failure mode's id, such as `label.noisy`; of a mutant, `source.` and the kind of change."""
    family: str
    """What stands before the mode's point; `source` for mutants, which do not count for the coverage."""
    severity: Literal["critical", "major", "minor"]
    """How bad the failure mode is."""
    status: Status
    """The verdict; see `coverage` for what counts how."""
    reason: str
    """What the verdict rests on, or why there is none."""
    activations: Count
    """How often it changed a value."""
    first_step: Count | None
    """The training step of the first activation; null where it was outside training, or never."""
    detected_by: list[Detection]
    """Who detected, in the order of their alerts."""
    warnings: list[str]
    """New warnings, which the clean run does not have."""
    harm: Harm | None
    """What it cost; null where that was not measured."""
    prescription: list[Prescription]
    """Ready-made guards that alert what nobody of the user's does, the quickest first."""
    seconds: Seconds
    """What the faulted run took, in seconds."""
    mutant: Mutant = LEFT_OUT
    """Of a source mutant, where it stands and what it changes; left out of faults."""
