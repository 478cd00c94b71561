"""mutation-report.json: the mutants in Stryker's schema, which viewers and dashboards read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.core.detection import Detection
from faultlab.core.report import FaultResult, Report, Status, dump
from faultlab.core.run_folder import MUTANTS_FOLDER
from faultlab.report.mutants import change, in_order, of_tests, of_training
from faultlab.report.reporters import FolderFormat

FILE = "mutation-report.json"
SCHEMA = "2.0"
# The defaults of viewers: the schema requires some.
_THRESHOLDS = {"high": 80, "low": 60}
_STATUSES = {
    Status.DETECTED: "Killed",
    Status.WARNED: "Survived",
    Status.SILENT: "Survived",
    Status.NOT_ACTIVATED: "NoCoverage",
    Status.NO_EFFECT: "Ignored",
    Status.IGNORED: "Ignored",
    Status.ERROR: "RuntimeError",
}
_TRAINING = "the training"


def render(report: Report, folder: Path) -> str | None:
    """Return the document; None for a report without mutants."""
    return None if report.mutation is None else dump(export(report, folder), indent=1)


def export(report: Report, folder: Path) -> dict[str, Any]:
    """Return the mutants of the report in this run folder, with the source that they were made from.

    A mutant that only the training detects is killed by a guard, which is listed among the tests under "the training".
    """
    assert report.mutation is not None
    grouped: dict[str, list[FaultResult]] = {}
    for result in in_order(report.mutants):
        if result.mutant is not None:
            grouped.setdefault(str(result.mutant["file"]), []).append(result)
    versions = {"mutmut": report.mutation.mutmut, **report.versions}
    return {
        "schemaVersion": SCHEMA,
        "thresholds": _THRESHOLDS,
        "files": {file: _file(results, folder / MUTANTS_FOLDER / file) for file, results in grouped.items()},
        "testFiles": _tests(report.mutants),
        "framework": {"name": "faultlab", "version": report.faultlab, "dependencies": versions},
        "config": {
            "scenario": report.scenario,
            "judges": report.mutation.judges,
            "since": report.mutation.since,
            "shard": report.mutation.shard,
        },
    }


def _file(results: Sequence[FaultResult], copy: Path) -> dict[str, Any]:
    mutants = [result.mutant for result in results if result.mutant is not None]
    source = _source(copy, mutants)
    lines = source.split("\n")
    return {"language": "python", "source": source, "mutants": [_mutant(result, lines) for result in results]}


def _source(copy: Path, mutants: Iterable[Mapping[str, Any]]) -> str:
    """Return the file as it was mutated; if that copy is missing or has changed, the part of it that diffs show."""
    try:
        source = copy.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return _pieced_together(mutants)
    lines = source.split("\n")
    same = all(_at(lines, mutant).replace("\n", "") == mutant["before"].replace("\n", "") for mutant in mutants)
    return source if same else _pieced_together(mutants)


def _at(lines: Sequence[str], mutant: Mapping[str, Any]) -> str:
    """Return the text at a mutant's place."""
    found = list(lines[mutant["line"] - 1 : mutant["end_line"]])
    if not found:
        return ""
    found[-1] = found[-1][: mutant["end_column"] - 1]
    found[0] = found[0][mutant["column"] - 1 :]
    return "\n".join(found)


def _pieced_together(mutants: Iterable[Mapping[str, Any]]) -> str:
    """Return the lines of the diffs, each at its number, with empty lines between them."""
    known: dict[int, str] = {}
    for mutant in mutants:
        number = 0
        for line in str(mutant["diff"]).split("\n")[2:]:
            if match := re.match(r"@@ -(\d+)", line):
                number = int(match[1])
            elif not line.startswith("+"):
                known[number] = line[1:]
                number += 1
        known.setdefault(mutant["end_line"], "")
    return "\n".join(known.get(number, "") for number in range(1, max(known, default=0) + 1)) + "\n"


def _mutant(result: FaultResult, lines: Sequence[str]) -> dict[str, Any]:
    mutant = result.mutant or {}
    found: dict[str, Any] = {
        "id": result.id,
        "mutatorName": mutant["operator"],
        "description": change(result),
        "replacement": _replacement(mutant, lines),
        "location": {
            "start": _position(lines, mutant["line"], mutant["column"]),
            "end": _position(lines, mutant["end_line"], mutant["end_column"]),
        },
        "status": _status(result),
        "duration": round(1000 * result.seconds, 1),
    }
    killers = list(dict.fromkeys(_killer(detection)[1] for detection in _killers(result)))
    if killers:
        found["killedBy"] = killers
    said = [f"{detection.name}: {detection.message}" for detection in result.detected_by] or [result.reason]
    if any(said):
        found["statusReason"] = "\n".join(said)
    tests = mutant.get("tests")
    if tests and tests["outcome"] == "survived":
        found["testsCompleted"] = tests["tests"]
    return found


def _status(result: FaultResult) -> str:
    if result.status is Status.DETECTED and not any(found.kind != "process" for found in result.detected_by):
        tests = (result.mutant or {}).get("tests") or {}
        hung = tests.get("outcome") == "timeout" or any(found.name == "deadline" for found in of_training(result))
        return "Timeout" if hung else "Killed"
    return _STATUSES.get(result.status, "RuntimeError")


def _replacement(mutant: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Return the replacement; if it is an insertion, with spaces to separate it from the words next to it."""
    after = str(mutant["after"])
    if mutant["before"] or not after or mutant["line"] > len(lines):
        return after
    line, at = lines[mutant["line"] - 1], mutant["column"] - 1
    lead = " " if _is_word(line[at - 1 : at]) and _is_word(after[:1]) else ""
    return lead + after + (" " if _is_word(line[at : at + 1]) and _is_word(after[-1:]) else "")


def _position(lines: Sequence[str], line: int, column: int) -> dict[str, int]:
    # Viewers count like JavaScript, in units of 16 bits.
    before = lines[line - 1][: column - 1] if line <= len(lines) else ""
    return {"line": line, "column": column + sum(ord(letter) > 0xFFFF for letter in before)}


def _killers(result: FaultResult) -> list[Detection]:
    if result.status is not Status.DETECTED:
        return []
    return result.detected_by[:1] if of_tests(result) else of_training(result)


def _killer(detection: Detection) -> tuple[str, str]:
    """Return the test file that a detector is listed under, and its id there."""
    if "::" in detection.name:
        return detection.name.partition("::")[0], detection.name
    return _TRAINING, f"{detection.kind} {detection.name}"


def _tests(results: Iterable[FaultResult]) -> dict[str, Any]:
    """Return the tests and guards that killed a mutant, by file."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for file, id in map(_killer, _killers(result)):
            found.setdefault(file, {})[id] = None
    return {
        file: {"tests": [{"id": id, "name": id.partition("::")[2] or id} for id in sorted(ids)]}
        for file, ids in sorted(found.items())
    }


def _is_word(text: str) -> bool:
    return bool(text) and (text.isalnum() or text == "_")


FORMAT = FolderFormat(FILE, render)
