"""Errors in scenario files that can be found without running them or importing the user's code."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from faultlab.config import metric_names, target_check
from faultlab.config.scenario import Scenario, load_all, read_all
from faultlab.core import framework_names
from faultlab.errors import Problem, ScenarioError

SOON = 30
"""The number of days before an exemption's expiry at which warnings begin."""


@dataclass
class Checked:
    """The scenarios of all files, their ``problems``, and ``warnings`` of what will become a problem."""

    scenarios: list[Scenario]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def check(files: Sequence[Path], today: datetime.date | None = None) -> Checked:
    """Read the scenario files and check what they name; return their errors instead of raising them."""
    today = today or datetime.date.today()
    scenarios, problems = read_all(files)
    found = Checked(scenarios, problems)
    for scenario in scenarios:
        found.problems += [*_missing_tests(scenario), *target_check.check(scenario), *metric_names.check(scenario)]
        found.warnings += target_check.missing_accelerator(scenario)
        for number, exemption in enumerate(scenario.faults.ignore):
            left = (exemption.expires - today).days
            if left <= SOON:
                message, remedy = _expiry(exemption.mode, exemption.expires, left)
                (problem,) = scenario.problem(("faults", "ignore", number, "expires"), message, remedy).problems
                (found.problems if left < 0 else found.warnings).append(problem)
    order = {str(file): number for number, file in enumerate(files)}
    for problems in (found.problems, found.warnings):
        problems.sort(key=lambda problem: (order.get(problem.file, 0), problem.line, problem.column))
    return found


def load_checked(paths: tuple[Path, ...]) -> list[Scenario]:
    """Return every scenario at the paths, checked as by `faultlab check`.

    Raises:
        ScenarioError: A file is invalid, or names something that can't be found or used on this machine.
    """
    scenarios = load_all(paths)
    require_targets(scenarios)
    return scenarios


def require_targets(scenarios: Iterable[Scenario]) -> None:
    """Raise ScenarioError if a scenario names something that can't be found or used on this machine."""
    problems = [
        problem
        for scenario in scenarios
        for find in (target_check.check, target_check.missing_accelerator)
        for problem in find(scenario)
    ]
    if problems:
        raise ScenarioError(problems)


def require_trainer(scenario: Scenario, command: str) -> None:
    """Raise ScenarioError if a command that knows a Trainer's trainings only is given a loop."""
    if scenario.framework != framework_names.DEFAULT:
        message = f"`faultlab {command}` can't handle `framework: {scenario.framework}` yet"
        remedy = "Use `faultlab run`, `prescribe`, `mutate` and `replay` for this scenario."
        raise scenario.problem(("framework",), message, remedy)


def looks_like_a_scenario(file: Path) -> bool:
    """Return whether a YAML file has a scenario's keys: `schema`, or `name`, a target and another one of them."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8", errors="replace"), Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        # Several documents, or a template: many files with this suffix are not YAML.
        return any(line.startswith("schema:") for line in _lines(file))
    if not isinstance(node, yaml.MappingNode):
        return False
    keys = {str(key.value) for key, _ in node.value}
    return "schema" in keys or ("name" in keys and bool(keys & _TARGETS) and bool(keys & _OWN))


_TARGETS = {"module", "build", "train", "script"}
_OWN = {"guards", "faults", "gate", "monitor", "trainer"}


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


def _missing_tests(scenario: Scenario) -> list[Problem]:
    try:
        _ = scenario.test_files
    except ScenarioError as error:
        return error.problems
    return []


def _expiry(mode: str, expires: datetime.date, left: int) -> tuple[str, str]:
    if left < 0:
        return (
            f"the exemption of {mode} expired on {expires}",
            "Remove it, or give a reason and a later date.",
        )
    days = "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days"
    return f"the exemption of {mode} expires {days}", "Fix the cause by then, or renew the exemption."
