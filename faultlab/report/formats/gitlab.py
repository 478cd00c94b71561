"""gitlab.json: findings as GitLab's code quality report."""

from __future__ import annotations

from faultlab.core.report import Report, dump
from faultlab.report.formats.complaints import ERROR, NOTE, WARNING, Finding, findings
from faultlab.report.reporters import Format

_SEVERITIES = {ERROR: "major", WARNING: "minor", NOTE: "info"}


def render(report: Report) -> str:
    """Return a list of entries with the fields that GitLab requires."""
    return dump([_entry(finding) for finding in findings(report)], indent=1)


def _entry(finding: Finding) -> dict[str, object]:
    return {
        "description": f"{finding.title}: {finding.message} {finding.remedy}".strip(),
        "check_name": finding.rule,
        "fingerprint": finding.fingerprint,
        "severity": _SEVERITIES[finding.level],
        "location": {"path": finding.file or "faultlab", "lines": {"begin": finding.line}},
    }


FORMAT = Format("gitlab.json", render)
