"""faultlab.sarif: findings as SARIF 2.1.0, which code hosts show next to the source."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from faultlab.core.report import Report, dump
from faultlab.core.version import __version__
from faultlab.report.formats.complaints import Finding, findings, rules
from faultlab.report.reporters import Format

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(report: Report) -> str:
    """Return the document; see the SARIF 2.1.0 standard of OASIS."""
    known = rules(report)
    place = {rule: number for number, rule in enumerate(known)}
    results = [_result(finding, place[finding.rule]) for finding in findings(report)]
    driver = {
        "name": "faultlab",
        "version": __version__,
        "rules": [_rule(id, *told) for id, told in known.items()],
    }
    # Code hosts distinguish the findings of scenarios by this.
    details = {"id": f"faultlab/{report.scenario}/"}
    run = {
        "tool": {"driver": driver},
        "automationDetails": details,
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _rule(id: str, title: str, description: str, remedy: str) -> dict[str, Any]:
    return {
        "id": id,
        "shortDescription": {"text": title or id},
        "fullDescription": {"text": description or title or id},
        "help": {"text": remedy or "See the report."},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    # A finding without a source file has the scenario as its place.
    place = {"artifactLocation": {"uri": quote(finding.file, errors="replace")}, "region": region}
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": " ".join(filter(None, [f"{finding.title}: {finding.message}", finding.remedy]))},
        **({"locations": [{"physicalLocation": place}]} if finding.file else {}),
        "partialFingerprints": {"primaryLocationLineHash": finding.fingerprint},
    }


FORMAT = Format("faultlab.sarif", render)
