"""Verified reading of reports: their conclusions are recomputed, and a modified report is rejected.

The digest is checked, the conclusions are derived again from the faults, and the report must agree with the plan and
the outcomes if they lie beside it. `faultlab.core.seal` describes what this can't prove.
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
from faultlab.core.run_folder import OUTCOMES_FILE, PLAN_FILE, REPORT_FILE, report_in, reports_below, unfinished
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate.demands import check, check_mutants

AGAIN = "Run the scenario again: `faultlab run`."
_NO_REPORT = "the run was not completed: it has no report"


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the report.json files at the paths: files, run folders, or folders of run folders.

    A partial report is returned only if its run folder has no complete one, or if it is named itself.
    Raises UsageError if a path doesn't exist, and InconclusiveError if it has no report. `unfinished_below` returns the
    runs without a report in a folder of several.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
        elif (path / REPORT_FILE).is_file():
            found.append(path / REPORT_FILE)
        elif (file := report_in(path)) is not None:
            found.append(file)
        elif unfinished(path):
            # Don't search the run folder itself, in which its tests may have left reports.
            raise InconclusiveError(f"inconclusive: {path}: {_NO_REPORT}\n    {AGAIN}")
        elif path.is_dir():
            inside = reports_below(path)
            for folder, why in ({} if inside else unfinished_below([path])).items():
                raise InconclusiveError(f"{folder}: {why}")
            if not inside:
                raise InconclusiveError(f"{path}: no report in this folder\n    {AGAIN}")
            found += inside
        else:
            raise UsageError(
                f"{path}: no such file or folder\n    Name a report.json, a run folder, or a folder of run folders."
            )
    return list(dict.fromkeys(found))


def unfinished_below(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the run folders below the paths in which a run began and left no report, each with a remedy."""
    outer = [path for path in paths if path.is_dir() and not (path / REPORT_FILE).is_file()]
    folders = [folder for path in outer for folder in sorted(path.iterdir()) if folder.is_dir()]
    remedy = f"{AGAIN} If the scenario no longer exists, remove the folder."
    return {folder: f"inconclusive: {_NO_REPORT}\n    {remedy}" for folder in folders if unfinished(folder)}


def studies_below(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the reports below the paths that do not come from a user's scenario, with the command that wrote them."""
    outer = [path for path in paths if path.is_dir() and not (path / REPORT_FILE).is_file()]
    return {file: study for path in outer for file in reports_below(path) if (study := _study(file))}


def _study(file: Path) -> str:
    try:
        return Report.read(file).study
    except (OSError, ValueError, RecursionError):
        return ""  # `read` raises the error


def read(file: Path, whole: bool = False) -> Report:
    """Return a report that is unmodified and whose conclusions follow from its faults.

    With ``whole``, it must also agree with the plan and the outcomes beside it, if there are any. Raises UsageError if
    the file is not a report, and InconclusiveError if it can't be trusted.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(data, dict) and seal.KEY in data:
            # First, so that a modified report is reported as such even if it can't be parsed any more.
            _check_seal(file, data)
        report = Report.from_json(data)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not a faultlab report: {error}\n    {AGAIN}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not a faultlab report: {type(error).__name__}: {error}\n    {AGAIN}") from None
    if seal.KEY not in data:
        _check_seal(file, data)
    try:
        doubts = [*_inconsistencies(data, report), *(_contradicted(file, data, report) if whole else ())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # values of the wrong type
        said = f"{file}: not a faultlab report: {type(error).__name__}: {error}"
        raise UsageError(f"{said}\n    {AGAIN}") from None
    if doubts:
        raise InconclusiveError(_refusal(file, doubts))
    return report


def _check_seal(file: Path, data: Mapping[str, Any]) -> None:
    if wrong := seal.broken(data):
        raise InconclusiveError(f"inconclusive: {file}: {wrong}\n    {AGAIN}")


def has_run_folder(file: Path) -> bool:
    """Return whether the plan and the outcomes lie beside the report."""
    return (file.parent / PLAN_FILE).is_file() and (file.parent / OUTCOMES_FILE).is_file()


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the outcomes of a run folder by fault, as plain data; the last line of a fault counts."""
    found: dict[str, dict[str, Any]] = {}
    for line in (folder / OUTCOMES_FILE).read_text(encoding="utf-8").split("\n"):
        if line:
            data = json.loads(line)
            found[data["id"]] = data
    return found


def _refusal(file: Path, doubts: list[str]) -> str:
    more = f" (and {len(doubts) - 3} more)" if len(doubts) > 3 else ""
    listed = "; ".join(doubts[:3]) + more
    return f"inconclusive: {file}: {listed}\n    The report was modified after it was written. {AGAIN}"


def _inconsistencies(data: Mapping[str, Any], report: Report) -> list[str]:
    """Return the conclusions of the report that don't follow from its faults."""
    doubts = [
        f"{fault.id} is detected, but has no detector"
        for fault in report.faults
        if fault.status is Status.DETECTED and not fault.detected_by
    ]
    times = Counter(fault.id for fault in report.faults)
    doubts += [f"duplicate fault {id} ({count} times)" for id, count in times.items() if count > 1]
    for exemption in report.exemptions:
        datetime.date.fromisoformat(exemption["expires"])
    if data.get("coverage") != json.loads(dump(report.coverage())):
        doubts.append("its coverage does not follow from its faults")
    if report.mutation is not None and report.mutation.score != mutation_scores.score(report.mutants):
        doubts.append("its mutation score does not follow from its mutants")
    doubts += [f"its gate lacks the reason {reason.text!r}" for reason in _unsaid(report)]
    if report.passed != (not report.reasons):
        doubts.append(f"its gate has passed: {str(report.passed).lower()} and {len(report.reasons)} reasons")
    return doubts


def _unsaid(report: Report) -> Iterator[Reason]:
    """Yield the reasons that follow from the report and are missing in it, compared by kind since texts may change."""
    left = Counter(reason.kind for reason in report.reasons)
    for reason in reasons_of(report):
        left[reason.kind] -= 1
        if left[reason.kind] < 0:
            yield reason


def reasons_of(report: Report) -> list[Reason]:
    """Return the reasons not to pass that follow from a report's faults and demands, regardless of the date."""
    mutants = [] if report.mutation is None else _mutants(report)
    return mutants if report.mutation is not None and not report.faults else [*check(report), *mutants]


def _mutants(report: Report) -> list[Reason]:
    demanded = report.demands.mutants if report.demands is not None else None
    return check_mutants(report, demanded)


def _contradicted(file: Path, data: Mapping[str, Any], report: Report) -> Iterator[str]:
    """Yield the contradictions between the report and the plan and outcomes beside it."""
    if not has_run_folder(file):
        return
    try:
        plan = json.loads((file.parent / PLAN_FILE).read_text(encoding="utf-8"))
        planned = {entry["id"]: entry["status"] for entry in plan["faults"]}
        judged = {id: _bare(line) for id, line in outcomes(file.parent).items()}
        noted = plan.get(REPORT)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"can't read {PLAN_FILE} or {OUTCOMES_FILE} beside it: {type(error).__name__}: {error}"
        return
    if noted is None:
        yield f"the run that wrote the {PLAN_FILE} beside it was not completed"
        return
    if noted != data[seal.KEY]:
        yield f"it is not the report that the {PLAN_FILE} beside it names"
    reported = {fault.id: _bare(json.loads(dump(fault.to_json()))) for fault in report.faults}
    interrupted = any(reason.kind is ReasonKind.INTERRUPTED for reason in report.reasons)
    for id, status in planned.items():
        if id not in reported:
            if not interrupted:
                yield f"{id} was planned, but has no verdict"
        elif status and reported[id]["status"] != status:
            yield f"{id} was planned as {status}, but is reported as {reported[id]['status']}"
        elif judged.get(id) != reported[id]:
            yield f"{id} is reported as {reported[id]['status']}, but is {_said(judged.get(id))} in {OUTCOMES_FILE}"
    for id in reported.keys() - planned.keys():
        yield f"{id} is reported, but was not planned"


def _said(line: Mapping[str, Any] | None) -> str:
    return "missing" if line is None else str(line["status"])


def _bare(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict and its evidence."""
    data = {name: value for name, value in line.items() if name not in BESIDE}
    FaultResult.from_json(data)
    return data
