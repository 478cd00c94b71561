"""Made-up findings for the tests of what is computed from them."""

from __future__ import annotations

from typing import Any

from faultlab.results import Detection, FaultResult, Report, Status


def result(id: str, status: Status | str, **more: Any) -> FaultResult:
    """The verdict on a fault, of its failure mode's family and of no special severity."""
    mode = id.partition("@")[0].partition(":")[0]
    fields = {"mode": mode, "family": mode.partition(".")[0], "severity": "major", **more}
    return FaultResult(id=id, status=Status(status), **fields)


def detection(kind: str = "guard", name: str = "G", step: int = 0, names_cause: bool = False) -> Detection:
    return Detection(kind, name, step, 0, names_cause, "said so")


def report(*results: FaultResult, **more: Any) -> Report:
    return Report("made-up", faults=list(results), **more)
