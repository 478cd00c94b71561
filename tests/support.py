"""Made-up findings for the tests of what is computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign.campaign import Options
from faultlab.catalogue import mutation_scores
from faultlab.cli import main
from faultlab.core.detection import Detection
from faultlab.core.fault import Fault
from faultlab.core.orders import Planned
from faultlab.core.records import Records
from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.shard import Shard
from faultlab.core.source_mutation import Mutation
from faultlab.gate.demands import check


def result(id: str, status: Status | str, **more: Any) -> FaultResult:
    """The verdict on a fault, of its failure mode's family and of no special severity."""
    mode = id.partition("@")[0].partition(":")[0]
    fields = {"mode": mode, "family": mode.partition(".")[0], "severity": "major", **more}
    return FaultResult(id=id, status=Status(status), **fields)


def mutant(status: Status | str, line: int = 1, before: str = "1", after: str = "2", **more: Any) -> FaultResult:
    """The verdict on a mutant of `LitModel.forward`, whose lines are `x = 1`, by tests and training."""
    tests = {"outcome": "survived", "test": "", "kind": "", "message": "", "tests": 3, "seconds": 0.5}
    place = {"line": line, "column": 13, "end_line": line, "end_column": 13 + len(before)}
    lines = f"-        x = {before}\n+        x = {after}"
    said = {
        "file": "pkg/model.py",
        "function": "LitModel.forward",
        "operator": "number",
        **place,
        "before": before,
        "after": after,
        "diff": f"--- pkg/model.py\n+++ pkg/model.py\n@@ -{line} +{line} @@\n{lines}",
        "tests": {**tests, **more.pop("tests", {})},
        "training": {"status": "silent", "reason": ""},
        **{key: more.pop(key) for key in ("file", "function", "diff", "training", "operator") if key in more},
    }
    id = more.pop("id", f"pkg.model.x\u01c1LitModel\u01c1forward__mutmut_{line}_{after}")
    return FaultResult(id, "source.number", "source", "major", Status(status), mutant=said, **more)


def mutated(*mutants: FaultResult, **more: Any) -> Report:
    """A report of mutants and nothing else, counted as `faultlab mutate` does."""
    mutation = Mutation(
        mutmut="3.8.1",
        files=sorted({found.mutant["file"] for found in mutants if found.mutant}),
        judges=["tests", "training"],
        timing={"total": 2.5, "jobs": 2},
        **more,
    )
    mutation = mutation_scores.summed_up(mutation, mutants, {}, {})
    return Report("made-up", faultlab="0.1.0", mutants=list(mutants), mutation=mutation)


def detection(kind: str = "guard", name: str = "G", step: int = 0, names_cause: bool = False) -> Detection:
    return Detection(kind, name, step, 0, names_cause, "said so")


def report(*results: FaultResult, **more: Any) -> Report:
    return Report("made-up", faults=list(results), **more)


def run_folder(out: Path, found: Report, plan: str = "same", **options: Any) -> Path:
    """Writes a report, judged by its own demands, where a campaign would, with the plan and outcomes beside it."""
    found.reasons = [*found.reasons, *check(found)]
    found.passed = not found.reasons
    unrun = (Status.NOT_APPLICABLE, Status.IGNORED)
    planned = [
        Planned(Fault.parse(fault.id), status=fault.status.value if fault.status in unrun else "", reason=fault.reason)
        for fault in found.faults
    ]
    select, skip = (tuple(found.selection.get(name, ())) for name in ("select", "ignore"))
    asked = Options(select, skip, out=out, shard=Shard.parse(found.shard or "1/1"), **options)
    records = Records(asked.folder(found.scenario))
    records.begin(planned, plan, asked, resume=False)
    for fault in found.faults:
        records.add(fault)
    records.write_report(found)
    return records.folder


# The smallest target that a campaign can be made of.
SMALL = """schema: 1
name: small
build: {class_path: tests.zoo.models.classifier}
trainer: {max_epochs: 2}
"""


def small(folder: Path) -> Path:
    """A scenario file of the smallest target."""
    file = folder / "small.yaml"
    file.write_text(SMALL)
    return file


@dataclass(frozen=True)
class Called:
    """What a command came to that was called in this process."""

    status: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Called:
    """Calls the command line."""
    monkeypatch.setattr("sys.argv", ["faultlab", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    status = ended.value.code
    return Called(status if isinstance(status, int) else int(status is not None), told.out, told.err)


class Quiet:
    """Hears of a campaign and says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None
