"""Scores of methods, from their source mutants and the failure modes that act in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.report import FaultResult, Status
from faultlab.core.source_mutation import Mutation
from faultlab.core.status import counts_of

COUNTED = (Status.DETECTED, Status.WARNED, Status.SILENT, Status.NOT_ACTIVATED)
_JUDGED = (Status.DETECTED, Status.WARNED, Status.SILENT)


def score(mutants: Iterable[FaultResult]) -> float | None:
    """Return the detected fraction of the mutants that count, to four digits; None if none counts."""
    counted = [result for result in mutants if result.status in COUNTED]
    detected = sum(result.status is Status.DETECTED for result in counted)
    return round(detected / len(counted), 4) if counted else None


def summed_up(
    mutation: Mutation, mutants: Sequence[FaultResult], modes: Mapping[str, Status], known: Mapping[str, FailureMode]
) -> Mutation:
    """Return the mutation with the counts of its mutants; ``modes`` has the verdicts of the failure modes."""
    return replace(
        mutation,
        score=score(mutants),
        counts=counts_of(result.status for result in mutants),
        methods=rows(mutants, modes, known),
    )


def rows(
    mutants: Iterable[FaultResult], modes: Mapping[str, Status], known: Mapping[str, FailureMode]
) -> list[dict[str, Any]]:
    """Return a row per function, the weakest first, with its mutants and the failure modes of methods of its name."""
    found: dict[tuple[str, str], list[FaultResult]] = {}
    for result in mutants:
        if result.mutant is not None:
            found.setdefault((result.mutant["file"], result.mutant["function"]), []).append(result)
    made = [_row(file, function, results, modes, known) for (file, function), results in found.items()]
    return sorted(made, key=lambda row: (_share(row), -row["counted"], row["file"], row["line"]))


def _row(file: str, function: str, results: list[FaultResult], modes: Mapping[str, Status],
         known: Mapping[str, FailureMode]) -> dict[str, Any]:  # fmt: skip
    name = function.rpartition(".")[2]
    bites = [status for id, status in modes.items() if id in known and known[id].method == name and status in _JUDGED]
    counted = [result for result in results if result.status in COUNTED]
    return {
        "file": file,
        "function": function,
        "line": min(result.mutant["line"] for result in results if result.mutant is not None),
        "detected": sum(result.status is Status.DETECTED for result in counted),
        "counted": len(counted),
        "not_activated": sum(result.status is Status.NOT_ACTIVATED for result in counted),
        "modes_detected": sum(status is Status.DETECTED for status in bites),
        "modes": len(bites),
    }


def _share(row: Mapping[str, Any]) -> float:
    return row["detected"] / row["counted"] if row["counted"] else 2.0


def sentence(row: Mapping[str, Any]) -> str:
    """Return the row as a sentence."""
    said = f"{row['function']}: {row['detected']} of {row['counted']} mutant{'' if row['counted'] == 1 else 's'} killed"
    if row["not_activated"]:
        said += f" ({row['not_activated']} never run)"
    if row["modes"]:
        said += f", {row['modes_detected']} of {row['modes']} failure modes detected"
    return said
