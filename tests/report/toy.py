"""A report format of one file, as another package would add it: a line for each fault."""

from __future__ import annotations

from faultlab.core.report import Report
from faultlab.report.reporters import Format
from faultlab.report.text import harmless


def render(report: Report) -> str:
    """How each fault fared, and what it was."""
    lines = [f"{fault.status.value}\t{harmless(fault.id)}" for fault in (*report.faults, *report.mutants)]
    return "\n".join([f"{len(lines)} faults", *lines]) + "\n"


FORMAT = Format("faults.tsv", render)
BROKEN = Format("broken.txt", lambda report: str(report.faults[99]))
ELSEWHERE = Format("other.txt", render)
LIST = Format("list.txt", lambda report: ["no text"])  # type: ignore[arg-type, return-value]
