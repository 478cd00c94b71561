"""The differences between two reports in words, one line each, the most severe first."""

from __future__ import annotations

import contextlib
from pathlib import Path

from faultlab.core.comparison import Change, Comparison, compare
from faultlab.core.report import Report
from faultlab.core.run_folder import PREVIOUS_FILE, REPORT_FILE


def since_before(report: Report, folder: Path) -> Comparison | None:
    """Compare with the run before; return None if there was none or its report can't be read.

    A partial report is compared with the complete one if there is one, else with the previous partial one.
    """
    for file in ([folder.parent / REPORT_FILE] if report.selection else []) + [folder / PREVIOUS_FILE]:
        with contextlib.suppress(OSError, ValueError):
            return compare(Report.read(file), report)
    return None


def lines(found: Comparison) -> list[str]:
    """Return one line for each difference; run times are not compared."""
    said = {change.mode for change in (*found.newly_silent, *found.gone, *found.new, *found.newly_detected)}
    return [
        *(f"newly silent: {_change(change)}" for change in found.newly_silent),
        *(f"no longer tried: {_change(change)}" for change in found.gone),
        *(
            f"lost: {lost.detector} no longer detects {lost.mode}"
            f" ({'incidentally ' if lost.by_luck else ''}{lost.instead or 'no detector'} does)"
            for lost in found.lost
        ),
        *(f"later: {late.mode} is detected after {late.after} steps, was {late.before}" for late in found.later),
        *(f"changed: {_change(change)}" for change in found.changed if change.mode not in said),
        *(f"newly detected: {_change(change)}" for change in found.newly_detected),
        *(f"new: {_change(change)}" for change in found.new if change not in found.newly_silent),
        *_numbers("coverage", found.ratios),
        *_numbers("mutation score", found.scores),
    ]


def _change(change: Change) -> str:
    before, after = (status.value.replace("_", " ") if status else "absent" for status in (change.before, change.after))
    return f"{change.mode} ({change.severity}): {before} -> {after}"


def _numbers(name: str, numbers: tuple[float | None, float | None]) -> list[str]:
    if numbers[0] == numbers[1]:
        return []
    before, after = ("none" if number is None else f"{number:.3f}" for number in numbers)
    return [f"{name}: {before} -> {after}"]
