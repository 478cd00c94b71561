"""Scenario files: typed, and read so that all that is wrong is said at once, each thing with its place and a remedy."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faultlab import index
from faultlab.catalogue import SEVERITIES, matching, nearest
from faultlab.errors import FaultlabError, Problem, ScenarioError, UsageError
from faultlab.fault import Fault, Trigger
from faultlab.harness.plan import Selection

Key = tuple[str | int, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Component(_Part):
    """A class or factory to call: LightningCLI's convention."""

    class_path: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    init_args: dict[str, Any] = {}


class Guard(_Part):
    """A callback, or Trainer flags that count as a guard."""

    class_path: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    init_args: dict[str, Any] = {}
    name: str | None = None
    trainer_flag: dict[str, Any] | None = None


class Monitor(_Part):
    """The metric by which harm is measured."""

    metric: str
    mode: Literal["min", "max"] = "min"


class BatchRoles(_Part):
    """Paths into the batch, where the inference is wrong."""

    inputs: str | list[str] | None = None
    labels: str | list[str] | None = None


class Excuse(_Part):
    """Failure modes that are excused, why, and until when."""

    mode: str
    reason: str = Field(min_length=3)
    expires: datetime.date


class Faults(_Part):
    """Which faults are injected, when, and which are excused."""

    select: list[str] = ["*"]
    when: dict[str, list[str]] = {}
    ignore: list[Excuse] = []


class Gate(_Part):
    """What the campaign must reach to pass."""

    coverage: float | None = Field(default=None, ge=0, le=1)
    silent: dict[str, int] = {}
    false_alarms: int | None = Field(default=None, ge=0)


class Scenario(_Part):
    """One scenario file. ``file`` is where it was read, ``root`` the folder that class paths are looked up from."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    module: Component | None = None
    data: Component | None = None
    build: Component | None = None
    trainer: dict[str, Any] = {}
    guards: list[Guard] = []
    tests: list[str] = []
    monitor: Monitor | None = None
    batch: BatchRoles | None = None
    faults: Faults = Faults()
    gate: Gate = Gate()

    _file: Path = Path()
    _marks: dict[Key, tuple[int, int]] = {}

    @property
    def file(self) -> Path:
        return self._file

    def problem(self, where: Key, message: str, remedy: str = "") -> ScenarioError:
        """An error at a key of the file."""
        return ScenarioError([_problem(str(self._file), self._marks, where, message, remedy)])

    def selection(self, select: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Selection:
        """What the file asks for, narrowed by the command line."""
        today = datetime.date.today()
        excuses = [(e.mode, f"{e.reason} (until {e.expires})") for e in self.faults.ignore if e.expires >= today]
        return Selection(select or self.faults.select, skip, self.faults.when, excuses)

    def for_victims(self) -> dict[str, Any]:
        """The part that the victims' processes need, as plain data."""
        plain = self.model_dump(mode="json", include={"module", "data", "build", "trainer", "guards"})
        return {**plain, "path": [str(Path.cwd()), str(_project_root(self._file))]}


def find(paths: tuple[Path, ...]) -> list[Path]:
    """The scenario files at the paths, folders searched to the bottom; raises UsageError where there is none."""
    files: list[Path] = []
    for path in paths or (Path("scenarios"),):
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.suffix in (".yaml", ".yml") and file.is_file()]
            if not found:
                raise UsageError(f"{path}: no scenario in this folder; a scenario is a .yaml file, see the README")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    return list(dict.fromkeys(files))


def load_all(paths: tuple[Path, ...]) -> list[Scenario]:
    """Every scenario at the paths; raises ScenarioError with everything wrong in all of them."""
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    names: dict[str, Path] = {}
    for file in find(paths):
        try:
            scenario = load(file)
        except ScenarioError as error:
            problems += error.problems
            continue
        if scenario.name in names:
            remedy = "Names are folders of reports; give each scenario its own."
            message = f"the name {scenario.name!r} is taken by {names[scenario.name]}"
            problems += scenario.problem(("name",), message, remedy).problems
        names[scenario.name] = file
        scenarios.append(scenario)
    if problems:
        raise ScenarioError(problems)
    return scenarios


def load(file: Path) -> Scenario:
    """Reads one scenario file; raises ScenarioError with everything wrong in it."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        text = getattr(error, "problem", None) or str(error)
        raise ScenarioError([Problem(str(file), line, column, f"not YAML: {text}", "Mend the syntax.")]) from None
    except UnicodeDecodeError as error:
        raise ScenarioError([Problem(str(file), 1, 1, f"not UTF-8: {error.reason}", "Save it as UTF-8.")]) from None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    marks: dict[Key, tuple[int, int]] = {(): (1, 1)}
    problems: list[Problem] = []
    if not isinstance(node, yaml.MappingNode):
        raise ScenarioError([Problem(str(file), 1, 1, "a scenario is a mapping", "Begin with `schema: 1`.")])
    _mark(node, (), marks, str(file), problems)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        for detail in error.errors():
            problems.append(_explain(str(file), marks, detail))
        raise ScenarioError(sorted(problems, key=lambda p: (p.line, p.column))) from None
    scenario._file, scenario._marks = file, marks
    problems += [_problem(str(file), marks, *found) for found in _inconsistencies(scenario)]
    if problems:
        raise ScenarioError(sorted(problems, key=lambda p: (p.line, p.column)))
    return scenario


def _inconsistencies(scenario: Scenario) -> list[tuple[Key, str, str]]:
    found: list[tuple[Key, str, str]] = []
    if (scenario.module is None) == (scenario.build is None):
        found.append(((), "give either `module` or `build`", "`build` names a factory that returns (module, data)."))
    if scenario.build is not None and scenario.data is not None:
        found.append((("data",), "`build` brings the data already", "Remove `data`."))
    for number, guard in enumerate(scenario.guards):
        if (guard.class_path is None) == (guard.trainer_flag is None):
            found.append((("guards", number), "a guard has either `class_path` or `trainer_flag`", ""))
    for number, pattern in enumerate(scenario.faults.select):
        found += _check_pattern(("faults", "select", number), pattern, whole_faults=True)
    for pattern, triggers in scenario.faults.when.items():
        found += _check_pattern(("faults", "when", pattern), pattern)
        for number, trigger in enumerate(triggers):
            try:
                Trigger.parse(trigger)
            except FaultlabError as error:
                found.append((("faults", "when", pattern, number), str(error), ""))
    for number, excuse in enumerate(scenario.faults.ignore):
        found += _check_pattern(("faults", "ignore", number, "mode"), excuse.mode)
    for severity in scenario.gate.silent:
        if severity not in SEVERITIES:
            remedy = f"Use {', '.join(SEVERITIES)}."
            found.append((("gate", "silent", severity), f"unknown severity {severity!r}", remedy))
    return found


def _check_pattern(where: Key, pattern: str, whole_faults: bool = False) -> list[tuple[Key, str, str]]:
    if remedy := check_pattern(pattern, whole_faults):
        return [(where, *remedy)]
    return []


def check_pattern(pattern: str, whole_faults: bool = False) -> tuple[str, str] | None:
    """What is wrong with a glob over failure modes (or with a whole fault's text) and its remedy, or None."""
    modes = index.modes()
    if whole_faults and any(mark in pattern for mark in ":@"):
        try:
            fault = Fault.parse(pattern)
            if fault.mode in modes:
                modes[fault.mode].complete(fault, 1)
                return None
        except FaultlabError as error:
            return str(error), ""
        return f"unknown failure mode {fault.mode!r}", nearest(fault.mode, modes) or _LIST
    if matching(pattern, modes):
        return None
    return f"no failure mode matches {pattern!r}", nearest(pattern, modes) or _LIST


_LIST = "`faultlab list` shows them all."


def _mark(node: yaml.Node, path: Key, marks: dict[Key, tuple[int, int]], file: str, problems: list[Problem]) -> None:
    marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value
            place = (key.start_mark.line + 1, key.start_mark.column + 1)
            if (*path, name) in marks:
                problems.append(Problem(file, *place, f"the key {name!r} stands twice", "Keep one of them."))
            marks[(*path, name)] = place
            _mark(value, (*path, name), marks, file, problems)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _mark(item, (*path, number), marks, file, problems)


def _problem(file: str, marks: Mapping[Key, tuple[int, int]], where: Key, message: str, remedy: str) -> Problem:
    while where not in marks:
        where = where[:-1]
    return Problem(file, *marks[where], message, remedy)


def _explain(file: str, marks: Mapping[Key, tuple[int, int]], detail: Any) -> Problem:
    where = tuple(part for part in detail["loc"] if (*(), part) is not None)
    key = where[-1] if where else ""
    if detail["type"] == "extra_forbidden":
        fields = _fields_at(where[:-1])
        remedy = nearest(str(key), fields) or f"Known keys: {', '.join(fields)}."
        return _problem(file, marks, where, f"unknown key {key!r}", remedy)
    if detail["type"] == "missing":
        return _problem(file, marks, where[:-1], f"the key {key!r} is missing", f"Add `{key}:`.")
    name = ".".join(map(str, where))
    given = detail.get("input")
    message = f"{name}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {given!r}"
    return _problem(file, marks, where, message, _remedy(detail))


def _remedy(detail: Any) -> str:
    if detail["type"] == "string_pattern_mismatch" and "class_path" in detail["loc"]:
        return "Write the full path, such as package.module.Class."
    if detail["type"].startswith("date"):
        return "Write a date as 2027-06-30."
    return ""


def _fields_at(where: Key) -> list[str]:
    model: Any = Scenario
    for part in where:
        if isinstance(part, int):
            continue
        field = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        if field is None:
            return []
        model = _model_in(field.annotation)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType, list):
        return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _project_root(file: Path) -> Path:
    """The nearest folder above the file that looks like a project's, else the file's own."""
    for folder in file.resolve().parents:
        if any((folder / mark).exists() for mark in ("pyproject.toml", "setup.py", ".git")):
            return folder
    return file.resolve().parent
