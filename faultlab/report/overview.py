"""The findings of a report in words and rows, for the terminal and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.partial import title
from faultlab.core.report import INCONCLUSIVE, FaultResult, Harm, Report, Status
from faultlab.errors import FaultlabError
from faultlab.report.mutants import beyond, mutation_line, score

_COLUMNS = (Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT, Status.NOT_APPLICABLE)

WORTHS = (
    "detected by a guard or test that names the cause",
    "detected by a guard or test for another reason",
    "detected by the module's own check",
    "failed incidentally, in the framework or the process",
)
"""How a fault was detected, by `Detection.worth`."""


def one_line(report: Report) -> str:
    """Return the coverage in one line."""
    if report.mutation is not None and not report.faults:
        return mutation_line(report)
    counts = Counter(report.by_mode().values())
    ratio = "no coverage ratio" if report.ratio is None else f"coverage {report.ratio:.2f}"
    harmful = sum(fault.harmful for fault in report.silent())
    unknown = sum(bool(fault.harm_unknown) for fault in report.silent())
    silent = f"{harmful} harmful" + (f", the harm of {unknown} unknown" if unknown else "")
    mutants = (
        f"{score(report)} of {len(report.mutants)} mutants{beyond(report)}; " if report.mutation is not None else ""
    )
    return (
        f"{title(report)}: {ratio}: {counts[Status.DETECTED]} detected, {counts[Status.WARNED]} only warned, "
        f"{counts[Status.SILENT]} silent ({silent}); {mutants}{report.gate}; "
        f"{report.timing.get('total', 0):.1f} s"
    )


def family_rows(report: Report) -> list[tuple[str, list[int]]]:
    """Return a row for each family: detected, warned, silent, no effect, not applicable, inconclusive, ignored."""
    grouped: dict[str, Counter[Status]] = {}
    for mode, status in report.by_mode().items():
        grouped.setdefault(mode.partition(".")[0], Counter())[status] += 1
    rows = []
    for family, counts in sorted(grouped.items()):
        inconclusive = sum(counts[status] for status in INCONCLUSIVE)
        rows.append((family, [*(counts[status] for status in _COLUMNS), inconclusive, counts[Status.IGNORED]]))
    return rows


def silent_rows(report: Report, most: int) -> list[str]:
    """Return a line for each silent fault with its cost, in the order of the report.

    If there are more than ``most``, harmful faults are chosen first, and among them the first of each family.
    """
    silent = report.silent()
    families: set[str] = set()
    urgency = []
    for place, fault in enumerate(silent):
        urgency.append((fault.badness[0], fault.family in families, place))
        families.add(fault.family)
    chosen = sorted(place for *_, place in sorted(urgency)[:most])
    return [f"{silent[place].id}: {cost(silent[place])}" for place in chosen]


def cost(fault: FaultResult) -> str:
    """Return the cost of a fault in words."""
    harm = fault.harm
    if harm is None or (harm.clean is None and not harm.unknown):
        return fault.reason or "its cost could not be measured"
    if harm.unknown:
        return fault.reason or measured(harm)
    mode = known_modes()[0].get(fault.mode)
    if mode is not None and mode.judged_by == "report":
        said = "no number" if harm.faulty is None else f"{harm.faulty:.4g}"
        if harm.harmful:
            return f"{harm.metric} is reported as {said}, but is {harm.clean:.4g} (harmful)"
        return f"{harm.metric} is reported as {said}, and is {harm.clean:.4g} (as close as the clean run's report)"
    return fault.reason if harm.faulty is None and fault.reason else measured(harm)


def measured(harm: Harm) -> str:
    """Return the metric of the final weights and of the clean run in words; empty if the clean run has none."""
    if harm.unknown:
        return f"harm unknown: {harm.unknown}" + (f" ({values})" if (values := _values(harm)) else "")
    if harm.seen_by:
        return f"{harm.seen_by} (harmful" + (f"; {values})" if (values := _values(harm)) else ")")
    if harm.clean is None:
        return ""
    if harm.faulty is None:
        return f"{harm.metric} is no longer finite (harmful; {_clean(harm)})"
    if harm.harmful:
        return f"{harm.metric} {harm.faulty:.4g}, {_clean(harm)} (harmful)"
    least = f" ± {harm.least:.2g}" if harm.least else ""
    where = "better than clean runs" if harm.better else "within the spread of clean runs"
    return f"{harm.metric} {harm.faulty:.4g}, {_clean(harm)}{least} ({where})"


def _values(harm: Harm) -> str:
    if harm.clean is None or harm.faulty is None:
        return ""
    return f"{harm.metric} {harm.faulty:.4g}, {_clean(harm)}"


def _clean(harm: Harm) -> str:
    """Return the clean value, with the run that it is of if that is not the one that trains to its end."""
    return f"clean {f'{harm.clean_of} ' if harm.clean_of else ''}{harm.clean:.4g}"


def target_lines(findings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a line for each finding about the clean target."""
    return [_sentences(found.get("what", ""), found.get("evidence", ""), found.get("remedy", "")) for found in findings]


def _sentences(*parts: str) -> str:
    return " ".join(f"{part[:1].upper()}{part[1:].rstrip('.')}." for part in parts if part)


def known_modes() -> tuple[Mapping[str, FailureMode], str]:
    """Return the failure modes and an empty string, or none and the error: a report has a page without them too."""
    try:
        return index.modes(), ""
    except (FaultlabError, OSError, SyntaxError) as error:
        return {}, str(error)
