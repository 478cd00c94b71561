"""Source mutants in words and rows, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Sequence

from faultlab.mutants.methods import sentence
from faultlab.results import FaultResult, Report, Status

_WORDS = {
    Status.NOTICED: "killed",
    Status.WARNED: "only warned of",
    Status.SILENT: "survived",
    Status.NOT_ACTIVATED: "never run",
    Status.NO_EFFECT: "equivalent",
    Status.IGNORED: "excused",
    Status.ERROR: "not judged",
}


def mutation_line(report: Report) -> str:
    """What became of the mutants in one line."""
    mutation = report.mutation
    if mutation is None:
        return f"{report.scenario}: no mutants"
    score = "no score" if mutation.score is None else f"score {mutation.score:.3f}"
    counts = ", ".join(f"{n} {_WORDS[s]}" for s in _WORDS if (n := mutation.counts.get(s.value, 0)))
    guards = sum(not of_tests(result) for result in report.mutants if result.status is Status.NOTICED)
    alone = f"; {guards} that the tests miss are noticed in the training" if guards and len(mutation.judges) > 1 else ""
    whole = f"{score} of {len(report.mutants)} mutants: {counts}{alone}"
    return f"{report.scenario}: {whole}; {mutation.timing['total']:.1f} s"


def method_rows(report: Report) -> list[str]:
    """A line a method, the weakest first; those where nothing is left out."""
    rows = report.mutation.methods if report.mutation else []
    return [sentence(row) for row in rows if row["counted"] > row["noticed"]]


def survivors(report: Report) -> list[str]:
    """A line a mutant that nobody noticed, in the order of the source."""
    found = [result for result in report.mutants if result.status in (Status.SILENT, Status.WARNED)]
    return [
        f"{place(result)} {result.mutant['function']}: {change(result)}" for result in in_order(found) if result.mutant
    ]


def of_tests(result: FaultResult) -> bool:
    """Whether a test noticed the mutant."""
    said = (result.mutant or {}).get("tests")
    return said is not None and said["outcome"] in ("killed", "timeout", "crashed")


def in_order(results: Sequence[FaultResult]) -> list[FaultResult]:
    """By file, line and column."""
    return sorted(
        results, key=lambda r: (r.mutant["file"], r.mutant["line"], r.mutant["column"], r.id) if r.mutant else ()
    )


def place(result: FaultResult) -> str:
    """File, line and column, as editors take them."""
    said = result.mutant or {}
    return f"{said.get('file')}:{said.get('line')}:{said.get('column')}"


def change(result: FaultResult) -> str:
    """What was changed, on one line."""
    said = result.mutant or {}
    before, after = (" ".join(str(said.get(key, "")).split())[:60] for key in ("before", "after"))
    if not after:
        return f"`{before}` removed"
    return f"`{before}` becomes `{after}`" if before else f"`{after}` put in"
