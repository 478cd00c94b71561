"""The page's section on source mutants: the score, methods, survivors, and the detectors of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from faultlab.catalogue.mutation_scores import COUNTED
from faultlab.core.report import FaultResult, Report, Status
from faultlab.report.html import diffs
from faultlab.report.html.bars import Part, segments
from faultlab.report.html.diffs import Change, Line
from faultlab.report.mutants import UNCOUNTED, change, in_order, is_weak, mutation_line, of_tests, of_training, place
from faultlab.report.overview import measured

_ORDER = (0, 1, 2, 3, 4, 6, 8, 5, 7)
_OPEN = 12
_IN_TESTS = {
    "killed": "fail",
    "timeout": "fail",
    "crashed": "fail",
    "survived": "pass",
    "not_activated": "do not run it",
    "lost": "gave no verdict",
}
_IN_TRAINING = {
    "detected": "is stopped or flagged",
    "warned": "only warns",
    "silent": "changes silently",
    "no_effect": "is bitwise the clean one",
    "not_activated": "does not run it",
    "timeout": "gave no verdict",
    "error": "gave no verdict",
}


class Said(NamedTuple):
    """The verdict on an undetected mutant."""

    status: str
    reason: str
    cost: str
    warnings: tuple[str, ...]
    guards: tuple[tuple[str, int, float], ...]


class Variant(NamedTuple):
    """One mutant of a spot: its replacement; ``removed`` is the text of a mutant that only removes."""

    place: str
    operator: str
    removed: str
    after: tuple[Line, ...]


class Spot(NamedTuple):
    """Lines that mutants change, and the mutants by verdict."""

    before: tuple[Line, ...]
    sayings: list[tuple[Said, list[Variant]]]


class Group(NamedTuple):
    """The mutants of one function."""

    id: str
    file: str
    line: int
    function: str
    undetected: int
    total: int
    open: bool
    spots: list[Spot]


class Killed(NamedTuple):
    """A detected mutant: its test and its detectors in the training, or ``otherwise`` the result of the training."""

    place: str
    change: str
    test: str
    message: str
    training: list[tuple[str, str, bool]]
    otherwise: str


def content(report: Report) -> dict[str, Any] | None:
    """Return the content of the template; None for a report without mutants."""
    if report.mutation is None:
        return None
    by_status: dict[Status, list[FaultResult]] = {}
    for result in in_order(report.mutants):
        by_status.setdefault(result.status, []).append(result)
    detected = by_status.get(Status.DETECTED, [])
    undetected = in_order([*by_status.get(Status.SILENT, []), *by_status.get(Status.WARNED, [])])
    functions = Counter(_function(result) for result in report.mutants)
    groups = _groups(undetected, functions)
    links = {(group.file, group.function): group.id for group in groups}
    rows = _method_rows(report, links)
    return {
        "mutation": report.mutation,
        "total": len(report.mutants),
        "counted": sum(result.status in COUNTED for result in report.mutants),
        "detected": len(detected),
        "both": len(report.mutation.judges) > 1,
        "parts": parts(report),
        "summary": mutation_line(report),
        "others": [(len(by_status[status]), words) for status, words in UNCOUNTED.items() if status in by_status],
        "weak": [row for row in rows if is_weak(row)],
        "strong": [row for row in rows if not is_weak(row)],
        "with_modes": any(row["modes"] for row in rows),
        "never_run": any(row["not_activated"] for row in rows),
        "cross": _cross(report),
        "groups": groups,
        "undetected": len(undetected),
        "alone": _killed(result for result in detected if not of_tests(result)),
        "by_tests": _killed(result for result in detected if of_tests(result)),
        "idle": [(*key, len(found)) for key, found in _by_function(by_status.get(Status.NOT_ACTIVATED, [])).items()],
        "equivalent": _by_reason(by_status.get(Status.NO_EFFECT, [])),
        "exempted": _by_reason(by_status.get(Status.IGNORED, [])),
        "lost": _by_reason(by_status.get(Status.ERROR, [])),
        "unmutated": _unmutated(report.mutation.unmutated),
    }


def parts(report: Report) -> list[Part]:
    """Return the parts of the mutation score, the best first."""
    return _parts(report.mutants, report.mutation.judges if report.mutation else [])


def _parts(results: Iterable[FaultResult], judges: Sequence[str]) -> list[Part]:
    counts = Counter(_rank(result, "training" in judges) for result in results if result.status in COUNTED)
    missed = "missed by the tests, " if "tests" in judges else ""
    words = [
        "killed by a test",
        f"{missed}detected by a guard in the training",
        f"{missed}detected in the training by the module's own check",
        f"{missed}ended the training incidentally, in the framework or the process",
        "only warned of",
        "survived, and did no harm as far as measured" if "training" in judges else "survived",
        "survived, and harmful" if "training" in judges else "survived",
        "never run",
        "survived, its harm unknown",
    ]
    return segments((f"part{rank}", words[rank], counts[rank]) for rank in _ORDER)


def _rank(result: FaultResult, trains: bool) -> int:
    if result.status is Status.DETECTED:
        worth = min((found.worth for found in of_training(result)), default=3)
        return 0 if of_tests(result) else max(1, worth)
    if result.status is Status.SILENT:
        return 6 if result.harmful or not trains else 8 if result.harm_unknown else 5
    return 4 if result.status is Status.WARNED else 7


def _method_rows(report: Report, links: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    assert report.mutation is not None
    grouped = _by_function(report.mutants)
    return [
        {
            **row,
            "parts": _parts(grouped.get((row["file"], row["function"]), []), report.mutation.judges),
            "link": links.get((row["file"], row["function"]), ""),
        }
        for row in report.mutation.methods
    ]


def _cross(report: Report) -> dict[str, Any]:
    """Return the mutants by the verdicts of tests and training; empty if only one of them judged."""
    pairs: Counter[tuple[str, str]] = Counter()
    for result in report.mutants:
        said = result.mutant or {}
        if said.get("tests") and said.get("training"):
            in_tests = _IN_TESTS.get(said["tests"]["outcome"], "gave no verdict")
            pairs[in_tests, _IN_TRAINING.get(said["training"]["status"], "gave no verdict")] += 1
    heads = [head for head in dict.fromkeys(_IN_TRAINING.values()) if any(pair[1] == head for pair in pairs)]
    rows = [row for row in dict.fromkeys(_IN_TESTS.values()) if any(pair[0] == row for pair in pairs)]
    return {"heads": heads, "rows": [(row, [pairs[row, head] for head in heads]) for row in rows]}


def _groups(results: Sequence[FaultResult], functions: Counter[tuple[str, str]]) -> list[Group]:
    """Return the survivors by function; the first ones are unfolded if they are few."""
    found, shown = [], 0
    for number, ((file, function), some) in enumerate(_by_function(results).items(), 1):
        shown += len(some)
        line = min(result.mutant["line"] for result in some if result.mutant is not None)
        of = functions[file, function]
        id, is_open = f"survivors-{number}", shown <= _OPEN
        found.append(Group(id, file, line, function, len(some), of, is_open, _spots(some)))
    return found


def _spots(results: Sequence[FaultResult]) -> list[Spot]:
    grouped: dict[Any, list[tuple[FaultResult, Change]]] = {}
    for result in results:
        changed = diffs.read(str((result.mutant or {}).get("diff", "")))
        grouped.setdefault(changed.common or result.id, []).append((result, changed))
    spots = []
    for some in grouped.values():
        indent = diffs.indent(changed for _, changed in some)
        sayings: dict[Said, list[Variant]] = {}
        for result, changed in some:
            said = result.mutant or {}
            where = f"{str(said.get('file')).rpartition('/')[2]}:{said.get('line')}:{said.get('column')}"
            removed = "" if said.get("after") else " ".join(str(said.get("before", "")).split())
            variant = Variant(where, str(said.get("operator")), removed, diffs.cut(changed.after, indent))
            sayings.setdefault(_said(result), []).append(variant)
        before = diffs.cut(some[0][1].before, indent)
        spots.append(Spot(before if len(some) == 1 else diffs.plain(before), list(sayings.items())))
    return spots


def _said(result: FaultResult) -> Said:
    guards = tuple((entry.guard, entry.step, entry.cost or 0.0) for entry in result.prescription)
    trained = (result.mutant or {}).get("training") or {}
    same = trained.get("status") in ("no_effect", "not_activated")
    cost = "" if result.harm is None or same else measured(result.harm)
    return Said(result.status.value, result.reason, cost, tuple(result.warnings), guards)


def _killed(results: Iterable[FaultResult]) -> list[tuple[tuple[str, str], list[Killed]]]:
    found = []
    for key, some in _by_function(results).items():
        found.append((key, [_one_killed(result, key[1]) for result in some]))
    return found


def _one_killed(result: FaultResult, function: str) -> Killed:
    by_test = result.detected_by[0] if of_tests(result) and result.detected_by else None
    in_training = [(f"{d.kind} {d.name}", d.message, d.name == function.partition(".")[0]) for d in of_training(result)]
    test, message = (by_test.name, by_test.message) if by_test is not None else ("", "")
    trained = ((result.mutant or {}).get("training") or {}).get("status", "")
    return Killed(place(result), change(result), test, message, in_training, _IN_TRAINING.get(trained, ""))


def _by_function(results: Iterable[FaultResult]) -> dict[tuple[str, str], list[FaultResult]]:
    grouped: dict[tuple[str, str], list[FaultResult]] = {}
    for result in results:
        grouped.setdefault(_function(result), []).append(result)
    return grouped


def _function(result: FaultResult) -> tuple[str, str]:
    said = result.mutant or {}
    return str(said.get("file")), str(said.get("function"))


def _by_reason(results: Iterable[FaultResult]) -> list[tuple[str, list[tuple[str, str]]]]:
    grouped: dict[str, list[tuple[str, str]]] = {}
    for result in results:
        grouped.setdefault(result.reason, []).append((place(result), change(result)))
    return list(grouped.items())


def _unmutated(unmutated: dict[str, str]) -> list[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for function, reason in unmutated.items():
        grouped.setdefault(reason, []).append(function)
    return list(grouped.items())
