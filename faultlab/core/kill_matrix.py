"""The kill matrix: faults x tests, and the result of each test under each fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faultlab.core.report import FaultResult

SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """The result of one test under one fault.

    ``outcome`` is passed, failed or skipped. ``kind`` is why it failed: ``test`` for the test's own assertion,
    ``module`` for a check in the user's code, ``framework`` for an incidental crash, ``process`` if the process ended.
    ``step`` is the training step that the test had reached, ``first_step`` the step of the fault's first activation in
    it.
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
        """True if the test failed because of the fault."""
        return self.outcome == "failed" and (self.activations > 0 or self.kind == "process")


@dataclass
class Row:
    """One fault, the verdict of the tests on it, and the result of each test that ran.

    ``settled`` means that other detectors have detected the fault, and its tests ran only until one failed;
    ``untested`` means that no test reaches it, although it applies.
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
    """The kill matrix, faults x tests.

    ``whole`` means that under each fault every test ran that reaches it. Under settled faults, every test ran that
    detects no other fault.

    ``seconds`` are each test's on the clean code, including those of its ``fixtures`` of wider scopes, which it may
    share. ``left_out`` has the reasons why tests do not take part: they fail, are flaky, or are broken (they fail under
    a fault that never acts).
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
        """Return how many faults each test detects, including 0."""
        return kills_of((row.killers for row in self.rows), self.tests)

    def killed_once(self) -> dict[str, str]:
        """Return the faults that a single test detects, with that test; empty unless the matrix is whole."""
        return only_killers({row.result.id: row.killers for row in self.rows if self.whole and not row.settled})

    def idle(self) -> list[str]:
        """Return the tests that detect no fault; empty unless the matrix is whole."""
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
    """Return the tests that detect the fault of a row."""
    return [cell.test for cell in cells if cell.kills]


def kills_of(killers: Iterable[Sequence[str]], tests: Iterable[str]) -> dict[str, int]:
    """Return how many faults each of the tests detects, from the ``killers`` of every fault."""
    counted = Counter(test for killed in killers for test in killed)
    return {test: counted[test] for test in tests}


def only_killers(killers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the faults that a single test detects, with that test."""
    return {fault: found[0] for fault, found in killers.items() if len(found) == 1}
