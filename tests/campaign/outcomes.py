"""Made-up outcomes of one failure mode, and verdicts on them."""

from __future__ import annotations

import json
from typing import Any

from faultlab.campaign.verdict import Twin, judge
from faultlab.catalogue.failure_mode import FailureMode, declare
from faultlab.catalogue.injection_points import Loss
from faultlab.core.alert import Alert
from faultlab.core.report import FaultResult
from faultlab.core.results import Outcome, RunResult
from faultlab.core.trajectory import Trajectory

FAULT = "loss.made-up@step=2"
LOSSES = [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]


def declared(**more: Any) -> FailureMode:
    known: dict[str, Any] = {"point": Loss(), "severity": "critical", "effect": "silent", "cause": ("loss", "nan")}
    return declare(id="loss.made-up", docstring="Made up.", no_evidence="made up", **{**known, **more})


def trajectory(**changed: Any) -> Trajectory:
    fields: dict[str, Any] = {"steps": 4, "losses": list(LOSSES), "digest": "abc", "final": {"val_loss": 1.0}}
    return Trajectory(**{**fields, **changed})


def outcome_of(run: Trajectory | None = None, **changed: Any) -> Outcome:
    """An outcome as it arrives from a victim: through JSON."""
    result = RunResult(run or trajectory(digest="other"), **{"activations": 2, "first_step": 2, **changed})
    outcome = Outcome(FAULT, [result], acting=2, seconds=0.123456)
    return Outcome.from_json(json.loads(json.dumps(outcome.to_json())))


def judged(outcome: Outcome, twin: Twin | None = None, mode: FailureMode | None = None) -> FaultResult:
    return judge(FAULT, mode or declared(), outcome, twin or Twin(trajectory(), metric="val_loss"))


def alert(
    kind: str = "guard", name: str = "Spike", step: int = 3, message: str = "oh", how: str = "raised", **more: Any
) -> Alert:
    return Alert(kind, name, step, message, how, **more)
