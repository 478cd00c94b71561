"""A survey of the failure modes that apply to a target: clean runs and a plan, without a fault."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign.campaign import Listener
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.preparation import Preparation
from faultlab.config.scenario import Scenario, load
from faultlab.config.selection import Selection
from faultlab.core.records import Records
from faultlab.core.report import Status
from faultlab.errors import BaselineError, TargetError, UsageError

CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\Z")
# The shortest run that has a change of epoch and a validation.
_TRAINER = {"max_epochs": 2, "limit_train_batches": 4, "limit_val_batches": 2}
_REMEDY = "If the class needs arguments or data, write a scenario file that defines them, and name that file."


def survey(target: str, modes: Sequence[str], listener: Listener) -> Mapping[str, str]:
    """Return why each failure mode does not apply to a scenario file's target or to a bare class; empty if it does.

    Raise ScenarioError or BaselineError if a scenario can't run, UsageError if a class can't.
    """
    if Path(target).suffix in (".yaml", ".yml") or Path(target).is_file():
        return _survey_file(Path(target), modes, listener)
    if CLASS_PATH.match(target):
        return _survey_class(target, modes, listener)
    raise UsageError(f"{target!r} is neither a scenario file nor the path of a class, such as package.module.LitModel")


def _survey_file(file: Path, modes: Sequence[str], listener: Listener) -> dict[str, str]:
    scenario = load(file)
    try:
        return _carry_out(scenario, modes, listener)
    except TargetError as error:
        raise scenario.problem(error.where, error.message, error.remedy) from None
    except BaselineError as error:
        raise BaselineError(f"{file}:1:1: {error}") from None


def bare(path: str) -> Scenario:
    """Return a scenario that builds a class without arguments and trains it for a few steps."""
    said = {"schema": 1, "name": path.lstrip("_"), "module": {"class_path": path}, "trainer": _TRAINER}
    return from_working_directory(said)


def from_working_directory(said: Mapping[str, Any]) -> Scenario:
    """Return the scenario as if read from a file in the working directory, where class paths are looked up."""
    scenario = Scenario.model_validate(said)
    scenario._file = Path.cwd() / "scenario.yaml"
    return scenario


def _survey_class(path: str, modes: Sequence[str], listener: Listener) -> dict[str, str]:
    scenario = bare(path)
    try:
        return _carry_out(scenario, modes, listener)
    except TargetError as error:
        remedy = f"{error.remedy} {_REMEDY}".strip()
        raise UsageError(f"{path} can't be built on its own: {error.message}\n    {remedy}") from None
    except BaselineError as error:
        raise UsageError(f"{path} can't be trained on its own: {error}\n    {_REMEDY}") from None


def _carry_out(scenario: Scenario, modes: Sequence[str], listener: Listener) -> dict[str, str]:
    folder = Path(tempfile.mkdtemp(prefix="faultlab-"))
    kept = False
    working = engines.create(engines.default(), engines.cores())
    try:
        listener.started(scenario.name)
        working.open(scenario.name, scenario.for_victims())
        preparation = Preparation(scenario, working, Records(folder), 0, Watch(quiet=0, advised=False))
        selection = Selection(tuple(modes))
        planned = preparation.plan(selection, preparation.take(selection).profile)
        inapplicable = {entry.id: entry.reason for entry in planned if entry.status == Status.NOT_APPLICABLE.value}
        return {entry.fault.mode: inapplicable.get(entry.id, "") for entry in planned}
    except BaselineError:
        # The message names the log, which is in the folder.
        kept = True
        raise
    finally:
        working.close()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
