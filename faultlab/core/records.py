"""The files that a campaign writes while it runs: the plan, one line for each verdict, and the victims' logs.

Only the driver writes, and every line is on disk before the next run is judged: a campaign that is killed loses none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.core import atomic_write, seal
from faultlab.core.journal import Journal
from faultlab.core.orders import Planned
from faultlab.core.report import INCONCLUSIVE, SCHEMA, FaultResult, Report
from faultlab.core.results import Outcome
from faultlab.core.run_folder import (
    ADVICE_FILE,
    CONCLUSIONS,
    CURVES_FILE,
    EARLIER,
    KNOWN_FILE,
    LOGS,
    OUTCOMES_FILE,
    PLAN_FILE,
    PREVIOUS_FILE,
    REPORT_FILE,
    file_name,
)
from faultlab.core.shard import Shard
from faultlab.core.strict_json import dump, dump_to, plain
from faultlab.errors import UsageError

REPORT = "report"
"""The plan's key for the digest of the campaign's report."""
ADVISED, CURVE = "advised", "curve"
BESIDE = (ADVISED, CURVE, seal.KEY)
"""The keys of an outcome's line beside the verdict, among them a digest, since `--resume` reuses the lines."""


class Records:
    """The run folder of one scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = Journal(folder / OUTCOMES_FILE)
        self._kept: set[str] = set()
        self._plan: dict[str, Any] = {}
        try:
            (folder / LOGS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; pass --out a writable folder") from None

    def clear(self, resume: bool, formats: Iterable[str], keep: bool = False) -> None:
        """Set the conclusions of an earlier campaign aside, which must not remain if this one fails.

        Its report is kept for comparison, unless that campaign is resumed. ``formats`` are the file names of the other
        report formats. With ``keep`` all of it also stays where it is, until the new report replaces it: the new plan
        does not name the old report, so the gate does not accept it. `restore` puts all of it back, `forget` removes
        what was set aside.
        """
        aside = self.folder / EARLIER
        self.forget()
        aside.mkdir()
        for file in [self.folder / name for name in (*CONCLUSIONS, *formats, PREVIOUS_FILE)]:
            if file.is_file():
                (shutil.copyfile if keep else os.replace)(file, aside / file.name)
        kept = aside / (PREVIOUS_FILE if resume or not (aside / REPORT_FILE).is_file() else REPORT_FILE)
        if kept.is_file():
            shutil.copyfile(kept, self.folder / PREVIOUS_FILE)
        for log in [] if resume else (self.folder / LOGS).glob("*.log"):
            log.unlink()

    def restore(self) -> None:
        """Put the earlier campaign's conclusions back: this one was asked for by mistake, and nothing ran."""
        (self.folder / PREVIOUS_FILE).unlink(missing_ok=True)
        for file in (self.folder / EARLIER).glob("*"):
            os.replace(file, self.folder / file.name)
        self.forget()

    def forget(self) -> None:
        """Remove what was set aside of the earlier campaign."""
        shutil.rmtree(self.folder / EARLIER, ignore_errors=True)

    def begin(self, planned: Sequence[Planned], digest: str, options: Any, resume: bool) -> Mapping[str, FaultResult]:
        """Write the plan; return the verdicts left by an interrupted campaign of the same plan, if resumed.

        ``planned`` is the part that this campaign executes, ``digest`` the digest of the whole plan.
        """
        self._plan = {"schema": SCHEMA, "digest": digest, "seed": options.seed}
        if options.shard != Shard():
            self._plan["shard"] = str(options.shard)
        known = self._left_over() if resume else {}
        # Before the plan: a kill in between must not leave a new plan with old verdicts.
        self._journal.begin(known)
        self._write_plan(planned)
        self._kept = set(known)
        return known

    def extend(self, planned: Sequence[Planned], more: Sequence[Planned]) -> list[Planned]:
        """Add faults to the plan that were found on the way; return the whole plan."""
        self._write_plan(whole := [*planned, *more])
        return whole

    def _write_plan(self, planned: Sequence[Planned]) -> None:
        atomic_write.write(
            self.folder / PLAN_FILE, dump({**self._plan, "faults": [entry.to_json() for entry in planned]}, indent=1)
        )

    def add(self, result: FaultResult, advised: Any = (), curve: Any = None) -> None:
        """Write a verdict to disk, with what the ready-made guards detected and the curve of the training."""
        if result.id not in self._kept:
            self._write(result, {ADVISED: advised, CURVE: curve})

    def revise(self, result: FaultResult) -> None:
        """Write a verdict to disk that replaces an earlier one of the same fault."""
        line = self._journal.line(result.id)
        self._write(result, {name: line.get(name) for name in (ADVISED, CURVE)})

    def _write(self, result: FaultResult, beside: Mapping[str, Any]) -> None:
        line = {**result.to_json(), **{name: plain(part) for name, part in beside.items() if part}}
        self._journal.add(result.id, dump({**line, seal.KEY: seal.digest_of(line)}))

    def advised(self, fault: str) -> Sequence[Mapping[str, Any]]:
        """Return what the ready-made guards detected of a fault that has its verdict."""
        found: Sequence[Mapping[str, Any]] = self._journal.line(fault).get(ADVISED) or ()
        return found

    def curves(self) -> Iterator[tuple[str, Any]]:
        """Yield the curves of the trainings that have one, sorted by fault."""
        for fault in sorted(self._journal.faults):
            if course := self._journal.line(fault).get(CURVE):
                yield fault, course

    def log(self, outcome: Outcome) -> None:
        """Write what a victim printed to its log, unless it printed nothing."""
        if outcome.output:
            Path(self.log_file(outcome.id)).write_text(outcome.output, encoding="utf-8", errors="replace")

    def log_file(self, id: str) -> str:
        return str(self.folder / LOGS / f"{file_name(id)}.log")

    def write_known(self, runs: Sequence[Any]) -> str:
        """Write the records of the known good runs; return the file's absolute path, for victims to read."""
        file = (self.folder / KNOWN_FILE).resolve()
        atomic_write.write(file, dump(runs))
        return str(file)

    def write_advice(self, advice: Mapping[str, Any]) -> None:
        """Write guards.json."""
        self._write_json(ADVICE_FILE, plain(advice))

    def write_curves(self, pieces: Iterable[str]) -> None:
        """Write curves.json."""
        with atomic_write.writing(self.folder / CURVES_FILE) as lines:
            lines.writelines(pieces)

    def write_report(self, report: Report) -> None:
        """Write report.json, record its digest in the plan if there is one, and close the journal."""
        self._journal.close()
        data = report.to_json()
        with contextlib.suppress(OSError, ValueError, TypeError):
            plan = json.loads((self.folder / PLAN_FILE).read_text(encoding="utf-8"))
            self._write_json(PLAN_FILE, {**plan, REPORT: data[seal.KEY]})
        self._write_json(REPORT_FILE, data)

    def _write_json(self, name: str, data: Any) -> None:
        with atomic_write.writing(self.folder / name) as lines:
            dump_to(lines, data, indent=1)

    def _left_over(self) -> dict[str, FaultResult]:
        try:
            plan = json.loads((self.folder / PLAN_FILE).read_text(encoding="utf-8"))
            if (plan["digest"], plan.get("shard")) != (self._plan["digest"], self._plan.get("shard")):
                return {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        found: dict[str, FaultResult] = {}
        for place, line in self._journal.left_over():
            try:
                data = dict(json.loads(line))
                if seal.broken(data):
                    continue
                result = FaultResult.from_json({name: part for name, part in data.items() if name not in BESIDE})
            except (ValueError, KeyError, TypeError):
                continue
            # An inconclusive fault deserves another try: the cause may have been the machine's load.
            if result.status not in INCONCLUSIVE:
                found[result.id] = result
                self._journal.faults[result.id] = place
        return found
