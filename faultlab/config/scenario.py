"""Scenario files as typed models; all errors of a file are reported at once, with place and remedy."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from faultlab.config import loop_parts
from faultlab.config.guard_entry import Guard
from faultlab.config.loop_parts import LOOP, SCRIPT, Argument, OrItsPath, Reported, Resumption
from faultlab.config.loop_parts import Part as _Part
from faultlab.config.scenario_fields import (
    Count,
    Framework,
    Paths,
    Pattern,
    PatternOrFault,
    Reason,
    Severity,
    Triggers,
)
from faultlab.config.selection import Selection
from faultlab.config.validation_messages import explain
from faultlab.config.yaml_source import HOW_TO_GET_ONE, Key, YamlFile, not_found, refuse_script
from faultlab.core import framework_names
from faultlab.core.demands import Demands
from faultlab.errors import Problem, ScenarioError, UsageError

_GUARDS = "faultlab.guards."
_BUILD, _CONFIGURED = "faultlab.targets.script.build", "faultlab.targets.script.configured"
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
"""The pattern of a scenario's name, which is its folder's name too."""


class Component(_Part):
    """A class or factory to call, as in LightningCLI's configs."""

    class_path: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """The class or factory, such as `package.module.Class`."""
    init_args: dict[str, Any] = {}
    """The arguments it is called with."""


class Monitor(_Part):
    """The metric that measures harm."""

    metric: str
    """A metric that the module logs."""
    mode: Literal["min", "max"] = "min"
    """Whether lower (`min`) or higher (`max`) is better."""


class BatchRoles(_Part):
    """Paths into the batch, for when faultlab infers them incorrectly."""

    inputs: Paths | None = None
    """The path of the inputs in a batch, such as `"0"` or `image`."""
    labels: Paths | None = None
    """The path of the labels in a batch."""


class Exemption(_Part):
    """An exemption of failure modes, with a reason and an expiry date."""

    mode: Pattern
    """The failure mode's id, or a glob."""
    reason: Reason
    """The reason for the exemption."""
    expires: datetime.date
    """The last day of the exemption, such as 2027-06-30."""


class Faults(_Part):
    """The faults to inject, their triggers, and the exemptions."""

    select: list[PatternOrFault] = ["*"]
    """Globs of failure modes, or faults such as `label.noisy:fraction=0.3@step=8`."""
    when: dict[Pattern, Triggers] = {}
    """Triggers by failure mode, such as `{return.none: ['@always', '@step=8']}`."""
    ignore: list[Exemption] = []
    """Failure modes that are exempt."""


class Mutants(_Part):
    """Source mutants: their files and functions, and further files that tests need.

    Without ``paths``, the files that define the module, its data and the guards are mutated.
    """

    paths: list[str] = []
    """Python files to mutate."""
    functions: list[str] = ["*"]
    """Globs of functions, such as `Lit*.forward`."""
    also_copy: list[str] = []
    """Files and folders that tests need and git ignores, such as data."""


class Gate(_Part):
    """The limits that a run must meet to pass."""

    coverage: float | None = Field(default=None, ge=0, le=1)
    """The minimum coverage: the ratio of detected failure modes."""
    mutants: float | None = Field(default=None, ge=0, le=1)
    """The minimum ratio of detected source mutants."""
    silent: dict[Severity, Count] = {}
    """The maximum number of silent failure modes by severity, such as `{critical: 0}`."""
    false_alarms: Count | None = None
    """The maximum number of false alarms on clean runs; by default 0."""
    latency: Count | None = None
    """The maximum number of steps from a fault's first activation to its first detection."""


class Scenario(_Part):
    """A scenario. ``file`` is the file that it was read from."""

    schema_: Literal[1] = Field(alias="schema")
    """The version of this format."""
    name: str = Field(pattern=f"^{NAME.pattern}$")
    """The scenario's name, which is also its folder's under `reports/`."""
    framework: Framework = framework_names.DEFAULT
    """The training framework: `lightning`, or one that an installed package adds."""
    module: Component | None = None
    """The LightningModule, or a factory of one."""
    data: Component | None = None
    """A LightningDataModule, or a factory of one, of a loader or of a pair; omitted if the module has its own."""
    build: Component | None = None
    """A factory that returns `(module, data)` or `(module, data, trainer_arguments)`, instead of both."""
    train: Annotated[Component, OrItsPath()] | None = None
    """A function that trains to the end, with `framework: torch`; what it returns of numbers is read as metrics."""
    script_: str | None = Field(default=None, alias="script")
    """A script that trains to the end, instead of `train`; it runs as `python train.py` runs it."""
    arguments: list[Argument] = []
    """The arguments of `script`, such as `[--epochs, 2]`."""
    evaluate: Annotated[Component, OrItsPath()] | None = None
    """A function that takes the trained module and returns its metrics, with `framework: torch`."""
    resume: Resumption | None = None
    """How `train` continues from its checkpoints, with `framework: torch`."""
    metrics: Reported | None = None
    """Where the loop prints or writes its metrics, with `framework: torch`."""
    step: Annotated[str | None, BeforeValidator(loop_parts.dotted)] = None
    """The function or method that runs one training step, such as `pkg.train.train_step`, with `framework: torch`."""
    ranks: Annotated[int, Field(ge=1)] = 1
    """The number of processes that train together, with `framework: torch`; each calls `train`, as under `torchrun`."""
    trainer: dict[str, Any] = {}
    """The Trainer's arguments, or `class_path` and `init_args` of a subclass."""
    guards: list[Guard] = []
    """The guards: callbacks and Trainer flags; with `framework: torch` callbacks that watch the loop."""
    tests: list[str] = []
    """The user's tests that should detect faults: files, folders or node ids, as for pytest."""
    monitor: Monitor | None = None
    """The metric that measures harm; by default the validation metric."""
    batch: BatchRoles | None = None
    """The paths of inputs and labels in a batch, for when faultlab infers them incorrectly."""
    faults: Faults = Faults()
    """The faults to inject, their triggers, and the exemptions."""
    mutants: Mutants | None = None
    """Source mutants. Without this key and without `gate.mutants`, no mutants are judged."""
    gate: Gate = Gate()
    """The limits that a run must meet to pass."""

    _file: Path = Path()
    _yaml: YamlFile | None = None

    @model_validator(mode="after")
    def _trains_by_its_script(self) -> Scenario:
        if self.script_ is not None and self.train is None:
            given = {"arguments": self.arguments} if self.arguments else {}
            self.train = Component(class_path=SCRIPT, init_args={"script": self.script_, **given})
        return self

    @property
    def file(self) -> Path:
        return self._file

    def problem(self, where: Key, message: str, remedy: str = "") -> ScenarioError:
        """Return an error at a key of the file."""
        if self._yaml is None:
            return ScenarioError([Problem(str(self._file), 1, 1, message, remedy)])
        if self.script_ is not None and where[:1] == ("train",):
            # The file names the script and its arguments by themselves.
            where = ("script",) if where[2:3] != ("arguments",) else where[2:]
        return ScenarioError([self._yaml.problem(where, message, remedy)])

    def selection(self, select: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Selection:
        """Return the selection of the file, or of the command line if it has one."""
        today = datetime.date.today()
        exemptions = [(e.mode, f"{e.reason} (until {e.expires})") for e in self.faults.ignore if e.expires >= today]
        return Selection(select or self.faults.select, skip, self.faults.when, exemptions)

    def demands(self, fail_under: float | None = None) -> Demands:
        """Return the demands of the gate and of the command line."""
        return Demands(**self.gate.model_dump(), fail_under=fail_under)

    @property
    def exemptions(self) -> list[dict[str, str]]:
        """The exemptions as in a report, including expired ones."""
        return [{"mode": e.mode, "reason": e.reason, "expires": str(e.expires)} for e in self.faults.ignore]

    @property
    def script(self) -> str:
        """The training script that builds the target, as the file names it; empty if there is none."""
        return str(self.build.init_args.get("script", "")) if self.build and self.build.class_path == _BUILD else ""

    def with_arguments(self, arguments: Sequence[str]) -> Scenario:
        """Return the scenario with other command line arguments for the training script.

        Raises:
            ScenarioError: The scenario runs no script.
        """
        if not arguments:
            return self
        if self.train is not None and self.train.class_path == SCRIPT:
            init_args = {**self.train.init_args, "arguments": list(arguments)}
            return self.model_copy(update={"train": self.train.model_copy(update={"init_args": init_args})})
        if self.build is None or self.build.class_path not in (_BUILD, _CONFIGURED):
            of_script = "with `script`" if self.framework == LOOP else f"whose `build` is {_BUILD}"
            remedy = f"Remove them, or use a scenario {of_script}."
            message = "arguments after -- are not used: this scenario does not run a script"
            raise self.problem(("build",), message, remedy)
        build = self.build.model_copy(update={"init_args": {**self.build.init_args, "arguments": list(arguments)}})
        return self.model_copy(update={"build": build})

    @property
    def test_files(self) -> list[str]:
        """The tests' files and folders, relative to the working folder, the project's root or the scenario.

        Raises ScenarioError if one is missing.
        """
        found = [_test_file(entry, self._file) for entry in self.tests]
        remedy = "Give the path relative to the working folder or to the project's root."
        missing = [
            self.problem(("tests", number), f"no such test file or folder: {self.tests[number]!r}", remedy).problems[0]
            for number, file in enumerate(found)
            if file is None
        ]
        if missing:
            raise ScenarioError(missing)
        return list(map(str, found))

    def for_victims(self) -> dict[str, Any]:
        """Return the part that the victims' processes need, as plain data."""
        parts = {"framework", "module", "data", "build", "train", "evaluate", "resume", "metrics", "step", "trainer"}
        parts |= {"guards"}
        plain = self.model_dump(mode="json", include=parts, exclude_unset=True)
        for guard in plain.get("guards", ()):
            if str(guard.get("class_path")).startswith(_GUARDS) and "profile" in guard.get("init_args", {}):
                guard["init_args"]["profile"] = self._beside(guard["init_args"]["profile"])
        several = {"ranks": self.processes} if self.processes > 1 else {}
        return {**plain, **several, "path": import_path(self._file)}

    @property
    def processes(self) -> int:
        """The number of processes of the training: its ranks, or the devices that ``trainer`` names."""
        if self.framework != framework_names.DEFAULT:
            return self.ranks
        given = dict(self.trainer or {})
        devices = (given.get("init_args") or {} if "class_path" in given else given).get("devices", 1)
        return max(1, int(devices) if str(devices).isdecimal() else 1)

    def _beside(self, path: Any) -> Any:
        """Return the absolute path of a file that exists relative to the scenario's; any other value unchanged."""
        found = self._file.resolve().parent / path if isinstance(path, str) else None
        return str(found) if found is not None and found.is_file() else path


def import_path(file: Path) -> list[str]:
    """Return the folders that contain the class paths of a scenario file, to import from."""
    root = project_root(file)
    return [str(folder) for folder in (Path.cwd(), root, root / "src") if folder.is_dir()]


def find(paths: tuple[Path, ...]) -> list[Path]:
    """Return the scenario files at the paths and in all their folders. Raises UsageError if there is none."""
    files: list[Path] = []
    for path in paths or (Path("scenarios"),):
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.suffix in (".yaml", ".yml") and file.is_file()]
            if not found:
                raise UsageError(f"{path}: no scenario file in this folder\n    {HOW_TO_GET_ONE}")
            files += found
        elif path.is_file():
            refuse_script(path)
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder\n    {not_found(path)}")
    return list(dict.fromkeys(files))


def load_all(paths: tuple[Path, ...]) -> list[Scenario]:
    """Return every scenario at the paths. Raises ScenarioError with the errors of all files."""
    scenarios, problems = read_all(find(paths))
    if problems:
        raise ScenarioError(problems)
    return scenarios


def read_all(files: Iterable[Path]) -> tuple[list[Scenario], list[Problem]]:
    """Return the scenarios of the valid files, and the errors of the others."""
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    names: dict[str, Path] = {}
    for file in files:
        try:
            scenario = load(file)
        except ScenarioError as error:
            problems += error.problems
            continue
        if scenario.name in names:
            remedy = "Give each scenario its own name: it is the name of the report's folder."
            message = f"duplicate name {scenario.name!r}: {names[scenario.name]} has it too"
            problems += scenario.problem(("name",), message, remedy).problems
        names[scenario.name] = file
        scenarios.append(scenario)
    return scenarios, problems


def load(file: Path) -> Scenario:
    """Return the scenario of a file. Raises ScenarioError with all its errors."""
    refuse_script(file)
    yaml = YamlFile(file)
    problems = list(yaml.problems)
    try:
        scenario = Scenario.model_validate(yaml.data)
    except ValidationError as error:
        problems += [explain(yaml, detail, Scenario) for detail in error.errors()]
    problems += [yaml.problem(*found) for found in _inconsistencies(yaml.data)]
    if problems:
        raise ScenarioError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    scenario._file, scenario._yaml = file, yaml
    return scenario


def _inconsistencies(data: Mapping[str, Any]) -> list[tuple[Key, str, str]]:
    """Return the contradictions between keys, as place, message and remedy."""
    found: list[tuple[Key, str, str]] = []
    if data.get("framework") == LOOP:
        return loop_parts.inconsistencies(data)
    found += [
        ((key,), f"`{key}` is for `framework: {LOOP}`", f"Add `framework: {LOOP}`, or remove `{key}`.")
        for key in ("train", "script", "arguments", "evaluate", "resume", "metrics", "step")
        if data.get(key) is not None
    ]
    if data.get("ranks") is not None and data.get("framework", framework_names.DEFAULT) == framework_names.DEFAULT:
        remedy = f"Name them as `trainer: {{strategy: ddp, devices: {data['ranks']}}}`."
        found.append((("ranks",), f"`ranks` is for `framework: {LOOP}`", remedy))
    if (data.get("module") is None) == (data.get("build") is None):
        found.append(
            ((), "either `module` or `build` is required, and not both", "`build` names a factory of (module, data).")
        )
    if data.get("build") is not None and data.get("data") is not None:
        found.append((("data",), "`data` can't be combined with `build`, which returns the data", "Remove `data`."))
    return found


def _test_file(entry: str, file: Path) -> Path | None:
    """Return the path of a `tests` entry, which may be a pytest node id; None if its file is missing."""
    name, mark, one = entry.partition("::")
    for folder in (Path.cwd(), project_root(file), file.resolve().parent):
        if (folder / name).exists():
            return Path(f"{folder / name}{mark}{one}")
    return None


def project_root(file: Path) -> Path:
    """Return the nearest folder above the file that is a project's root, or the file's own, or that of `scenarios/`."""
    for folder in file.resolve().parents:
        if any((folder / mark).exists() for mark in ("pyproject.toml", "setup.py", ".git")):
            return folder
    own = file.resolve().parent
    # `faultlab init` writes there, beside code that may not be in a repository yet.
    return own.parent if own.name == "scenarios" else own
