"""Merging of the shards of a campaign into the run folder that the whole campaign would have written.

Everything is read and checked before anything is written. `merge_artifacts` merges the files beside the report.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from faultlab.catalogue import index, mutation_scores
from faultlab.config.scenario import NAME
from faultlab.core import atomic_write
from faultlab.core.records import Records
from faultlab.core.report import Baseline, FaultResult, Report, dump
from faultlab.core.run_folder import LOGS, OUTCOMES_FILE, PLAN_FILE, folder_of
from faultlab.core.shard import Shard
from faultlab.core.source_mutation import Mutation
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate import evidence, merge_artifacts
from faultlab.gate.demands import check, check_exemptions, check_mutants

_SAME = ("faultlab", "selection", "versions", "demands", "exemptions", "target")


@dataclass(frozen=True)
class Share:
    """One shard of a campaign: its run folder, its report and its plan."""

    folder: Path
    report: Report
    plan: dict[str, Any]

    @property
    def shard(self) -> Shard:
        return Shard.parse(self.report.shard)


def shares(paths: Iterable[Path]) -> dict[str, list[Share]]:
    """Return the shards at the paths by scenario, in their order, each exactly once.

    Raises UsageError if they are of different campaigns or one is a duplicate, and InconclusiveError if one is missing
    or was modified.
    """
    given = list(paths)
    for folder, why in evidence.unfinished_below(given).items():
        raise InconclusiveError(f"{folder}: {why}")
    found: dict[str, list[Share]] = {}
    for file in evidence.find(given):
        share = _read(file)
        found.setdefault(share.report.scenario, []).append(share)
    return {name: _complete(name, group) for name, group in sorted(found.items())}


def joined(group: Sequence[Share]) -> Report:
    """Return the report of the whole campaign; its seconds are the sum over all shards."""
    reports = [share.report for share in group]
    first = reports[0]
    whole = replace(
        first,
        shard="",
        baseline=_baseline(reports),
        faults=sorted((fault for report in reports for fault in report.faults), key=lambda fault: fault.id),
        mutants=_interleaved([report.mutants for report in reports]),
        timing=merge_artifacts.timing([report.timing for report in reports]),
    )
    whole.mutation = _mutation(reports, whole)
    # Reasons that a shard can't know are derived from the whole; those that only the run could observe, such as a
    # canary, are kept.
    seen = [reason for report in reports for reason in report.reasons if reason.kind.witnessed]
    found = [*seen, *check(whole), *check_exemptions(whole)]
    found += check_mutants(whole, whole.demands.mutants if whole.demands is not None else None)
    whole.reasons = list(dict.fromkeys(found))
    whole.passed = not whole.reasons
    return whole


def write(group: Sequence[Share], report: Report, out: Path, formats: Iterable[str]) -> Path:
    """Write the run folder below ``out``, remove old files of ``formats`` from it, and return it.

    Raises UsageError if the folder is one of the shards'.
    """
    folder = folder_of(out, report.scenario, bool(report.selection))
    if any(share.folder.resolve() == folder.resolve() for share in group):
        raise UsageError(f"{folder} is one of the shards and would be overwritten\n    Name another folder with --out.")
    entries = sorted(
        (entry for share in group for entry in share.plan["faults"]),
        key=lambda entry: (entry["id"].partition("@")[0].partition(":")[0], entry["id"]),
    )
    lines = {id: line for share in group for id, line in evidence.outcomes(share.folder).items()}
    others = merge_artifacts.joined([share.folder for share in group])
    records = Records(folder)
    records.clear(resume=False, formats=formats)
    plan = {name: value for name, value in group[0].plan.items() if name not in ("shard", "report", "faults")}
    atomic_write.write(folder / PLAN_FILE, dump({**plan, "faults": entries}, indent=1))
    text = "".join(dump(line) + "\n" for _, line in sorted(lines.items()))
    atomic_write.write(folder / OUTCOMES_FILE, text)
    for name, data in others.items():
        atomic_write.write(folder / name, dump(data, indent=1))
    for share in reversed(group):
        for log in sorted((share.folder / LOGS).glob("*.log")):
            shutil.copyfile(log, folder / LOGS / log.name)
    records.write_report(report)
    return folder


def _read(file: Path) -> Share:
    report = evidence.read(file, whole=True)
    if not NAME.fullmatch(report.scenario):
        raise UsageError(f"{file}: invalid scenario name {report.scenario!r}\n    Run that shard again.")
    if not report.shard:
        raise UsageError(f"{file}: not a shard\n    Run shards with `faultlab run --shard K/N`.")
    if not evidence.has_run_folder(file):
        remedy = "Copy the whole run folder, not only the report."
        raise UsageError(f"{file}: {PLAN_FILE} and {OUTCOMES_FILE} are missing beside it\n    {remedy}")
    return Share(file.parent, report, json.loads((file.parent / PLAN_FILE).read_text(encoding="utf-8")))


def _complete(name: str, group: list[Share]) -> list[Share]:
    first = group[0]
    for other in group[1:]:
        if other.shard.of != first.shard.of:
            _differ(first, other, f"one is of {first.shard.of} shards, the other of {other.shard.of}")
        for key in ("digest", "seed"):
            if other.plan.get(key) != first.plan.get(key):
                what = "seeds" if key == "seed" else "plans: scenario, code, seed or versions differ"
                _differ(first, other, f"they have different {what}")
        for key in _SAME:
            if getattr(other.report, key) != getattr(first.report, key):
                _differ(first, other, f"they differ in {key}")
        if (other.report.mutation is None) != (first.report.mutation is None):
            _differ(first, other, "only one has source mutants")
    times = Counter(share.shard.number for share in group)
    if twice := [number for number, count in times.items() if count > 1]:
        where = ", ".join(str(share.folder) for share in group if share.shard.number == twice[0])
        raise UsageError(f"{name}: duplicate shard {twice[0]}/{first.shard.of}: {where}\n    Omit one of them.")
    if absent := sorted({*range(1, first.shard.of + 1)} - times.keys()):
        listed = ", ".join(f"{number}/{first.shard.of}" for number in absent)
        remedy = f"Add its folder, or run it: `faultlab run --shard {absent[0]}/{first.shard.of}`."
        raise InconclusiveError(f"inconclusive: {name}: missing shard {listed}\n    {remedy}")
    return sorted(group, key=lambda share: share.shard.number)


def _differ(one: Share, other: Share, why: str) -> None:
    remedy = "Run all shards of the same commit, with the same command, in the same environment."
    raise UsageError(f"{one.folder} and {other.folder} are not shards of one run: {why}\n    {remedy}")


def _baseline(reports: Sequence[Report]) -> Baseline:
    alarms = [alarm for report in reports for alarm in report.baseline.false_alarms]
    distinct = {(alarm.kind, alarm.name, alarm.message): alarm for alarm in reversed(alarms)}
    return replace(
        reports[0].baseline,
        deterministic=all(report.baseline.deterministic for report in reports),
        false_alarms=list(reversed(distinct.values())),
        findings=list({found["kind"]: found for report in reports for found in report.baseline.findings}.values()),
    )


def _interleaved(lists: Sequence[list[FaultResult]]) -> list[FaultResult]:
    """Return the results in the order of the whole plan, since each shard took every n-th of them."""
    return [result for row in zip_longest(*lists) for result in row if result is not None]


def _mutation(reports: Sequence[Report], whole: Report) -> Mutation | None:
    parts = [report.mutation for report in reports if report.mutation is not None]
    if not parts:
        return None
    joined = replace(
        parts[0],
        files=list(dict.fromkeys(file for part in parts for file in part.files)),
        unmutated={function: why for part in parts for function, why in part.unmutated.items()},
        unreached=list(dict.fromkeys(function for part in parts for function in part.unreached)),
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        kept=sum(part.kept for part in parts),
        shard="",
        timing=merge_artifacts.timing([part.timing for part in parts]),
    )
    return mutation_scores.summed_up(joined, whole.mutants, whole.by_mode(), index.modes())
