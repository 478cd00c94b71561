"""Findings in GitHub Actions: annotations beside the source, and the summary of the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from faultlab.core.reason import texts
from faultlab.core.report import Report
from faultlab.report.formats import summary
from faultlab.report.formats.complaints import ERROR, NOTE, WARNING, Finding, findings
from faultlab.report.formats.markdown import inline
from faultlab.report.overview import one_line
from faultlab.report.text import harmless, short

ANNOTATIONS_SHOWN = 10
"""The most annotations of a kind for each step; GitHub drops any others without a message."""
SUMMARY_BYTES = 1024 * 1024
"""The longest summary of a step; GitHub does not show a longer one at all."""
_COMMANDS = {ERROR: "error", WARNING: "warning", NOTE: "notice"}
_LONGEST = 4000
# For the line with the number of scenarios that did not fit.
_SPARE = 200


def commands(reports: Sequence[Report]) -> list[str]:
    """Return workflow commands, one line each: of each kind the most severe that GitHub shows, and a count of the rest.

    Reasons for a failed gate come first. For a report that passes, errors become warnings.
    """
    lines: dict[str, list[str]] = {command: [] for command in _COMMANDS.values()}
    for report in reports:
        if not report.passed:
            reasons = "; ".join(texts(report.reasons)) or "it did not run"
            where = {"file": str(report.target.get("scenario", ""))}
            lines["error"].append(_command("error", where, f"faultlab: {report.scenario} does not pass", reasons))
    for report in reports:
        for finding in findings(report):
            command = "warning" if report.passed and finding.level == ERROR else _COMMANDS[finding.level]
            lines[command].append(_annotation(command, report.scenario, finding))
    return [line for command, all in lines.items() for line in _shown(command, all)]


def step_summary(reports: Sequence[Report], room: int = SUMMARY_BYTES) -> str:
    """Return the scenarios' summaries in at most ``room`` bytes, failed ones first.

    A scenario whose summary does not fit has one line; scenarios whose lines do not fit are counted.
    """
    ordered = sorted(reports, key=lambda report: report.passed)
    lines = [f"{inline(harmless(one_line(report)))}\n\n" for report in ordered]
    room -= _SPARE
    text = ""
    for number, report in enumerate(ordered):
        left = room - _size(text)
        whole = summary.render(report) + "\n"
        if _size(whole) + sum(map(_size, lines[number + 1 :])) <= left:
            text += whole
        elif _size(lines[number]) <= left:
            text += lines[number]
        else:
            return text + f"... and {len(ordered) - number} more scenarios in the reports\n"
    return text


def _shown(command: str, lines: Sequence[str]) -> Iterable[str]:
    if len(lines) <= ANNOTATIONS_SHOWN:
        return lines
    kept = ANNOTATIONS_SHOWN - 1
    more = f"{len(lines) - kept} more that GitHub does not show here; see the step's summary and the report"
    return [*lines[:kept], _command(command, {}, "faultlab", more)]


def _annotation(command: str, scenario: str, finding: Finding) -> str:
    where = {"file": finding.file, "line": str(finding.line), "col": str(finding.column)} if finding.file else {}
    return _command(command, where, f"{scenario}: {finding.title}", f"{finding.message} {finding.remedy}".strip())


def _command(command: str, where: Mapping[str, str], title: str, message: str) -> str:
    given = {**where, "title": title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
    return f"::{command} {properties}::{_message(message)}"


def _message(text: str) -> str:
    """Return the text without line breaks, since GitHub could take the next line for a command."""
    return harmless(short(text, _LONGEST)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _size(text: str) -> int:
    return len(text.encode())
