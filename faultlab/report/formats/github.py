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
"""Of each kind and step; GitHub drops the others without a word."""
SUMMARY_BYTES = 1024 * 1024
"""What a step's summary may have; GitHub shows nothing of one that is longer."""
_COMMANDS = {ERROR: "error", WARNING: "warning", NOTE: "notice"}
_LONGEST = 4000
# For the line that says how much did not fit.
_SPARE = 200


def commands(reports: Sequence[Report]) -> list[str]:
    """Workflow commands, a line each, no more of a kind than are shown: the gravest, and how many there are besides.

    What keeps a gate from passing comes first. Where it passes nothing is an error, but a warning.
    """
    lines: dict[str, list[str]] = {command: [] for command in _COMMANDS.values()}
    for report in reports:
        if not report.passed:
            reasons = "; ".join(texts(report.reasons)) or "it was not carried out"
            where = {"file": str(report.target.get("scenario", ""))}
            lines["error"].append(_command("error", where, f"faultlab: {report.scenario} does not pass", reasons))
    for report in reports:
        for finding in findings(report):
            command = "warning" if report.passed and finding.level == ERROR else _COMMANDS[finding.level]
            lines[command].append(_annotation(command, report.scenario, finding))
    return [line for command, all in lines.items() for line in _shown(command, all)]


def step_summary(reports: Sequence[Report], room: int = SUMMARY_BYTES) -> str:
    """The scenarios' summaries in no more bytes than these, those that do not pass first.

    What does not fit is told in a line a scenario, and what of that does not, in a number.
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
            return text + f"... and {len(ordered) - number} more scenarios, which the reports have\n"
    return text


def _shown(command: str, lines: Sequence[str]) -> Iterable[str]:
    if len(lines) <= ANNOTATIONS_SHOWN:
        return lines
    kept = ANNOTATIONS_SHOWN - 1
    more = f"{len(lines) - kept} more that GitHub does not show here; the step's summary and the report have them"
    return [*lines[:kept], _command(command, {}, "faultlab", more)]


def _annotation(command: str, scenario: str, finding: Finding) -> str:
    where = {"file": finding.file, "line": str(finding.line), "col": str(finding.column)} if finding.file else {}
    return _command(command, where, f"{scenario}: {finding.title}", f"{finding.message} {finding.remedy}".strip())


def _command(command: str, where: Mapping[str, str], title: str, message: str) -> str:
    given = {**where, "title": title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
    return f"::{command} {properties}::{_message(message)}"


def _message(text: str) -> str:
    """A text that ends no line, since the next one could be a command of its own."""
    return harmless(short(text, _LONGEST)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _size(text: str) -> int:
    return len(text.encode())
