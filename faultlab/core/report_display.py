"""The display of a report in interpreters and notebooks: one line, and a small table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faultlab.core.report import FaultResult, Report

_SHOWN = 12


def line(report: Report) -> str:
    """Return the report's name, its coverage, and its detected, warned and silent failure modes, on one line."""
    ratio = report.ratio
    counts = Counter(status.value for status in report.by_mode().values())
    name = ascii(report.scenario)[1:-1]
    coverage = "no coverage" if ratio is None else f"coverage {ratio:.2f}"
    partial = " (partial)" if report.selection else ""
    warned = f", {counts['warned']} only warned" if counts["warned"] else ""
    return f"<Report {name}{partial}: {coverage}, {counts['detected']} detected{warned}, {counts['silent']} silent>"


def table(report: Report) -> str:
    """Return HTML: a bar of the coverage, the worst silent faults with the guards that detect them, and a link."""
    ratio, silent = report.ratio, report.silent()
    counts = Counter(status.value for status in report.by_mode().values())
    bar = (
        f"<meter min='0' max='1' value='{ratio:.4f}' style='width: 12em'>{ratio:.0%}</meter> coverage {ratio:.2f}, "
        if ratio is not None
        else ""
    )
    head = f"{bar}{counts['detected']} detected, {counts['warned']} only warned, {counts['silent']} silent"
    parts = [
        f"<b>{escape(report.scenario)}</b>{' (partial)' if report.selection else ''}",
        f"<div>{head}</div>",
        *_list(_reasons(report)),
    ]
    if silent:
        cells = "".join(_row(fault) for fault in silent[:_SHOWN])
        parts.append(
            "<table><thead><tr><th>silent fault</th><th>severity</th><th>harm</th><th>guards that detect it</th></tr>"
            f"</thead><tbody>{cells}</tbody></table>"
        )
    if (more := len(silent) - _SHOWN) > 0:
        parts.append(f"<div>and {more} more silent fault{'s' * (more != 1)}</div>")
    if report.page:
        parts.append(f"<div><a href='{escape(report.page)}'>{escape(report.page)}</a></div>")
    return f"<div>{''.join(parts)}</div>"


def _reasons(report: Report) -> list[str]:
    return [] if report.passed else [reason.text for reason in report.reasons]


def _list(texts: Iterable[str]) -> list[str]:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return [f"<ul>{items}</ul>"] if items else []


def _row(fault: FaultResult) -> str:
    guards = ", ".join(dict.fromkeys(entry.name for entry in fault.prescription)) or "none"
    cells = (fault.id, fault.severity, _harm(fault), guards)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _harm(fault: FaultResult) -> str:
    harm = fault.harm
    if harm is None or not harm.harmful:
        return "unknown" if fault.harm_unknown else "none measured"
    if harm.clean is None or harm.faulty is None:
        return harm.seen_by or harm.metric
    return f"{harm.metric} {harm.clean:.4g} → {harm.faulty:.4g}"
