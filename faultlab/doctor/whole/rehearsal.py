"""A script of a Trainer, run from its first line to its last, for what comes after and beside its first training.

The driver's side.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faultlab.campaign.applicability_survey import from_working_directory
from faultlab.campaign.clean_runs import order
from faultlab.config.scenario import Scenario
from faultlab.core.orders import Examine, Train
from faultlab.core.results import ExaminedRun
from faultlab.discovery.loops import SCRIPT
from faultlab.doctor.finding import Seen
from faultlab.doctor.statements import called
from faultlab.engines import Engine
from faultlab.errors import TargetError

_BY = "faultlab.doctor.loops.observing:examine"
_AFTER = {"test", "validate", "predict", "load_from_checkpoint", "load_state_dict", "no_grad", "inference_mode"}


def whole(scenario: Scenario, engine: Engine, timeout: float, seed: int) -> Seen:
    """Run the script of a scenario to its end; return what was seen, empty if it has none or does nothing else.

    The engine has another scenario open afterwards.
    """
    asked: dict[str, Any] = dict((scenario.build.init_args if scenario.build else None) or {})
    script = Path(str(asked.get("script", "")))
    if not script.is_file() or not _goes_on(script):
        return {}
    train = {"script": str(script), "arguments": list(asked.get("arguments") or ())}
    entry = {"class_path": SCRIPT, "init_args": train}
    loop = from_working_directory({"schema": 1, "name": "whole-script", "framework": "torch", "train": entry})
    try:
        engine.open(loop.name, {**loop.for_victims(), "observed": False})
    except TargetError:  # its own run has shown what can be
        return {}
    (outcome,) = engine.run([order(engine, "whole", Examine(_BY, Train(seed), 0), deadline=timeout, ranks=1)])
    return outcome.result.seen if isinstance(outcome.result, ExaminedRun) else {}


def _goes_on(script: Path) -> bool:
    """Return whether a script does more than one training."""
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError):
        return False
    fits = [node for node in _calls(tree) if called(node) == "fit" and len(node.args) + len(node.keywords) < 9]
    return len(fits) > 1 or any(called(node) in _AFTER for node in _calls(tree))


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
