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
from faultlab.config.loop_parts import SCRIPT
from faultlab.config.scenario import Scenario
from faultlab.core.orders import Examine, Train
from faultlab.core.results import ExaminedRun
from faultlab.doctor.experiments.course import Course
from faultlab.doctor.finding import Seen
from faultlab.doctor.statements import called
from faultlab.engines import Engine
from faultlab.errors import TargetError

_BY = "faultlab.doctor.loops.observing:examine"
# A training that is run only to be looked at must not be reported to a server.
_SENDS = ("MLFlowLogger", "CometLogger", "NeptuneLogger", "set_tracking_uri", "push_to_hub")
_FURTHER = 0.8
_AFTER = {"test", "validate", "predict", "load_from_checkpoint", "load_state_dict", "no_grad", "inference_mode"}


def whole(scenario: Scenario, engine: Engine, timeout: float, seed: int) -> Seen:
    """Run the script of a scenario to its end; return what was seen, empty if it has none that may be run again.

    The engine has another scenario open afterwards.
    """
    asked = _asked(scenario)
    script = str(asked.get("script", ""))
    if not Path(script).is_file() or any(word in Path(script).read_text(errors="replace") for word in _SENDS):
        return {}
    train = {"script": script, "arguments": list(asked.get("arguments") or ())}
    entry = {"class_path": SCRIPT, "init_args": train}
    loop = from_working_directory({"schema": 1, "name": "whole-script", "framework": "torch", "train": entry})
    try:
        engine.open(loop.name, {**loop.for_victims(), "observed": False})
    except TargetError:  # its own run has shown what can be
        return {}
    # It ends itself after half of its deadline.
    (outcome,) = engine.run([order(engine, "whole", Examine(_BY, Train(seed), 0), deadline=2 * timeout, ranks=1)])
    return outcome.result.seen if isinstance(outcome.result, ExaminedRun) else {}


def goes_on(scenario: Scenario) -> bool:
    """Return whether a scenario's script does more than one training."""
    try:
        tree = ast.parse(Path(str(_asked(scenario).get("script", ""))).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    fits = [node for node in _calls(tree) if called(node) == "fit"]
    return len(fits) > 1 or any(called(node) in _AFTER for node in _calls(tree))


def learns_later(seen: Seen, rehearsed: Seen) -> bool:
    """Return whether a training continues to learn after the steps at which the doctor ended it."""
    later = Course(rehearsed.get("losses", ()))
    return bool(seen.get("cut")) and later.end < _FURTHER * Course(seen["losses"]).end


def _asked(scenario: Scenario) -> dict[str, Any]:
    return dict((scenario.build.init_args if scenario.build else None) or {})


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
