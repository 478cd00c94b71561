"""summary.md: the findings for a comment on a pull request or the summary of a workflow's step."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from faultlab.catalogue import guard_index
from faultlab.catalogue.mutation_scores import sentence
from faultlab.core.comparison import Comparison
from faultlab.core.partial import limits, title
from faultlab.core.reason import texts
from faultlab.core.report import INCONCLUSIVE, SOURCE, FaultResult, Report, Status
from faultlab.report.differences import lines, since_before
from faultlab.report.formats.complaints import ERROR, NOTE, Finding, findings
from faultlab.report.formats.markdown import cell, code, inline
from faultlab.report.mutants import mutation_line
from faultlab.report.overview import WORTHS, family_rows, target_lines
from faultlab.report.reporters import FolderFormat
from faultlab.report.text import harmless, short

MOST_BYTES = 60_000
"""A comment on GitHub holds 65,536 characters, a step summary 1 MiB."""
_SHOWN, _FOLDED, _REASONS, _METHODS, _GUARDS = 10, 60, 12, 10, 3
_COLUMNS = ("detected", "warned", "silent", "no effect", "n/a", "inconclusive", "ignored")
_MARKS = {ERROR: "harmful", NOTE: "only warned of"}
# Outside of code, GitHub would notify the person who has that name.
_MENTION = re.compile(r"(?<![\w`])@(?=\w)")


def render(report: Report, comparison: Comparison | None = None) -> str:
    """Return Markdown that fits into a comment: sections that do not fit are left out and counted.

    ``comparison`` is the comparison with the previous report, if there is one.
    """
    text, left = "", 0
    for part in _parts(report, comparison):
        if len((text + part).encode()) > MOST_BYTES:
            left += 1
        else:
            text += part
    return text + (f"\n{left} sections did not fit; see the report.\n" if left else "")


def _parts(report: Report, comparison: Comparison | None) -> Iterator[str]:
    yield f"## faultlab: {inline(title(report))}, {report.gate}\n\n"
    if report.selection:
        yield f"Partial report, limited by {code(limits(report))}. `faultlab gate` rejects it.\n\n"
    if report.faults:
        yield _coverage(report)
    if report.mutation is not None:
        yield f"{_prose(mutation_line(report))}\n\n"
    if report.baseline.findings:
        yield _list("About the clean target", target_lines(report.baseline.findings), _REASONS)
    if report.reasons:
        yield _list("Why it does not pass", texts(report.reasons), _REASONS)
    if comparison is not None and (changes := lines(comparison)):
        yield _list("Since the previous run", changes, _REASONS)
    found = findings(report)
    if found:
        yield f"### Undetected ({min(_SHOWN, len(found))} of {len(found)}, the most severe first)\n\n"
        yield _most_bought(report)
        yield "| what | where | what to do |\n| --- | --- | --- |\n" + "".join(map(_row, found[:_SHOWN])) + "\n"
        yield _folded(found[_SHOWN:])
    if report.mutation is not None and report.mutation.methods:
        yield _list("The weakest methods", [sentence(row) for row in report.mutation.methods], _METHODS)
    if report.faults:
        rows = [
            f"| {inline(family)} | {' | '.join(str(count or '') for count in counts)} |\n"
            for family, counts in family_rows(report)
        ]
        head = f"| family | {' | '.join(_COLUMNS)} |\n| --- |{' ---: |' * len(_COLUMNS)}\n"
        yield _details("By family", head + "".join(rows))


def _coverage(report: Report) -> str:
    """Return the coverage and its parts: how failure modes were detected, and how many were not."""
    modes = report.by_mode()
    statuses = Counter(modes.values())
    counted = statuses[Status.DETECTED] + statuses[Status.WARNED] + statuses[Status.SILENT]
    inconclusive = sum(statuses[status] for status in INCONCLUSIVE)
    ratio = "none" if report.ratio is None else f"{report.ratio:.2f}"
    # A mode counts as its worst fault was detected.
    worths: dict[str, int] = {}
    for fault in report.faults:
        if modes[fault.mode] is Status.DETECTED and fault.status is Status.DETECTED:
            worths[fault.mode] = max(worths.get(fault.mode, 0), _worth(fault))
    parts = [(WORTHS[worth], count) for worth, count in sorted(Counter(worths.values()).items())]
    harmful = {fault.mode for fault in report.silent() if fault.harmful}
    unknown = {fault.mode for fault in report.silent() if fault.harm_unknown} - harmful
    parts += [
        ("only warned of", statuses[Status.WARNED]),
        ("silent and harmful", len(harmful)),
        ("silent, their harm unknown", len(unknown)),
        ("silent, without measured harm", statuses[Status.SILENT] - len(harmful) - len(unknown)),
        ("inconclusive, not counted", inconclusive),
    ]
    rows = "".join(f"| {words} | {count} |\n" for words, count in parts if count)
    said = f"**Coverage {ratio}**: {statuses[Status.DETECTED]} of {counted} failure modes are detected.\n\n"
    return said + (f"| failure modes | |\n| --- | ---: |\n{rows}\n" if rows else "")


def _worth(fault: FaultResult) -> int:
    return fault.best.worth if fault.best is not None else len(WORTHS) - 1


def _most_bought(report: Report) -> str:
    """Return a sentence on the guards that detect most of the silent failure modes and need no record."""
    found: dict[str, set[str]] = {}
    silent = report.silent()
    for fault in silent:
        for entry in fault.prescription:
            if not guard_index.needs_record(entry.guard):
                found.setdefault(entry.guard, set()).add(fault.mode)
    best = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:_GUARDS]
    if not best:
        return ""
    number = len({fault.mode for fault in silent})
    said = ", ".join(f"{code(harmless(guard))} {len(modes)}" for guard, modes in best)
    return (
        f"Silent failure modes, of {number}, that one more guard would detect: {said}. "
        "`faultlab prescribe` finds the fewest guards that detect them.\n\n"
    )


def _row(finding: Finding) -> str:
    mark = f"**{_MARKS[finding.level]}** " if finding.level in _MARKS else ""
    name = "" if _is_mutant(finding) else f"{code(harmless(finding.rule))} "
    what, remedy = _cell(finding.message, 300), _cell(finding.remedy, 200)
    return f"| {mark}{name}{what} | {_where(finding)} | {remedy} |\n"


def _is_mutant(finding: Finding) -> bool:
    return finding.rule.startswith(f"{SOURCE}.")


def _where(finding: Finding) -> str:
    return code(harmless(f"{finding.file}:{finding.line}")) if finding.file else ""


def _folded(found: Sequence[Finding]) -> str:
    if not found:
        return ""
    rows = "".join(
        f"- {_where(finding) if _is_mutant(finding) else code(harmless(finding.fault))} {_prose(finding.title)}\n"
        for finding in found[:_FOLDED]
    )
    more = f"- ... and {len(found) - _FOLDED} more in the report\n" if len(found) > _FOLDED else ""
    return _details(f"{len(found)} more", rows + more)


def _list(title: str, entries: Sequence[str], most: int) -> str:
    rows = [f"- {_prose(short(' '.join(entry.split()), 500))}\n" for entry in entries[:most]]
    more = [f"- ... and {len(entries) - most} more in the report\n"] if len(entries) > most else []
    return f"### {title}\n\n{''.join(rows + more)}\n"


def _details(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n</details>\n\n"


def _prose(text: str) -> str:
    return _MENTION.sub("@\u2060", inline(harmless(text)))


def _cell(text: str, longest: int) -> str:
    return _MENTION.sub("@\u2060", cell(harmless(short(text, longest))))


def _in_folder(report: Report, folder: Path) -> str:
    return render(report, since_before(report, folder))


FORMAT = FolderFormat("summary.md", _in_folder)
