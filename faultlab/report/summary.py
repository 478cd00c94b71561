"""summary.md: the findings for a pull request's comment or a workflow's step summary."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.mutants.methods import sentence
from faultlab.report.findings import Finding, findings
from faultlab.report.markdown import cell, inline
from faultlab.report.mutants import mutation_line
from faultlab.report.overview import family_rows, one_line
from faultlab.report.text import harmless
from faultlab.results import Report

MOST_BYTES = 60_000
"""A comment on GitHub takes 65,536 characters, a step summary a mebibyte."""
_SHOWN, _METHODS = 20, 10
_COLUMNS = ("noticed", "warned", "silent", "no effect", "n/a", "inconclusive", "ignored")


def render(report: Report) -> str:
    """Markdown, as long as a comment may be: what does not fit is left out whole, and that is said."""
    text, left = "", 0
    for part in _parts(report):
        if len((text + part).encode()) > MOST_BYTES:
            left += 1
        else:
            text += part
    return text + (f"\n{left} sections did not fit; the report has them.\n" if left else "")


def _parts(report: Report) -> Iterator[str]:
    mark = "passed" if report.passed else "not passed"
    yield f"## faultlab: {inline(report.scenario)}, gate {mark}\n\n"
    if report.faults:
        yield f"{inline(one_line(report))}\n\n"
    if report.mutation is not None:
        yield f"{inline(mutation_line(report))}\n\n"
    if report.reasons:
        yield (
            "".join(f"- {inline(harmless(' '.join(reason.split())[:500]))}\n" for reason in report.reasons[:_SHOWN])
            + "\n"
        )
    found = findings(report)
    if found:
        yield f"### Nobody noticed, the gravest first ({min(_SHOWN, len(found))} of {len(found)})\n\n"
        yield "| | what | where | remedy |\n| --- | --- | --- | --- |\n"
        for finding in found[:_SHOWN]:
            yield _row(finding)
        yield "\n"
    if report.mutation is not None and report.mutation.methods:
        yield "### The weakest methods\n\n"
        yield "".join(f"- {inline(harmless(sentence(row)))}\n" for row in report.mutation.methods[:_METHODS]) + "\n"
    if report.faults:
        yield "<details><summary>By family</summary>\n\n"
        yield f"| family | {' | '.join(_COLUMNS)} |\n| --- |{' ---: |' * len(_COLUMNS)}\n"
        for family, counts in family_rows(report):
            yield f"| {family} | {' | '.join(str(count or '') for count in counts)} |\n"
        yield "\n</details>\n"


def _row(finding: Finding) -> str:
    where = f"`{harmless(finding.file)}:{finding.line}`" if finding.file else ""
    what = f"`{harmless(finding.fault)}` {cell(finding.message[:300])}"
    return f"| {finding.level} | {what} | {where} | {cell(finding.remedy[:200])} |\n"
