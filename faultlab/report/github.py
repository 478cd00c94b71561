"""Findings as annotations of a GitHub workflow: lines of a command's output that GitHub shows beside the source."""

from __future__ import annotations

from faultlab.report.findings import ERROR, NOTE, WARNING, Finding, findings
from faultlab.results import Report

_COMMANDS = {ERROR: "error", WARNING: "warning", NOTE: "notice"}
MOST = 10
"""GitHub shows so many of a kind for each step."""


def annotations(report: Report) -> list[str]:
    """A line an annotation, the gravest first, no more of a kind than are shown."""
    left = dict.fromkeys(_COMMANDS.values(), MOST)
    lines = []
    for finding in findings(report):
        command = _COMMANDS[finding.level]
        if left[command]:
            left[command] -= 1
            lines.append(_line(command, finding))
    return lines


def _line(command: str, finding: Finding) -> str:
    properties = {"title": finding.title}
    if finding.file:
        properties = {"file": finding.file, "line": str(finding.line), "col": str(finding.column), **properties}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command} {said}::{_data(f'{finding.message} {finding.remedy}'.strip())}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
