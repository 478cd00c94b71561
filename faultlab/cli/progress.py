"""Progress of a run: a live bar on a terminal, plain lines elsewhere, and the findings at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from faultlab.campaign.heartbeat import Heartbeat, duration
from faultlab.core.partial import limits
from faultlab.core.report import Baseline, FaultResult, Report, Status
from faultlab.report.mutants import method_rows, mutation_line, survivors, unreached_rows
from faultlab.report.overview import family_rows, one_line, silent_rows, target_lines
from faultlab.report.text import harmless

_SILENT_SHOWN = 12
# Seconds beside the training that a fault takes, for the estimate: forking, evaluating, judging.
_OVERHEAD = 0.1
_STYLES = {"detected": "green", "warned": "yellow", "silent": "red"}


class Progress:
    """The listener of the command line.

    ``quiet`` limits it to one line per scenario, ``silent`` to errors. The duration is estimated
    for ``jobs`` parallel runs. ``then`` is what follows the first campaign.
    """

    def __init__(self, quiet: bool = False, silent: bool = False, jobs: int = 1, then: str = "") -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._silent = silent
        self._jobs = jobs
        self._then = then
        self.errors: list[Exception] = []
        self._name = ""
        self._seconds = 0.0
        self._settled = self._inapplicable = 0
        self._heartbeat = Heartbeat(self._say)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        # Not rich's own opinion, which FORCE_COLOR changes: a pipe would get every frame of the bar.
        if sys.stdout.isatty() and not quiet:
            name = TextColumn("{task.description}")
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            columns = (SpinnerColumn(), name, BarColumn(), MofNCompleteColumn(), *times)
            self._bar = Bar(*columns, console=self._console, transient=True)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._heartbeat.stop()
        if self._bar is not None:
            self._bar.stop()

    def started(self, scenario: str) -> None:
        self._name = scenario
        if self._bar is not None:
            self._task = self._bar.add_task(f"{scenario}: importing", total=None)
        else:
            self._say(f"{scenario}: importing, and training without faults")
            self._beat("training without faults")

    def measured(self, baseline: Baseline) -> None:
        self._heartbeat.stop()
        self._seconds = baseline.seconds
        kind = "deterministic" if baseline.deterministic else "not deterministic"
        self._say(f"{self._name}: clean run {baseline.seconds:.2f} s, {baseline.steps} steps, {kind}")
        for line in target_lines(baseline.findings):
            self._say(f"{self._name}: [yellow]warning[/yellow] {escape(harmless(line))}")
        for alarm in baseline.false_alarms:
            self._say(f"{self._name}: [red]false alarm[/red] by {escape(alarm.name)}: {escape(alarm.message)}")
        if baseline.false_alarms:
            self._say("    Its detections prove nothing. Loosen the check, or remove it from the scenario.")

    def settled(self, result: FaultResult) -> None:
        self._settled += 1
        self._inapplicable += result.status is Status.NOT_APPLICABLE

    def planned(self, total: int) -> None:
        about = duration(total * (self._seconds + _OVERHEAD) / self._jobs)
        counts = {"not applicable": self._inapplicable, "already done": self._settled - self._inapplicable}
        others = "".join(f"; {count} {what}" for what, count in counts.items() if count)
        self._say(f"{self._name}: {total} fault{'s' * (total != 1)}, about {about}{others}")
        if self._then:
            self._say(f"{self._name}: {self._then}")
            self._then = ""
        self._settled = self._inapplicable = 0
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=self._name, total=total, completed=0)
        else:
            self._beat("faults", total)

    def judged(self, result: FaultResult) -> None:
        self._heartbeat.advance()
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def testing(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{self._name}: your tests", total=None)
        else:
            self._say(f"{self._name}: running your tests under the same faults")
            self._beat("running your tests")

    def mutating(self, name: str) -> None:
        self._name = name
        if self._bar is None:
            self._say(f"{name}: making source mutants")
            self._beat("making source mutants")
        elif self._task is None:
            self._task = self._bar.add_task(f"{name}: making source mutants", total=None)
        else:
            self._bar.update(self._task, description=f"{name}: making source mutants", total=None)

    def generated(self, total: int, kept: int) -> None:
        self._say(f"{self._name}: {total} mutants" + (f", {kept} of them already judged" if kept else ""))

    def judging(self, who: str, total: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{self._name}: {who}", total=total, completed=0)
        else:
            self._say(f"{self._name}: running the {who} on {total} mutants")
            self._beat("mutants", total)

    def mutant_judged(self) -> None:
        self._heartbeat.advance()
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def mutated(self, report: Report, page: Path) -> None:
        """Print the verdicts on the mutants."""
        self._remove_task()
        if self._silent:
            return
        if not self._quiet:
            rows, silent = method_rows(report), survivors(report)
            for row in rows[:_SILENT_SHOWN]:
                self._console.print(f"  {escape(harmless(row))}")
            if len(rows) > _SILENT_SHOWN:
                self._console.print(f"  ... and {len(rows) - _SILENT_SHOWN} more functions in the report")
            for status, row in silent[:_SILENT_SHOWN]:
                label = "[red]survived[/red]" if status is Status.SILENT else "[yellow]only warned[/yellow]"
                self._console.print(f"  {label} {escape(harmless(row))}")
            if len(silent) > _SILENT_SHOWN:
                self._console.print(f"  ... and {len(silent) - _SILENT_SHOWN} more survivors in the report")
            unreached = unreached_rows(report)
            for row in unreached[:_SILENT_SHOWN]:
                self._console.print(f"  [yellow]not mutated[/yellow] {escape(harmless(row))}")
            if len(unreached) > _SILENT_SHOWN:
                self._console.print(f"  ... and {len(unreached) - _SILENT_SHOWN} more of these in the report")
            for note in report.mutation.notes if report.mutation else []:
                self._console.print(f"  [yellow]{escape(note)}[/yellow]")
            for reason in report.reasons:
                self._console.print(f"  [yellow]{_one_line(reason.text)}[/yellow]")
        self._console.print(f"[bold]{escape(mutation_line(report))}[/bold]")
        if not self._quiet:
            self._console.print(f"  {escape(str(page))}\n")

    def finished(self, report: Report, page: Path) -> None:
        """Print the findings."""
        self._remove_task()
        if self._silent:
            return
        if self._quiet:
            self._console.print(escape(one_line(report)))
            return
        # Not as the table's title, which rich wraps to the width of the columns.
        self._console.print(f"{escape(report.scenario)}: failure modes by family")
        self._console.print(_table(report), soft_wrap=False)
        for line in target_lines([found for found in report.baseline.findings if found["kind"] == "unforked"]):
            self._console.print(f"  [yellow]warning[/yellow] {escape(harmless(line))}")
        rows = silent_rows(report, _SILENT_SHOWN)
        for row in rows:
            self._console.print(f"  [red]silent[/red] {escape(harmless(row))}")
        if more := len(report.silent()) - len(rows):
            self._console.print(f"  ... and {more} more silent fault{'s' * (more != 1)} in the report")
        for reason in report.reasons:
            self._console.print(f"  [yellow]{_one_line(reason.text)}[/yellow]")
        self._console.print(f"[bold]{escape(one_line(report))}[/bold]")
        if report.selection:
            self._console.print(f"  partial report, limited by {escape(harmless(limits(report)))}")
        self._console.print(f"  {escape(str(page))}\n")

    def failed(self, error: Exception) -> None:
        """Print the error that ended a scenario."""
        self._remove_task()
        self.errors.append(error)
        self._errors.print(escape(str(error)), style="red")

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text)

    def _beat(self, what: str, total: int = 0) -> None:
        if not self._quiet:
            self._heartbeat.begin(self._name, what, total)

    def _remove_task(self) -> None:
        self._heartbeat.stop()
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def _one_line(text: str) -> str:
    """Return a foreign text as one line: at the beginning of a line a CI service could take it for a command."""
    return escape(" ".join(harmless(text).split()))


def _table(report: Report) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("family")
    rows = family_rows(report)
    titles = ["detected", "warned", "silent", "no effect", "n/a", "inconclusive", "ignored"]
    # The first columns are always shown, the others only if they have a count.
    shown = [index for index in range(len(titles)) if index < len(_STYLES) or any(counts[index] for _, counts in rows)]
    for index in shown:
        table.add_column(titles[index], justify="right", style=_STYLES.get(titles[index]))
    for family, counts in rows:
        table.add_row(family, *(str(counts[index] or "") for index in shown))
    return table
