"""The scenario that `faultlab.run` makes up for the objects it is given, whose errors name its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from faultlab.config.guard_entry import Guard
from faultlab.config.scenario import NAME, Component, Monitor, Scenario
from faultlab.config.yaml_source import Key
from faultlab.errors import Problem, ScenarioError, UsageError

BUILD = "faultlab.targets.live.build"


class ArgumentProblem(Problem):
    """One thing wrong with an argument of `faultlab.run`, for which the traceback shows the line."""

    def __str__(self) -> str:
        text = f"{self.file}: {self.message}"
        return f"{text}\n    {self.remedy}" if self.remedy else text


class GivenScenario(Scenario):
    """A scenario without a file. ``script`` is the main script where that defines the module, else empty."""

    _script: str = ""

    @property
    def script(self) -> str:
        return self._script

    def problem(self, where: Key, message: str, remedy: str = "") -> ScenarioError:
        """Return an error that names the argument instead of a line."""
        argument = {"build": "module"}.get(str(where[0]), str(where[0])) if where else ""
        return ScenarioError([ArgumentProblem(f"faultlab.run({argument})", 1, 1, message, remedy)])


def given(
    name: str, monitor: str | tuple[str, str] | None, flags: Sequence[Mapping[str, Any]], file: Path, script: str = ""
) -> GivenScenario:
    """Return a scenario that trains the objects that `faultlab.targets.live` holds.

    Args:
        name: Its name, and its folder's.
        monitor: The metric that harm is measured by, or the metric and ``min`` or ``max``.
        flags: Trainer flags that count as guards.
        file: A file in the project; its folders are where the user's code is.
        script: The main script, where that defines the module.

    Raises:
        UsageError: The name or the monitor is invalid.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"faultlab.run(name): invalid name {name!r}: expected letters, digits, '.', '_' and '-', "
            "with a letter or digit first"
        )
    scenario = GivenScenario(
        schema=1,
        name=name,
        build=Component(class_path=BUILD),
        guards=[Guard(trainer_flag=dict(flag)) for flag in flags],
        monitor=None if monitor is None else _monitor(monitor),
    )
    scenario._file, scenario._script = file, script
    return scenario


def name_of(word: str) -> str:
    """Return a valid scenario name that is as close to the word as possible."""
    return re.sub("[^A-Za-z0-9._-]", "", word).lstrip("._-") or "module"


def _monitor(asked: str | tuple[str, str]) -> Monitor:
    pair = (asked, "min") if isinstance(asked, str) else tuple(asked)
    if len(pair) != 2 or pair[1] not in ("min", "max") or not isinstance(pair[0], str):
        raise UsageError(
            f"faultlab.run(monitor): invalid monitor {asked!r}: expected a metric, or a metric and 'min' or 'max', "
            "such as ('val_acc', 'max')"
        )
    mode: Literal["min", "max"] = "max" if pair[1] == "max" else "min"
    return Monitor(metric=pair[0], mode=mode)
