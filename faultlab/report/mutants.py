"""Source mutants in words and rows, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence

from faultlab.catalogue.mutation_scores import sentence
from faultlab.core.detection import Detection
from faultlab.core.report import FaultResult, Report, Status
from faultlab.report.html.diffs import differing

_COUNTED = {
    Status.DETECTED: "killed",
    Status.WARNED: "only warned of",
    Status.SILENT: "survived",
    Status.NOT_ACTIVATED: "never run",
}
UNCOUNTED = {Status.NO_EFFECT: "equivalent", Status.IGNORED: "exempt", Status.ERROR: "not judged"}
_LONGEST, _AROUND, _MOST = 60, 24, 80


def mutation_line(report: Report) -> str:
    """Return the verdicts on the mutants in one line."""
    mutation = report.mutation
    if mutation is None:
        return f"{report.scenario}: no mutants"
    counts = mutation.counts
    said = {status: f"{n} {words}" for status, words in _COUNTED.items() if (n := counts.get(status.value, 0))}
    alone = sum(not of_tests(result) for result in report.mutants if result.status is Status.DETECTED)
    if alone and "tests" in mutation.judges:
        said[Status.DETECTED] += f" ({alone} of them missed by the tests)"
    others = ", ".join(f"{n} {words}" for status, words in UNCOUNTED.items() if (n := counts.get(status.value, 0)))
    parts = [
        f"{report.scenario}: {score(report)} of {_times(len(report.mutants), 'mutant')}{beyond(report)}",
        *([", ".join(said.values())] if said else []),
    ]
    uncounted = f"; not counted: {others}" if others else ""
    return f"{': '.join(parts)}{uncounted}; {_gate(report)}; {mutation.timing.get('total', 0):.1f} s"


def _gate(report: Report) -> str:
    """Return the gate in words; if a campaign fails for other reasons, that the mutants are not one."""
    mine = any(reason.kind.of_mutants for reason in report.reasons)
    return report.gate if report.passed or mine or not report.faults else f"{report.gate}, but not for the mutants"


def score(report: Report) -> str:
    """Return the mutation score in words."""
    found = report.mutation.score if report.mutation is not None else None
    return "no mutation score" if found is None else f"mutation score {found:.3f}"


def beyond(report: Report) -> str:
    """Return the number of functions that the score does not cover, as a suffix to it."""
    unreached = report.mutation.unreached if report.mutation is not None else []
    return f" ({_times(len(unreached), 'function')} out of mutmut's reach)" if unreached else ""


def unreached_rows(report: Report) -> list[str]:
    """Return a line for each function that mutmut can't mutate, with the reason."""
    mutation = report.mutation
    return [f"{place}: {mutation.unmutated[place]}" for place in mutation.unreached] if mutation is not None else []


def method_rows(report: Report) -> list[str]:
    """Return a line for each weak method, the weakest first."""
    return [sentence(row) for row in (report.mutation.methods if report.mutation else []) if is_weak(row)]


def is_weak(row: dict[str, int]) -> bool:
    """Return True if a mutant or a failure mode in the method goes undetected."""
    return row["counted"] > row["detected"] or row["modes"] > row["modes_detected"]


def survivors(report: Report) -> list[tuple[Status, str]]:
    """Return the status and a line for each mutant that ran undetected, in the order of the source."""
    found = [result for result in report.mutants if result.status in (Status.SILENT, Status.WARNED)]
    return [
        (result.status, f"{place(result)} {result.mutant['function']}: {change(result)}")
        for result in in_order(found)
        if result.mutant
    ]


def of_tests(result: FaultResult) -> bool:
    """Return True if a test detected the mutant."""
    said = (result.mutant or {}).get("tests")
    return said is not None and said["outcome"] in ("killed", "timeout", "crashed")


def of_training(result: FaultResult) -> list[Detection]:
    """Return the detections in the training."""
    return result.detected_by[int(of_tests(result)) :]


def in_order(results: Sequence[FaultResult]) -> list[FaultResult]:
    """Return the mutants sorted by file, line and column."""
    return sorted(
        results, key=lambda r: (r.mutant["file"], r.mutant["line"], r.mutant["column"], r.id) if r.mutant else ()
    )


def place(result: FaultResult) -> str:
    """Return file, line and column in the notation of editors."""
    said = result.mutant or {}
    return f"{said.get('file')}:{said.get('line')}:{said.get('column')}"


def change(result: FaultResult) -> str:
    """Return the change on one line; of long texts the part that differs."""
    said = result.mutant or {}
    before, after = (" ".join(str(said.get(key, "")).split()) for key in ("before", "after"))
    if before and after and max(len(before), len(after)) > _LONGEST:
        head, tail = differing(before, after)
        before, after = (_part(text, head, tail) for text in (before, after))
    before, after = (text if len(text) <= _MOST else f"{text[:_MOST]} ..." for text in (before, after))
    if not after:
        return f"`{before}` removed"
    return f"`{before}` becomes `{after}`" if before else f"`{after}` inserted"


def _part(text: str, head: int, tail: int) -> str:
    """Return the part of the text that differs, with a few characters around it."""
    first, last = max(0, head - _AROUND), min(len(text), len(text) - tail + _AROUND)
    return f"{'... ' if first else ''}{text[first:last]}{' ...' if last < len(text) else ''}"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
