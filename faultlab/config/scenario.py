"""Scenario files: typed, and read so that all mistakes are reported at once, with place and remedy."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from faultlab.config.scenario_fields import (
    Count,
    Framework,
    Paths,
    Pattern,
    PatternOrFault,
    Reason,
    Severity,
    Triggers,
    refused,
)
from faultlab.config.selection import Selection
from faultlab.config.validation_messages import explain
from faultlab.config.yaml_source import HOW_TO_GET_ONE, Key, YamlFile, not_found
from faultlab.core import framework_names
from faultlab.core.report import Demands
from faultlab.errors import Problem, ScenarioError, UsageError

_GUARDS = "faultlab.guards."
_LOOP = "torch"
_BUILD, _CONFIGURED = "faultlab.targets.script.build", "faultlab.targets.script.configured"
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
"""A scenario's name, which is its folder's too."""


class _Part(BaseModel):
    # The texts below fields are what editors show of a key.
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Component(_Part):
    """A class or factory to call: LightningCLI's convention."""

    class_path: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """The class or factory, such as `package.module.Class`."""
    init_args: dict[str, Any] = {}
    """The arguments it is called with."""


class Guard(_Part):
    """A callback, or Trainer flags that count as a guard."""

    class_path: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """A callback's class, such as `package.module.Class`."""
    init_args: dict[str, Any] = {}
    """The arguments it is called with."""
    name: str | None = None
    """What reports call it; its class's name, unless given."""
    trainer_flag: dict[str, Any] | None = None
    """Trainer flags that count as a guard, such as `{detect_anomaly: true}`."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Guard:
        if (self.class_path is None) == (self.trainer_flag is None):
            raise refused("a guard has either `class_path` or `trainer_flag`", "Give one of them.")
        return self


class Monitor(_Part):
    """The metric by which harm is measured."""

    metric: str
    """A metric that the module logs."""
    mode: Literal["min", "max"] = "min"
    """Whether the best is the least or the greatest."""


class BatchRoles(_Part):
    """Paths into the batch, where the inference is wrong."""

    inputs: Paths | None = None
    """Where the inputs are in a batch, such as `"0"` or `image`."""
    labels: Paths | None = None
    """Where the labels are in a batch."""


class Exemption(_Part):
    """Failure modes that are exempt, why, and until when."""

    mode: Pattern
    """The failure mode's id, or a glob."""
    reason: Reason
    """Why it is exempt."""
    expires: datetime.date
    """The last day that it is exempt, such as 2027-06-30."""


class Faults(_Part):
    """Which faults are injected, when, and which are exempt."""

    select: list[PatternOrFault] = ["*"]
    """Globs of failure modes, or faults such as `label.noisy:fraction=0.3@step=8`."""
    when: dict[Pattern, Triggers] = {}
    """Triggers by failure mode, such as `{return.none: ['@always', '@step=8']}`."""
    ignore: list[Exemption] = []
    """Failure modes that are exempt."""


class Mutants(_Part):
    """Source mutants: of which files and functions, and what tests need that git ignores.

    Without ``paths`` the files are mutated that define the module, its data and the guards.
    """

    paths: list[str] = []
    """Python files to mutate."""
    functions: list[str] = ["*"]
    """Globs of functions, such as `Lit*.forward`."""
    also_copy: list[str] = []
    """What tests need and git ignores, such as data."""


class Gate(_Part):
    """What the campaign must reach to pass."""

    coverage: float | None = Field(default=None, ge=0, le=1)
    """The least coverage: the share of failure modes to be detected."""
    mutants: float | None = Field(default=None, ge=0, le=1)
    """The least share of source mutants to be detected."""
    silent: dict[Severity, Count] = {}
    """How many failure modes of a severity may be silent, such as `{critical: 0}`."""
    false_alarms: Count | None = None
    """How many false alarms clean runs may raise; none, unless given."""
    latency: Count | None = None
    """The most steps from a fault's first activation to its first detection."""


class Scenario(_Part):
    """One scenario file. ``file`` is where it was read, ``root`` the folder that class paths are looked up from."""

    schema_: Literal[1] = Field(alias="schema")
    """The version of this format."""
    name: str = Field(pattern=f"^{NAME.pattern}$")
    """The scenario's name, and its folder's under `reports/`."""
    framework: Framework = framework_names.DEFAULT
    """What trains: `lightning`, or the name of a framework that an installed package adds."""
    module: Component | None = None
    """The LightningModule, or a factory of one."""
    data: Component | None = None
    """A LightningDataModule, or a factory of one, of a loader or a pair; left out where the module brings its own."""
    build: Component | None = None
    """A factory that returns `(module, data)`, or `(module, data, trainer_arguments)`, in place of both."""
    train: Component | None = None
    """A function that trains to the end, with `framework: torch`; what it returns of numbers is read as metrics."""
    evaluate: Component | None = None
    """A function that takes the trained module and returns its metrics, with `framework: torch`."""
    step: str | None = None
    """The function or method that runs one training step, such as `pkg.train.train_step`, with `framework: torch`."""
    trainer: dict[str, Any] = {}
    """The Trainer's arguments, or `class_path` and `init_args` of a subclass."""
    guards: list[Guard] = []
    """What should detect: callbacks and Trainer flags."""
    tests: list[str] = []
    """The user's tests, which should detect too: files, folders or ids, as pytest takes them."""
    monitor: Monitor | None = None
    """The metric that harm is measured by; that of validation, unless given."""
    batch: BatchRoles | None = None
    """Where inputs and labels are in a batch, where the inference is wrong."""
    faults: Faults = Faults()
    """Which faults are injected, when, and which are exempt."""
    mutants: Mutants | None = None
    """Source mutants, where they are asked for."""
    gate: Gate = Gate()
    """What the campaign must reach to pass."""

    _file: Path = Path()
    _yaml: YamlFile | None = None

    @property
    def file(self) -> Path:
        return self._file

    def problem(self, where: Key, message: str, remedy: str = "") -> ScenarioError:
        """An error at a key of the file."""
        if self._yaml is None:
            return ScenarioError([Problem(str(self._file), 1, 1, message, remedy)])
        return ScenarioError([self._yaml.problem(where, message, remedy)])

    def selection(self, select: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Selection:
        """What the file asks for, narrowed by the command line."""
        today = datetime.date.today()
        exemptions = [(e.mode, f"{e.reason} (until {e.expires})") for e in self.faults.ignore if e.expires >= today]
        return Selection(select or self.faults.select, skip, self.faults.when, exemptions)

    def demands(self, fail_under: float | None = None) -> Demands:
        """What the gate asks for, and the command line."""
        return Demands(**self.gate.model_dump(), fail_under=fail_under)

    @property
    def exemptions(self) -> list[dict[str, str]]:
        """The failure modes that are exempt, expired or not, as they stand in a report."""
        return [{"mode": e.mode, "reason": e.reason, "expires": str(e.expires)} for e in self.faults.ignore]

    @property
    def script(self) -> str:
        """The training script that builds the target, as the file names it; empty where there is none."""
        return str(self.build.init_args.get("script", "")) if self.build and self.build.class_path == _BUILD else ""

    def with_arguments(self, arguments: Sequence[str]) -> Scenario:
        """Return the same with other command line arguments for the training script.

        Raises:
            ScenarioError: The scenario runs no script.
        """
        if not arguments:
            return self
        if self.build is None or self.build.class_path not in (_BUILD, _CONFIGURED):
            remedy = f"They are for a scenario whose `build` is {_BUILD}."
            message = "this scenario runs no script, so that arguments after -- reach nobody"
            raise self.problem(("build",), message, remedy)
        build = self.build.model_copy(update={"init_args": {**self.build.init_args, "arguments": list(arguments)}})
        return self.model_copy(update={"build": build})

    @property
    def test_files(self) -> list[str]:
        """The tests' files and folders; those that are not found from here are looked up from the project's root.

        Raises ScenarioError where there is no such file.
        """
        found = [_test_file(entry, self._file) for entry in self.tests]
        remedy = "Name a test file or folder, from the folder that faultlab runs in or the project's root."
        missing = [
            self.problem(("tests", number), f"no such tests: {self.tests[number]}", remedy).problems[0]
            for number, file in enumerate(found)
            if file is None
        ]
        if missing:
            raise ScenarioError(missing)
        return list(map(str, found))

    def for_victims(self) -> dict[str, Any]:
        """The part that the victims' processes need, as plain data."""
        parts = {"framework", "module", "data", "build", "train", "evaluate", "step", "trainer", "guards"}
        plain = self.model_dump(mode="json", include=parts, exclude_unset=True)
        for guard in plain.get("guards", ()):
            if str(guard.get("class_path")).startswith(_GUARDS) and "profile" in guard.get("init_args", {}):
                guard["init_args"]["profile"] = self._beside(guard["init_args"]["profile"])
        return {**plain, "path": import_path(self._file)}

    def _beside(self, path: Any) -> Any:
        """The path of a file that lies where it says from the scenario's file; any other as it is."""
        found = self._file.resolve().parent / path if isinstance(path, str) else None
        return str(found) if found is not None and found.is_file() else path


def import_path(file: Path) -> list[str]:
    """The folders that the class paths of a scenario at that place are looked up in."""
    root = project_root(file)
    return [str(folder) for folder in (Path.cwd(), root, root / "src") if folder.is_dir()]


def find(paths: tuple[Path, ...]) -> list[Path]:
    """The scenario files at the paths, folders searched to the bottom; raises UsageError where there is none."""
    files: list[Path] = []
    for path in paths or (Path("scenarios"),):
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.suffix in (".yaml", ".yml") and file.is_file()]
            if not found:
                raise UsageError(f"{path}: no scenario in this folder\n    {HOW_TO_GET_ONE}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder\n    {not_found(path)}")
    return list(dict.fromkeys(files))


def load_all(paths: tuple[Path, ...]) -> list[Scenario]:
    """Every scenario at the paths; raises ScenarioError with everything wrong in all of them."""
    scenarios, problems = read_all(find(paths))
    if problems:
        raise ScenarioError(problems)
    return scenarios


def read_all(files: Iterable[Path]) -> tuple[list[Scenario], list[Problem]]:
    """The scenarios in those of the files that can be read, and everything that is wrong in the others."""
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
            remedy = "Names are folders of reports; give each scenario its own."
            message = f"the name {scenario.name!r} is taken by {names[scenario.name]}"
            problems += scenario.problem(("name",), message, remedy).problems
        names[scenario.name] = file
        scenarios.append(scenario)
    return scenarios, problems


def load(file: Path) -> Scenario:
    """Reads one scenario file; raises ScenarioError with everything wrong in it."""
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
    """What is wrong between keys, each of which may be right."""
    found: list[tuple[Key, str, str]] = []
    if data.get("framework") == _LOOP:
        return _loop_inconsistencies(data)
    found += [
        ((key,), f"`{key}` is for `framework: {_LOOP}`", f"Add `framework: {_LOOP}`, or remove `{key}`.")
        for key in ("train", "evaluate", "step")
        if data.get(key) is not None
    ]
    if (data.get("module") is None) == (data.get("build") is None):
        found.append(((), "give either `module` or `build`", "`build` names a factory that returns (module, data)."))
    if data.get("build") is not None and data.get("data") is not None:
        found.append((("data",), "`build` brings the data already", "Remove `data`."))
    return found


def _loop_inconsistencies(data: Mapping[str, Any]) -> list[tuple[Key, str, str]]:
    """Return what is wrong between the keys of a scenario whose training is a loop."""
    found: list[tuple[Key, str, str]] = []
    if data.get("train") is None:
        found.append(((), "missing key 'train'", "Name the function that trains, as `train: {class_path: pkg.main}`."))
    found += [
        ((key,), f"`{key}` is not for `framework: {_LOOP}`", f"Remove `{key}`: the function of `train` makes it.")
        for key in ("module", "data", "build", "trainer", "guards", "tests", "mutants")
        if data.get(key)
    ]
    return found


def _test_file(entry: str, file: Path) -> Path | None:
    """Where the tests of an entry are, which may end in the name of one of them, as pytest takes it."""
    name, mark, one = entry.partition("::")
    for folder in (Path.cwd(), project_root(file), file.resolve().parent):
        if (folder / name).exists():
            return Path(f"{folder / name}{mark}{one}")
    return None


def project_root(file: Path) -> Path:
    """The nearest folder above the file that looks like a project's, else the file's own or that of `scenarios/`."""
    for folder in file.resolve().parents:
        if any((folder / mark).exists() for mark in ("pyproject.toml", "setup.py", ".git")):
            return folder
    own = file.resolve().parent
    # Where `faultlab init` writes, beside code that is in no repository yet.
    return own.parent if own.name == "scenarios" else own
