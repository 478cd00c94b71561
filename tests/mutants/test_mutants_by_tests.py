"""A fresh process whose pytest breaks: whether that is the mutant's doing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from faultlab.mutants.by_tests import KILLED, LOST, ByTests, TestVerdict
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import Workspace

INTERNAL_ERROR = 3
MUTANT = Mutant("pkg.x_f__mutmut_1", "pkg.py", "f", "number", 1, 1, 1, 2, "1", "2", "", "")


class Fresh:
    """In place of fresh processes: pytest breaks under the mutant, and on the clean code too if it is ``broken``."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken
        self.runs = 0

    def run(self, arguments: Sequence[str], log: Path, deadline: float) -> int:
        self.runs += 1
        killer = next(argument for argument in arguments if argument.startswith("--faultlab-killer="))
        if "pkg.x_f__mutmut_1" in killer or self.broken:
            return INTERNAL_ERROR
        Path(f"{killer.partition('=')[2]}.done").touch()
        return 0


def judged(folder: Path, fresh: Any) -> list[TestVerdict]:
    tests = ByTests(Workspace(folder, folder), [], [], 1, None, lambda name, verdict: None)
    return [tests.alone(MUTANT, fresh) for _ in range(2)]


@pytest.mark.parametrize(("broken", "outcome"), [(False, KILLED), (True, LOST)])
def test_a_pytest_that_breaks_kills_only_if_it_works_with_no_mutant_on(
    tmp_path: Path, broken: bool, outcome: str
) -> None:
    fresh = Fresh(broken)
    assert [verdict.outcome for verdict in judged(tmp_path, fresh)] == [outcome, outcome]
    assert fresh.runs == 3, "the clean code is tried once"
