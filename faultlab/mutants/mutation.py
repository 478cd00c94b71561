"""Source mutants of a scenario or of plain files, from the scratch copy to the report. This is the driver's side."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from faultlab.campaign.clean_runs import CleanRuns
from faultlab.campaign.healthy_runs import Watch
from faultlab.catalogue import index, mutation_scores
from faultlab.config.scenario import Mutants, Scenario, project_root
from faultlab.config.source_lookup import within_repository
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.records import Records
from faultlab.core.report import FaultResult, Report
from faultlab.core.run_folder import MUTANTS_FOLDER, REPORT_FILE, folder_of
from faultlab.core.shard import Shard
from faultlab.core.source_mutation import Mutation
from faultlab.core.version import __version__
from faultlab.engines import Engine
from faultlab.errors import TargetError, UsageError
from faultlab.gate import evidence
from faultlab.gate.demands import check_alarms, check_mutants
from faultlab.mutants import generation, scope, store
from faultlab.mutants.by_tests import ByTests, TestVerdict
from faultlab.mutants.by_training import ByTraining
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.scope import GuardCode
from faultlab.mutants.store import Circumstances, Store
from faultlab.mutants.verdicts import join
from faultlab.mutants.workspace import Workspace

_PROJECT_NAME = re.compile(r"^\[project\]\s*$(?:(?!^\[).)*?^name\s*=\s*[\"']([^\"']+)", re.MULTILINE | re.DOTALL)


class MutationListener(Protocol):
    """A listener to the progress of a mutation."""

    def mutating(self, name: str) -> None: ...

    def generated(self, total: int, kept: int) -> None: ...

    def judging(self, who: str, total: int) -> None: ...

    def mutant_judged(self) -> None: ...


@dataclass(frozen=True)
class MutationOptions:
    """The options of the command line. ``paths`` and ``tests`` are as given, ``timeout`` is in seconds."""

    paths: tuple[Path, ...] = ()
    tests: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    also_copy: tuple[str, ...] = ()
    since: str = ""
    shard: Shard = field(default_factory=Shard)
    again: bool = False
    seed: int = 0
    timeout: float | None = None
    out: Path = Path("reports")
    fail_under: float | None = None
    watch: Watch = field(default_factory=Watch)


@dataclass
class SourceMutation:
    """A mutation run, which generates the mutants, has them judged, and adds the verdicts to the report of ``name``.

    Without a scenario there are no guards, and the tests alone judge. ``interrupted`` is set if some were not judged.
    """

    asked: MutationOptions
    engine: Engine
    listener: MutationListener
    scenario: Scenario | None = None
    interrupted: bool = False
    mutants: list[Mutant] = field(default_factory=list)
    _by_tests: dict[str, TestVerdict] = field(default_factory=dict)
    _by_training: dict[str, FaultResult] = field(default_factory=dict)
    _problems: list[Reason] = field(default_factory=list)
    _changed: dict[str, set[str]] | None = None

    @property
    def root(self) -> Path:
        """The project's root folder."""
        return project_root(self.scenario.file if self.scenario else self.asked.paths[0].resolve() / "_").resolve()

    @property
    def name(self) -> str:
        """The report's name."""
        if self.scenario is not None:
            return self.scenario.name
        pyproject = self.root / "pyproject.toml"
        said = _PROJECT_NAME.search(pyproject.read_text(encoding="utf-8")) if pyproject.is_file() else None
        # Not the name of a scenario, which may equal the project's.
        return re.sub(r"[^A-Za-z0-9._-]", "-", f"{said.group(1) if said else self.root.name}-source").lstrip("._-")

    @property
    def folder(self) -> Path:
        """The folder for all files about the mutants."""
        return self.asked.out / self.name / MUTANTS_FOLDER.parent

    def run(self, report: Report | None = None) -> Report:
        """Generate and judge the mutants, and return the report with them.

        Args:
            report: The report to add them to; by default the one on disk, or a new one.

        Raises:
            UsageError: There is nothing to mutate, or mutmut fails.
            BaselineError: The clean tests or the clean training fail.
        """
        generation.check_system()
        self.listener.mutating(self.name)
        sources = self._sources()
        scope.check_judges(sources, self.root)
        workspace = Workspace(self.root, (self.asked.out / self.name / MUTANTS_FOLDER).resolve())
        with workspace.held():
            return self._run(workspace, sources, report)

    def _run(self, workspace: Workspace, sources: Sequence[str], report: Report | None) -> Report:
        begun = time.perf_counter()
        report = report or self._known_report()
        workspace.make(sources, self._also_copied)
        generated = generation.generate(workspace, sources)
        self.mutants = self._chosen(generated, sources)
        kept_before = self._judge(workspace, sources, report)
        report.mutants = [self._joined(m) for m in self.mutants if m.exemption or self._is_judged(m)]
        report.versions = report.versions or store.versions()
        generation.write_back(workspace, {name: verdict.outcome for name, verdict in self._by_tests.items()})
        report.mutation = self._summary(report, generated, sources, kept_before, time.perf_counter() - begun)
        self._gate(report)
        Records(folder_of(self.asked.out, self.name, bool(report.selection))).write_report(report)
        return report

    def _joined(self, mutant: Mutant) -> FaultResult:
        watches = any(code.holds(mutant) for code in self._guards)
        return join(mutant, self._by_tests.get(mutant.name), self._by_training.get(mutant.name), watches)

    def _judge(self, workspace: Workspace, sources: Sequence[str], report: Report) -> int:
        """Have the mutants judged that have no verdict yet; return how many had one already."""
        tests = self._tests()
        known = Store(self.folder / "verdicts.jsonl", self._circumstances(workspace, tests))
        known.load()
        wanted = [mutant for mutant in self.mutants if not mutant.exemption]
        if not self.asked.again:
            for mutant in wanted:
                if self._asks_tests and (verdict := known.tests(mutant)) is not None:
                    self._by_tests[mutant.name] = verdict
                if self.scenario is not None and (result := known.training(mutant)) is not None:
                    self._by_training[mutant.name] = result
        kept = sum(self._is_judged(mutant) for mutant in wanted)
        self.listener.generated(len(self.mutants), kept)
        by_name = {mutant.name: mutant for mutant in wanted}

        def test_heard(name: str, verdict: TestVerdict) -> None:
            self._by_tests[name] = verdict
            known.heard_from_tests(by_name[name], verdict)
            self.listener.mutant_judged()

        def training_heard(name: str, result: FaultResult) -> None:
            self._by_training[name] = result
            known.heard_from_training(by_name[name], result)
            self.listener.mutant_judged()

        path = workspace.path(sources)
        try:
            left = [mutant for mutant in wanted if self._asks_tests and mutant.name not in self._by_tests]
            if left:
                self.listener.judging("tests", len(left))
                moved = [_moved(workspace, test) for test in tests]
                judge = ByTests(workspace, path, moved, self.engine.jobs, self.asked.timeout, test_heard)
                judge.judge(left)
                report.baseline.false_alarms = _without_tests(report) + [
                    Alert("test", test, 0, why) for test, why in judge.suite.left_out.items()
                ]
            left = [mutant for mutant in wanted if self.scenario and mutant.name not in self._by_training]
            if left and self.scenario is not None:
                self.listener.judging("training", len(left))
                records = Records(self.folder)
                training = ByTraining(self.scenario, workspace, path, self.engine, records, self.asked.seed,
                                      self.asked.timeout, self.asked.watch, training_heard)  # fmt: skip
                findings = training.prepare()
                if not report.faults:
                    alarms = [alarm for alarm in report.baseline.false_alarms if alarm.kind == "test"]
                    report.baseline, report.versions = findings.baseline, dict(findings.versions)
                    report.baseline.false_alarms += alarms
                training.judge(left)
                self._problems += training.problems
        except KeyboardInterrupt:
            self.interrupted = True
        return kept

    @cached_property
    def _guards(self) -> list[GuardCode]:
        return scope.guards_code(self.scenario, self.root, self._built) if self.scenario is not None else []

    @cached_property
    def _built(self) -> scope.Built:
        """The code that a ``build`` or a loop uses, from a clean run; empty if its class paths name the code.

        Raises:
            ScenarioError: The target can't be built.
            BaselineError: The clean run fails.
        """
        if self.scenario is None or (self.scenario.build is None and self.scenario.train is None):
            return scope.Built()
        try:
            self.engine.open(f"{self.scenario.name} as it is", self.scenario.for_victims())
            runs = CleanRuns(self.engine, Records(self.folder))
            (outcome,) = runs.run([runs.order("built", self.asked.seed, probe=True)]).values()
        except TargetError as error:
            raise self.scenario.problem(error.where, error.message, error.remedy) from None
        assert outcome.run is not None
        assert outcome.run.circumstances is not None
        said = outcome.run.circumstances.defined
        return scope.Built([file for file, _ in said["target"]], [(file, name) for file, name in said["guards"]])

    @property
    def _settings(self) -> Mutants:
        asked = self.scenario.mutants if self.scenario is not None else None
        return asked or Mutants()

    @property
    def _functions(self) -> Sequence[str]:
        """The globs over functions to mutate."""
        return self.asked.functions or self._settings.functions

    @property
    def _also_copied(self) -> list[str]:
        return [*self.asked.also_copy, *self._settings.also_copy]

    @property
    def _asks_tests(self) -> bool:
        return self.scenario is None or bool(self.asked.tests or self.scenario.tests)

    def _is_judged(self, mutant: Mutant) -> bool:
        by_tests = not self._asks_tests or mutant.name in self._by_tests
        return by_tests and (self.scenario is None or mutant.name in self._by_training)

    def _sources(self) -> list[str]:
        """Return the files to mutate, relative to the root."""
        paths = list(self.asked.paths)
        if not paths and self.scenario is not None:
            if not self._settings.paths:
                return scope.sources_of(self.scenario, self.root, self._built)
            paths = [self._path_of(index, path) for index, path in enumerate(self._settings.paths)]
        workspace = Workspace(self.root, self.folder)
        return [workspace.relative(file) for file in scope.files_at(paths)]

    def _path_of(self, index: int, path: str) -> Path:
        assert self.scenario is not None
        for folder in (Path.cwd(), self.root):
            if (folder / path).exists():
                return folder / path
        remedy = "Name a Python file or folder, from the folder that faultlab runs in or the project's root."
        raise self.scenario.problem(("mutants", "paths", index), f"no such file or folder: {path}", remedy)

    def _tests(self) -> list[str]:
        """Return pytest's arguments, as absolute paths; empty if pytest finds the tests itself."""
        if self.asked.tests:
            for test in self.asked.tests:
                if not Path(test.partition("::")[0]).exists():
                    raise UsageError(f"--tests {test}: no such file or folder")
            return [
                str(Path(test.partition("::")[0]).resolve()) + "".join(test.partition("::")[1:])
                for test in self.asked.tests
            ]
        return self.scenario.test_files if self.scenario is not None else []

    def _chosen(self, generated: generation.Generated, sources: Sequence[str]) -> list[Mutant]:
        self._changed = scope.changed_since(self.asked.since, self.root, sources) if self.asked.since else None
        found = scope.chosen(generated.mutants, self._functions, self._changed)
        if not found and self._changed is None:
            why = "mutmut finds nothing to change in" if not generated.mutants else "no matching function in"
            beyond = "".join(f"\n    {place}: {generated.unmutated[place]}" for place in self._unreached(generated))
            raise UsageError(f"{why} {', '.join(sources)}{beyond}")
        return self.asked.shard.share(found)

    def _unreached(self, generated: generation.Generated) -> list[str]:
        """Return the selected functions that mutmut can't change."""
        return [
            place
            for place, (file, function) in generated.unreached.items()
            if scope.is_chosen(file, function, self._functions, self._changed)
        ]

    def _circumstances(self, workspace: Workspace, tests: Sequence[str]) -> Circumstances:
        files = [path.relative_to(workspace.tree).as_posix() for path in workspace.tree.rglob("*") if path.is_file()]
        asked = (
            self.scenario.model_dump(mode="json", exclude={"gate", "faults", "tests", "mutants"})
            if self.scenario
            else {}
        )
        watched = [code.digests(self.root) for code in self._guards]
        settings = [self.asked.seed, self.asked.timeout, self.asked.watch.advised, store.versions()]
        judges = store.asked_tests(self.root, tests)
        training = store.digest([asked, watched, settings])
        judging = store.test_files(self.root, judges, files)
        # A survivor of tests that lacked their data has not been judged by them.
        judging["what is copied along"] = store.digest(sorted(workspace.extra(self._also_copied)))
        return Circumstances(judging, training, judges, self.asked.timeout)

    def _known_report(self) -> Report:
        """Return the campaign's report, to which the mutants are added, or a new one.

        Raises:
            InconclusiveError: The report was edited; written again, it would look like a run's.
        """
        file = self.asked.out / self.name / REPORT_FILE
        try:
            return evidence.read(file)
        except UsageError:  # none, or none that can be read
            project = within_repository(self.root)
            return Report(self.name, faultlab=__version__, target={"project": project} if project else {})

    def _summary(self, report: Report, generated: generation.Generated, sources: Sequence[str], kept: int,
                 seconds: float) -> Mutation:  # fmt: skip
        judges = ["tests"] * self._asks_tests + ["training"] * (self.scenario is not None)
        found = Mutation(
            mutmut=generated.version,
            files=list(sources),
            judges=judges,
            unmutated=dict(generated.unmutated),
            unreached=self._unreached(generated),
            notes=list(generated.notes),
            kept=kept,
            since=self.asked.since,
            shard=str(self.asked.shard),
            timing={"total": round(seconds, 3), "jobs": self.engine.jobs},
        )
        return mutation_scores.summed_up(found, report.mutants, report.by_mode(), index.modes())

    def _gate(self, report: Report) -> None:
        """Replace an earlier mutation run's reasons against the report."""
        assert report.mutation is not None
        reasons = list(self._problems)
        if self.interrupted:
            text = "mutants: interrupted: the verdicts so far are kept, and the same command continues from here"
            reasons.append(Reason(ReasonKind.MUTANTS_INTERRUPTED, text))
        # The gate of a campaign's report has this reason already.
        if not report.faults and (alarms := len(report.baseline.false_alarms)) > self._alarms_allowed:
            names = ", ".join(dict.fromkeys(alarm.name for alarm in report.baseline.false_alarms))
            text = f"mutants: {alarms} false alarms on the clean code, {self._alarms_allowed} allowed: {names}"
            reasons.append(Reason(ReasonKind.MUTANTS_FALSE_ALARMS, text))
        demands = report.demands or (self.scenario.demands() if self.scenario else Demands())
        limits = [self.scenario.gate.mutants if self.scenario else None, self.asked.fail_under]
        demanded = max((limit for limit in limits if limit is not None), default=None)
        report.demands = replace(demands, mutants=demanded)
        kept = [reason for reason in report.reasons if not reason.kind.of_mutants]
        if report.faults:  # the clean tests may have added alarms
            kept = [reason for reason in kept if reason.kind is not ReasonKind.FALSE_ALARMS] + check_alarms(report)
        report.reasons = [*kept, *check_mutants(report, demanded), *reasons]
        report.passed = not report.reasons

    def exit_code(self, report: Report) -> int:
        """Return the exit status: 0 passed, 1 not passed, 3 false alarms, 4 inconclusive, 130 interrupted."""
        mine = [reason for reason in report.reasons if reason.kind.of_mutants]
        if self.interrupted:
            return 130
        if len(report.baseline.false_alarms) > self._alarms_allowed:
            return 3
        if any(reason.proves_nothing for reason in mine):
            return 4
        return 1 if mine else 0

    @property
    def _alarms_allowed(self) -> int:
        return (self.scenario.gate.false_alarms if self.scenario else None) or 0


def _moved(workspace: Workspace, test: str) -> str:
    file, mark, one = test.partition("::")
    return f"{workspace.moved(file)}{mark}{one}"


def _without_tests(report: Report) -> list[Alert]:
    return [alarm for alarm in report.baseline.false_alarms if alarm.kind != "test"]
