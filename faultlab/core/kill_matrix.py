"""The kill matrix: faults against tests, and what each test did under each fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faultlab.core.report import FaultResult

SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """What one test did under one fault.

    ``outcome`` is passed, failed or skipped; ``kind`` why it failed: ``test`` for an assertion of its own, ``module``
    for a check in the user's code, ``framework`` for an incidental crash, ``process`` where the process ended in it.
    ``step`` is the training step that the test was in, ``first_step`` that of the fault's first activation in it.
    """

    test: str
    outcome: str
    kind: str = ""
    message: str = ""
    activations: int = 0
    first_step: int | None = None
    step: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> bool:
        """Whether the test failed because of the fault."""
        return self.outcome == "failed" and (self.activations > 0 or self.kind == "process")


@dataclass
class Row:
    """One fault, the verdict that the tests give it, and what each test that was run did.

    ``settled`` says that others have detected the fault, and its tests were run until one failed, ``untested`` that no
    test comes by it, though it can happen.
    """

    result: FaultResult
    cells: list[Cell] = field(default_factory=list)
    settled: bool = False
    untested: bool = False

    @property
    def killers(self) -> list[str]:
        return killers_of(self.cells)


@dataclass
class Matrix:
    """The kill matrix, faults x tests. ``whole`` says that every test was run that a fault reaches, but for faults that
    are settled: of these a test that detects nothing else has been run under each.

    ``seconds`` are each test's on the clean code, with those of its ``fixtures`` of wider scopes, which it may share.
    ``left_out`` says of tests why they take no part: they fail, are flaky, or are broken (they fail under a fault that
    never acts).
    """

    targets: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    complete: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    fixtures: dict[str, dict[str, float]] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)

    def kills(self) -> dict[str, int]:
        """How many faults each test detects; 0 for those that alert none."""
        return kills_of((row.killers for row in self.rows), self.tests)

    def killed_once(self) -> dict[str, str]:
        """The faults that a single test detects, and which; it takes a whole matrix to tell."""
        return only_killers({row.result.id: row.killers for row in self.rows if self.whole and not row.settled})

    def idle(self) -> list[str]:
        """The tests that alert no fault; it takes a whole matrix to tell."""
        return [test for test, count in self.kills().items() if self.whole and not count]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "targets": self.targets,
            "whole": self.whole,
            "tests": [
                {
                    "test": test,
                    "seconds": round(self.seconds.get(test, 0.0), 4),
                    "fixtures": {name: round(seconds, 4) for name, seconds in self.fixtures.get(test, {}).items()},
                    "kills": count,
                }
                for test, count in self.kills().items()
            ],
            "left_out": self.left_out,
            "killed_once": self.killed_once(),
            "faults": [
                {
                    "id": row.result.id,
                    "status": row.result.status,
                    "settled": row.settled,
                    "cells": [asdict(cell) for cell in row.cells],
                }
                for row in self.rows
            ],
            "timing": self.timing,
        }


def killers_of(cells: Iterable[Cell]) -> list[str]:
    """The tests that alert the fault of a row."""
    return [cell.test for cell in cells if cell.kills]


def kills_of(killers: Iterable[Sequence[str]], tests: Iterable[str]) -> dict[str, int]:
    """How many faults each of the tests detects, by the ``killers`` of every fault."""
    counted = Counter(test for killed in killers for test in killed)
    return {test: counted[test] for test in tests}


def only_killers(killers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The faults that a single test detects, and which."""
    return {fault: found[0] for fault, found in killers.items() if len(found) == 1}
