"""What a campaign leaves on disk while it runs: the plan first, then a line for each verdict, and the victims' logs.

Only the driver writes, and every line is on disk before the next run is judged: a campaign that is killed loses none.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from faultlab import seal, wholefile
from faultlab.engines.protocol import Outcome
from faultlab.errors import UsageError
from faultlab.harness.plan import Planned
from faultlab.results import INCONCLUSIVE, SCHEMA, FaultResult, Report, dump
from faultlab.runfolder import (
    ADVICE_FILE,
    CONCLUSIONS,
    CURVES_FILE,
    KNOWN_FILE,
    LOGS,
    OUTCOMES_FILE,
    PLAN_FILE,
    PREVIOUS_FILE,
    REPORT_FILE,
    file_name,
)
from faultlab.shard import Shard

REPORT = "report"
"""The plan's key for the digest of the report that the campaign came to."""
BESIDE = ("advised", "curve", seal.KEY)
"""What stands in the lines of the outcomes beside the verdicts: also a digest, since `--resume` takes them over."""


class Records:
    """The run folder of one scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: IO[str] | None = None
        self._kept: set[str] = set()
        self._plan: dict[str, Any] = {}
        # What stands on a verdict's line beside it, by fault: what guards noticed, and the course of its training.
        self.advised: dict[str, Any] = {}
        self.curves: dict[str, Any] = {}
        try:
            (folder / LOGS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; name a folder that can be written to by --out") from None

    def clear(self, resume: bool) -> None:
        """Takes away what a campaign before this one concluded: it must not stand if this one fails.

        Its report is put aside, to be compared with, but for that of a campaign that is resumed.
        """
        report = self.folder / REPORT_FILE
        if report.exists() and not resume:
            os.replace(report, self.folder / PREVIOUS_FILE)
        for file in [self.folder / name for name in CONCLUSIONS]:
            file.unlink(missing_ok=True)
        for log in [] if resume else (self.folder / LOGS).glob("*.log"):
            log.unlink()

    def begin(self, planned: Sequence[Planned], digest: str, options: Any, resume: bool) -> Mapping[str, FaultResult]:
        """Writes the plan. Returns the verdicts that an interrupted campaign of the same plan left, where resumed.

        ``planned`` is what is done here, ``digest`` that of the whole plan, of which it may be a share.
        """
        self._plan = {"schema": SCHEMA, "digest": digest, "seed": options.seed}
        if options.shard != Shard():
            self._plan["shard"] = str(options.shard)
        known = self._left_over() if resume else {}
        # Rewritten and not appended to: a line that was cut short by a kill would swallow the next one. And before the
        # plan: a kill in between must not leave a new plan with the verdicts of an old one.
        lines = "".join(self._line(result) for result in known.values())
        wholefile.write(self.folder / OUTCOMES_FILE, lines)
        self._write_plan(planned)
        self._kept = set(known)
        self._lines = (self.folder / OUTCOMES_FILE).open("a", encoding="utf-8")
        return known

    def extend(self, planned: Sequence[Planned], more: Sequence[Planned]) -> list[Planned]:
        """Adds to the plan what came up on the way, and returns the whole of it."""
        self._write_plan(whole := [*planned, *more])
        return whole

    def _write_plan(self, planned: Sequence[Planned]) -> None:
        wholefile.write(
            self.folder / PLAN_FILE, dump({**self._plan, "faults": [asdict(entry) for entry in planned]}, indent=1)
        )

    def add(self, result: FaultResult, advised: Any = (), curve: Any = None) -> None:
        """Puts a verdict on disk, with what the ready-made guards noticed and how the training went."""
        if advised:
            self.advised[result.id] = advised
        if curve:
            self.curves[result.id] = curve
        if result.id not in self._kept:
            self.revise(result)

    def revise(self, result: FaultResult) -> None:
        """Puts a verdict on disk, after an earlier one of the same fault, which it replaces."""
        assert self._lines is not None
        self._lines.write(self._line(result))
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def log(self, outcome: Outcome) -> None:
        """Keeps what a victim printed, where it printed anything."""
        if outcome.output:
            Path(self.log_file(outcome.id)).write_text(outcome.output, encoding="utf-8", errors="replace")

    def log_file(self, id: str) -> str:
        return str(self.folder / LOGS / f"{file_name(id)}.log")

    def write_known(self, runs: Sequence[Any]) -> str:
        """Writes what was recorded of the known good runs; returns the file's absolute path, for victims to read."""
        file = (self.folder / KNOWN_FILE).resolve()
        wholefile.write(file, dump(runs))
        return str(file)

    def write_advice(self, advice: Mapping[str, Any]) -> None:
        """Writes guards.json."""
        wholefile.write(self.folder / ADVICE_FILE, dump(advice, indent=1))

    def write_curves(self, curves: Mapping[str, Any]) -> None:
        """Writes curves.json."""
        wholefile.write(self.folder / CURVES_FILE, dump(curves))

    def write_report(self, report: Report) -> None:
        """Writes report.json, notes its digest in the plan if there is one, and closes the list of outcomes."""
        if self._lines is not None:
            self._lines.close()
        data = report.to_json()
        with contextlib.suppress(OSError, ValueError, TypeError):
            plan = json.loads((self.folder / PLAN_FILE).read_text(encoding="utf-8"))
            wholefile.write(self.folder / PLAN_FILE, dump({**plan, REPORT: data[seal.KEY]}, indent=1))
        wholefile.write(self.folder / REPORT_FILE, dump(data, indent=1))

    def _line(self, result: FaultResult) -> str:
        beside = {"advised": self.advised.get(result.id), "curve": self.curves.get(result.id)}
        line = {**result.to_json(), **{name: part for name, part in beside.items() if part}}
        return dump({**line, seal.KEY: seal.digest_of(json.loads(dump(line)))}) + "\n"

    def _left_over(self) -> dict[str, FaultResult]:
        try:
            plan = json.loads((self.folder / PLAN_FILE).read_text(encoding="utf-8"))
            if (plan["digest"], plan.get("shard")) != (self._plan["digest"], self._plan.get("shard")):
                return {}
            text = (self.folder / OUTCOMES_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        found: dict[str, FaultResult] = {}
        for line in text.split("\n"):  # and not at every other character that may separate lines
            try:
                data = dict(json.loads(line))
                if seal.broken(data):
                    continue
                del data[seal.KEY]
                advised, curve = data.pop("advised", None), data.pop("curve", None)
                result = FaultResult.from_json(data)
            except (ValueError, KeyError, TypeError):
                continue
            # What was inconclusive, for the machine's load perhaps, deserves another try.
            if result.status not in INCONCLUSIVE:
                found[result.id] = result
                if advised:
                    self.advised[result.id] = advised
                if curve:
                    self.curves[result.id] = curve
        return found
