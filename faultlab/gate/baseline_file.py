"""The accepted baseline: the detectors of each failure mode, and the undetected ones that are accepted until a date.

Reviewers read changes of the file, so it is sorted, has one line per failure mode, and doesn't change between runs.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faultlab.config.scenario import Gate
from faultlab.config.scenario_fields import Reason
from faultlab.config.validation_messages import explain
from faultlab.config.yaml_source import YamlFile
from faultlab.core.report import SCHEMA
from faultlab.errors import InconclusiveError, Problem, ScenarioError, UsageError

DEFAULT_NAME = "faultlab-baseline.json"

# JSON has no dates.
Date = Annotated[datetime.date, Field(strict=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Silence(_Part):
    """A failure mode that may be silent, or only warned of, with the reason and the last day of it."""

    status: Literal["silent", "warned"]
    reason: Reason
    expires: Date


class Standard(_Part):
    """One scenario's baseline: its gate's demands, its accepted silences, and the detectors of each failure mode.

    ``no_effect`` are failure modes that are injected and change nothing. Detectors are written ``guard:Name``,
    ``test:file.py::test``, ``module``, ``framework`` or ``process``. ``run`` is false for a report that `faultlab run`
    does not write, such as pytest's.
    """

    demands: Gate = Gate()
    accepted: dict[str, Silence] = {}
    detected: dict[str, list[str]] = {}
    no_effect: list[str] = []
    run: bool = True

    @property
    def modes(self) -> set[str]:
        """Every failure mode that is injected."""
        return {*self.accepted, *self.detected, *self.no_effect}


class Accepted(_Part):
    """The content of the file, by scenario."""

    schema_: Literal[1] = Field(alias="schema")
    scenarios: dict[str, Standard] = {}


def default_file() -> Path:
    """Return the place of the baseline beside the scenarios, since it is committed and reports are not."""
    return Path("scenarios", DEFAULT_NAME) if Path("scenarios").is_dir() else Path(DEFAULT_NAME)


def read(file: Path) -> Accepted:
    """Return the content of the file.

    Raises UsageError if it is missing, ScenarioError with all its errors, and InconclusiveError if it is empty.
    """
    if not file.is_file():
        remedy = f"Write it with `faultlab gate --baseline {file} --accept --reason TEXT --expires DATE`."
        raise UsageError(f"{file}: no such file\n    {remedy}")
    _check_json(file)
    yaml = YamlFile(file, "a baseline file")
    problems = list(yaml.problems)
    try:
        accepted = Accepted.model_validate(yaml.data)
    except ValidationError as error:
        problems += [explain(yaml, detail, Accepted) for detail in error.errors()]
    if problems:
        raise ScenarioError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    if not any(standard.modes for standard in accepted.scenarios.values()):
        remedy = f"Write it again with `faultlab gate --baseline {file} --accept --reason TEXT --expires DATE`."
        raise InconclusiveError(f"inconclusive: {file}: the baseline is empty\n    {remedy}")
    return accepted


def written(accepted: Accepted) -> str:
    """Return the text of the file."""
    lines = ["{", f' "schema": {SCHEMA},', ' "scenarios": {']
    scenarios = sorted(accepted.scenarios.items())
    for number, (name, standard) in enumerate(scenarios, start=1):
        demands = {key: value for key, value in standard.demands.model_dump().items() if value not in (None, {})}
        silences = {mode: silence.model_dump(mode="json") for mode, silence in standard.accepted.items()}
        lines += [
            f"  {_json(name)}: {{",
            f'   "demands": {_json(demands)},',
            *_block("accepted", _entries(silences), "{}"),
            *_block("detected", _entries(standard.detected), "{}"),
            *_block("no_effect", map(_json, sorted(standard.no_effect)), "[]", last=standard.run),
            *([] if standard.run else ['   "run": false']),
            f"  }}{_comma(number < len(scenarios))}",
        ]
    return "\n".join([*lines, " }", "}", ""])


def _block(name: str, entries: Iterable[str], brackets: str, last: bool = False) -> list[str]:
    """Return the lines of a block with one entry per line, so that a diff shows each change."""
    found = list(entries)
    if not found:
        return [f'   "{name}": {brackets}{_comma(not last)}']
    inner = [f"    {entry}{_comma(number < len(found))}" for number, entry in enumerate(found, start=1)]
    return [f'   "{name}": {brackets[0]}', *inner, f"   {brackets[1]}{_comma(not last)}"]


def _entries(mapping: Mapping[str, Any]) -> Iterable[str]:
    return (f"{_json(key)}: {_json(value)}" for key, value in sorted(mapping.items()))


def _comma(more: bool) -> str:
    return "," if more else ""


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)


def _check_json(file: Path) -> None:
    """Raise ScenarioError for invalid JSON, which YAML would accept in part and report less precisely."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        remedy = "Fix the JSON syntax, or restore the file from the repository."
        raise ScenarioError(
            [Problem(str(file), error.lineno, error.colno, f"invalid JSON: {error.msg}", remedy)]
        ) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError([Problem(str(file), 1, 1, f"invalid JSON: {error}", "Save the file as UTF-8.")]) from None
