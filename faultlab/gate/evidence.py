"""Reports read as evidence: no conclusion of theirs is taken on trust, and one that was changed by hand is refused.

The digest is checked, what the report concludes is concluded again from its faults, and where the run folder's plan and
outcomes lie beside it, they have to say the same. See `faultlab.core.seal` for what that can't prove.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from faultlab.catalogue import mutation_scores
from faultlab.core import seal
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.records import BESIDE, REPORT
from faultlab.core.report import FaultResult, Report, Status, dump
from faultlab.core.run_folder import OUTCOMES_FILE, PLAN_FILE, REPORT_FILE, unfinished
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate.demands import check, check_mutants

AGAIN = "Run the scenario again: `faultlab run`."
_NO_REPORT = "the run in it never came to a report"


def find(paths: Iterable[Path]) -> list[Path]:
    """The report.json files at the paths: files, run folders, or folders of run folders.

    Raises UsageError where a path is none, InconclusiveError where there is no report at one. Of the runs below a
    folder that came to none see `unfinished_below`.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
        elif (path / REPORT_FILE).is_file():
            found.append(path / REPORT_FILE)
        elif unfinished(path):
            # And not what its tests have left within it.
            raise InconclusiveError(f"inconclusive: {path}: {_NO_REPORT}\n    {AGAIN}")
        elif path.is_dir():
            inside = sorted(path.glob(f"*/{REPORT_FILE}"))
            for folder, why in ({} if inside else unfinished_below([path])).items():
                raise InconclusiveError(f"{folder}: {why}")
            if not inside:
                raise InconclusiveError(f"{path}: no report in this folder\n    {AGAIN}")
            found += inside
        else:
            raise UsageError(f"{path}: no such file or folder\n    Name a report.json, its folder, or that of several.")
    return list(dict.fromkeys(found))


def unfinished_below(paths: Iterable[Path]) -> dict[Path, str]:
    """The run folders in folders of these that have no report though a run was begun there, and what to do."""
    outer = [path for path in paths if path.is_dir() and not (path / REPORT_FILE).is_file()]
    folders = [folder for path in outer for folder in sorted(path.iterdir()) if folder.is_dir()]
    remedy = f"{AGAIN} If the scenario is no more, remove the folder."
    return {folder: f"inconclusive: {_NO_REPORT}\n    {remedy}" for folder in folders if unfinished(folder)}


def studies_below(paths: Iterable[Path]) -> dict[Path, str]:
    """The reports in folders of these that a command has made for a purpose of its own, and which command."""
    outer = [path for path in paths if path.is_dir() and not (path / REPORT_FILE).is_file()]
    return {file: study for path in outer for file in sorted(path.glob(f"*/{REPORT_FILE}")) if (study := _study(file))}


def _study(file: Path) -> str:
    try:
        return Report.read(file).study
    except (OSError, ValueError, RecursionError):
        return ""  # for who reads it to complain of


def read(file: Path, whole: bool = False) -> Report:
    """A report that is as it was written, and concludes what follows from its faults.

    With ``whole`` it has to agree with the plan and the outcomes beside it too, where they are there. Raises UsageError
    where it is no report, InconclusiveError where it is not to be trusted.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(data, dict) and seal.KEY in data:
            # First: what was edited is no run's even where it can't be read any more.
            _check_seal(file, data)
        report = Report.of(data, file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        said = str(error) if str(file) in str(error) else f"{file}: no report of faultlab: {error}"
        raise UsageError(f"{said}\n    {AGAIN}") from None
    if seal.KEY not in data:
        _check_seal(file, data)
    try:
        doubts = [*_inconsistencies(data, report), *(_contradicted(file, data, report) if whole else ())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # values of other types than a report's
        said = f"{file}: no report of faultlab: {type(error).__name__}: {error}"
        raise UsageError(f"{said}\n    {AGAIN}") from None
    if doubts:
        raise InconclusiveError(_refusal(file, doubts))
    return report


def _check_seal(file: Path, data: Mapping[str, Any]) -> None:
    if wrong := seal.broken(data):
        raise InconclusiveError(f"inconclusive: {file}: {wrong}\n    A report is not to be edited. {AGAIN}")


def has_run_folder(file: Path) -> bool:
    """Whether what the report rests on lies beside it."""
    return (file.parent / PLAN_FILE).is_file() and (file.parent / OUTCOMES_FILE).is_file()


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """The lines of a run folder's outcomes by fault, as plain data; the last one of a fault is the one that counts."""
    found: dict[str, dict[str, Any]] = {}
    for line in (folder / OUTCOMES_FILE).read_text(encoding="utf-8").split("\n"):
        if line:
            data = json.loads(line)
            found[data["id"]] = data
    return found


def _refusal(file: Path, doubts: list[str]) -> str:
    more = f" (and {len(doubts) - 3} more)" if len(doubts) > 3 else ""
    return f"inconclusive: {file}: {'; '.join(doubts[:3])}{more}\n    A report is not to be edited. {AGAIN}"


def _inconsistencies(data: Mapping[str, Any], report: Report) -> list[str]:
    """Where the report's conclusions don't follow from its faults."""
    doubts = [
        f"{fault.id} is detected, and by nobody"
        for fault in report.faults
        if fault.status is Status.DETECTED and not fault.detected_by
    ]
    times = Counter(fault.id for fault in report.faults)
    doubts += [f"{id} stands there {count} times" for id, count in times.items() if count > 1]
    for exemption in report.exemptions:
        datetime.date.fromisoformat(exemption["expires"])
    if data.get("coverage") != json.loads(dump(report.coverage())):
        doubts.append("its coverage does not follow from its faults")
    if report.mutation is not None and report.mutation.score != mutation_scores.score(report.mutants):
        doubts.append("its mutation score does not follow from its mutants")
    doubts += [f"its gate does not say that {reason.text}" for reason in _unsaid(report)]
    if report.passed != (not report.reasons):
        doubts.append(f"its gate says passed: {str(report.passed).lower()}, and {len(report.reasons)} reasons")
    return doubts


def _unsaid(report: Report) -> Iterator[Reason]:
    """What follows from the report and is not among its reasons, of whose words another version may choose others."""
    left = Counter(reason.kind for reason in report.reasons)
    for reason in reasons_of(report):
        left[reason.kind] -= 1
        if left[reason.kind] < 0:
            yield reason


def reasons_of(report: Report) -> list[Reason]:
    """Every reason not to pass that follows from a report's faults and demands on any day."""
    mutants = [] if report.mutation is None else _mutants(report)
    return mutants if report.mutation is not None and not report.faults else [*check(report), *mutants]


def _mutants(report: Report) -> list[Reason]:
    demanded = report.demands.mutants if report.demands is not None else None
    return check_mutants(report, demanded)


def _contradicted(file: Path, data: Mapping[str, Any], report: Report) -> Iterator[str]:
    """Where the report does not agree with the plan and the outcomes that lie beside it."""
    if not has_run_folder(file):
        return
    try:
        plan = json.loads((file.parent / PLAN_FILE).read_text(encoding="utf-8"))
        planned = {entry["id"]: entry["status"] for entry in plan["faults"]}
        judged = {id: _bare(line) for id, line in outcomes(file.parent).items()}
        noted = plan.get(REPORT)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{PLAN_FILE} or {OUTCOMES_FILE} beside it can't be read: {type(error).__name__}: {error}"
        return
    if noted is None:
        yield f"the run that wrote the {PLAN_FILE} beside it never came to a report"
        return
    if noted != data[seal.KEY]:
        yield f"it is not the report that the {PLAN_FILE} beside it names"
    reported = {fault.id: _bare(json.loads(dump(fault.to_json()))) for fault in report.faults}
    interrupted = any(reason.kind is ReasonKind.INTERRUPTED for reason in report.reasons)
    for id, status in planned.items():
        if id not in reported:
            if not interrupted:
                yield f"{id} was planned and has no verdict"
        elif status and reported[id]["status"] != status:
            yield f"{id} was planned as {status}, and is reported as {reported[id]['status']}"
        elif judged.get(id) != reported[id]:
            yield f"{id} is reported as {reported[id]['status']}, and {_said(judged.get(id))} in {OUTCOMES_FILE}"
    for id in reported.keys() - planned.keys():
        yield f"{id} is reported and was never planned"


def _said(line: Mapping[str, Any] | None) -> str:
    return "is not" if line is None else f"stands as {line['status']}"


def _bare(line: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict and what it rests on."""
    data = {name: value for name, value in line.items() if name not in BESIDE}
    FaultResult.from_json(data)
    return data
