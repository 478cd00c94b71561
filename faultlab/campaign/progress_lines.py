"""The progress of a campaign as lines of text, for scripts and notebooks."""

from __future__ import annotations

import sys
from collections.abc import Callable

from faultlab.core.report import Baseline, FaultResult, Status

Say = Callable[[str], None]
_SHARE = 0.1


class ProgressLines:
    """A listener of campaigns and of source mutation that gives ``say`` a line at a time."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._name = ""
        self._count = _Count()
        self._silent = 0

    def started(self, scenario: str) -> None:
        self._name = scenario
        self._line("importing and running clean")

    def measured(self, baseline: Baseline) -> None:
        kind = "deterministic" if baseline.deterministic else "not deterministic"
        self._line(f"clean run {baseline.seconds:.2f} s, {baseline.steps} steps, {kind}")
        for alarm in baseline.false_alarms:
            self._line(f"false alarm by {alarm.name}: {alarm.message}")

    def settled(self, result: FaultResult) -> None:
        pass

    def planned(self, total: int) -> None:
        # Once more for each further round of faults.
        self._count = _Count(total)
        self._line(f"{total} fault{'s' * (total != 1)}")

    def judged(self, result: FaultResult) -> None:
        self._silent += result.status is Status.SILENT
        if self._count.shown():
            self._line(f"{self._count.done} of {self._count.total} faults, {self._silent} silent")

    def testing(self) -> None:
        self._line("running your tests under the same faults")

    def mutating(self, name: str) -> None:
        self._name = name
        self._line("generating source mutants")

    def generated(self, total: int, kept: int) -> None:
        self._line(f"{total} mutants" + (f", {kept} of them judged before" if kept else ""))

    def judging(self, who: str, total: int) -> None:
        self._count = _Count(total)
        self._line(f"{total} mutants for the {who} to judge")

    def mutant_judged(self) -> None:
        if self._count.shown():
            self._line(f"{self._count.done} of {self._count.total} mutants")

    def _line(self, text: str) -> None:
        self._say(f"{self._name}: {text}")


class _Count:
    """The number done of a total, shown at every tenth of it."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.done = 0
        self._last = 0

    def shown(self) -> bool:
        """Count one more; return whether to show the count."""
        self.done += 1
        if self.done < self.total and self.done - self._last < self.total * _SHARE:
            return False
        self._last = self.done
        return True


def silence(line: str) -> None:
    """Drop a line."""


def chosen(progress: Say | bool | None) -> Say:
    """Return what takes the lines: the callback, or print; with None print in an interactive session alone."""
    if callable(progress):
        return progress
    return _print if progress or (progress is None and is_interactive()) else silence


def is_interactive() -> bool:
    """Return whether a person watches: a notebook, an interpreter's prompt, or a terminal."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules or sys.stdout.isatty()


def _print(line: str) -> None:
    print(line, flush=True)
