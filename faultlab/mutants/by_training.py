"""A scenario's guards as the judge of mutants, which train. This is the driver's side.

The mutated tree is imported once, clean; every mutant runs in a copy of that process, or of the training at the step
before its function first runs. A mutant whose function runs at import gets its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign import verdict
from faultlab.campaign.clean_runs import SNAPSHOT_RUN, order
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.preparation import Findings, Preparation
from faultlab.campaign.snapshot_run import SnapshotRun
from faultlab.campaign.verdict import Twin
from faultlab.catalogue.docstring_sections import Sections
from faultlab.catalogue.effects import Effects
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.config.scenario import Scenario
from faultlab.config.selection import Selection
from faultlab.core.detection import Detection
from faultlab.core.orders import Order, Place, SwitchedMutant, Train
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.records import Records
from faultlab.core.report import SOURCE, FaultResult, Status
from faultlab.core.results import Outcome
from faultlab.engines import Engine
from faultlab.errors import TargetError
from faultlab.injection.mutant_activation import AT_IMPORT, Ran
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import Workspace

_FACTOR, _FLOOR = 4.0, 5.0
_FACTOR_ALONE, _FLOOR_ALONE = 10.0, 10.0


def mode_of(mutant: Mutant) -> FailureMode:
    """Return a failure mode that describes a mutant, for which the catalogue has no entry."""
    kind = mutant.operator.replace(" ", "-")
    sections = Sections(f"`{mutant.before}` becomes `{mutant.after}` in {mutant.function}.")
    return FailureMode(f"{SOURCE}.{kind}", InjectionPoint(), "major", Effects.parse("silent"), (), sections)


@dataclass
class ByTraining:
    """A judge that runs a scenario's guards. ``heard`` is called with each verdict."""

    scenario: Scenario
    workspace: Workspace
    path: Sequence[str]
    engine: Engine
    records: Records
    seed: int
    timeout: float | None
    watch: Watch
    heard: Callable[[str, FaultResult], None]
    modules: dict[str, str] = field(default_factory=dict)
    findings: Findings | None = None
    problems: list[Reason] = field(default_factory=list)

    def prepare(self) -> Findings:
        """Run the mutated tree with all mutants off, and return the findings.

        Raises:
            ScenarioError: The target can't be built.
            BaselineError: The clean run fails.
        """
        ran = self.workspace.folder / "training.ran"
        ran.unlink(missing_ok=True)
        try:
            self.engine.open(f"{self.scenario.name} mutated", self._target(ran))
            preparation = Preparation(self.scenario, self.engine, self.records, self.seed, self.watch)
            self.findings = preparation.take(Selection(select=()))
        except TargetError as error:
            raise self.scenario.problem(error.where, error.message, error.remedy) from None
        self._places = self._locate(Ran.read(ran))
        return self.findings

    def judge(self, mutants: Sequence[Mutant]) -> None:
        """Judge the mutants; call `prepare` first."""
        by_name = {mutant.name: mutant for mutant in mutants}
        at_import = [mutant for mutant in mutants if self._runs_at_import(mutant)]
        orders: list[Order] = []
        for mutant in mutants:
            if not self._found(mutant):
                reason = "its function never runs in the training"
                self.heard(mutant.name, self._result(mutant, Status.NOT_ACTIVATED, reason))
            elif mutant not in at_import:
                orders.append(self._order(mutant))
        late = {one.id: one for one in orders}
        dead = self._run(orders, by_name, self.engine, late)
        for one in late.values():
            # It may be late only because the machine is under load.
            allowed = self._deadline(_FACTOR_ALONE, _FLOOR_ALONE)
            dead += self._run([replace(one, at="construct", deadline=allowed)], by_name, self.engine)
        # A copy may die because it is a copy, or because other processes took the memory.
        if fresh := [*at_import, *dead]:
            self._run_fresh(fresh, by_name)

    def _run(
        self,
        orders: Sequence[Order],
        by_name: dict[str, Mutant],
        engine: Engine,
        late: dict[str, Order] | None = None,
    ) -> list[Mutant]:
        """Judge the orders' outcomes, and return the mutants whose process died.

        If ``late`` is given, late orders are not judged, and all others are removed from it.
        """
        assert self.findings is not None
        dead = []
        snapshot_run = SnapshotRun(engine, self.findings.twin, self.seed, self.findings.advice.order)
        for outcome, twin in snapshot_run.run(orders):
            if outcome.id == SNAPSHOT_RUN:
                self._check_snapshot_run(outcome)
                continue
            if late is not None and outcome.timed_out:
                continue
            if late is not None:
                del late[outcome.id]
            if outcome.result is None and not outcome.timed_out and not outcome.lost and engine is self.engine:
                dead.append(by_name[outcome.id])
                continue
            self.records.log(outcome)
            self.heard(outcome.id, self._judged(by_name[outcome.id], outcome, twin))
        return dead

    def _check_snapshot_run(self, outcome: Outcome) -> None:
        assert self.findings is not None
        trajectory = outcome.trajectory
        if trajectory is None or not self.findings.twin.same_run(trajectory, certain=True):
            text = "mutants: inconclusive: the clean run differs from the clean run before it"
            self.problems.append(Reason(ReasonKind.MUTANTS_CANARY, text))

    def _run_fresh(self, mutants: Sequence[Mutant], by_name: dict[str, Mutant]) -> None:
        fresh = engines.create("spawn", self.engine.jobs)
        try:
            fresh.open(self.scenario.name, self._target(self.workspace.folder / "fresh.ran"))
            allowed = self._deadline(_FACTOR_ALONE, _FLOOR_ALONE)
            orders = [replace(self._order(mutant), at="construct", deadline=allowed, root="") for mutant in mutants]
            safe = [replace(one, root=str(Path(fresh.root) / f"mutant-{n}")) for n, one in enumerate(orders)]
            self._run(safe, by_name, fresh)
        finally:
            fresh.close()

    def _target(self, ran: Path) -> dict[str, Any]:
        """Return the scenario for victims, with the mutated tree instead of the user's."""
        plain = self.scenario.for_victims()
        cwd = self.workspace.moved(str(Path.cwd()))
        theirs = [self.workspace.moved(entry) for entry in plain["path"]]
        inside = Path(cwd).is_relative_to(self.workspace.tree)
        mutated = {"cwd": cwd if inside else str(self.workspace.tree), "ran": str(ran)}
        return {**plain, "path": list(dict.fromkeys([*self.path, *theirs])), "mutated": mutated}

    def _locate(self, ran: Ran) -> dict[tuple[str, str], list[str]]:
        tree = self.workspace.tree.resolve()
        files = {
            module: Path(file).resolve().relative_to(tree).as_posix()
            for module, file in ran.modules.items()
            if Path(file).resolve().is_relative_to(tree)
        }
        # A file's mutants are switched by the first of its module names.
        self.modules = {file: module for module, file in reversed(files.items())}
        places: dict[tuple[str, str], list[str]] = {}
        for function, found in ran.places.items():
            module, _, mangled = function.rpartition(".")
            if module in files:
                places.setdefault((files[module], mangled), []).extend(found)
        return places

    def _found(self, mutant: Mutant) -> list[str]:
        return self._places.get((mutant.file, mutant.mangled), [])

    def _runs_at_import(self, mutant: Mutant) -> bool:
        return AT_IMPORT in self._found(mutant)

    def _order(self, mutant: Mutant) -> Order:
        assert self.findings is not None
        place = self._place(mutant)
        switched = SwitchedMutant(
            mutant.switch(self.modules[mutant.file]),
            first_step=place if isinstance(place, int) else 0,
            calls=max(1, len(self._found(mutant))),
        )
        task = Train(self.seed, profile=self.findings.profile, advice=self.findings.advice.order, mutant=switched)
        return order(self.engine, mutant.name, task, deadline=self._deadline(_FACTOR, _FLOOR), at=place)

    def _place(self, mutant: Mutant) -> Place:
        """Return the last place before the function first runs."""
        found = self._found(mutant)
        for early in ("construct", "fit"):
            if early in found:
                return early
        steps = [int(place) for place in found if place.isdigit()]
        return min(steps, default="construct")

    def _deadline(self, factor: float, floor: float) -> float:
        assert self.findings is not None
        return self.timeout or max(floor, factor * self.findings.baseline.seconds)

    def _judged(self, mutant: Mutant, outcome: Outcome, twin: Twin) -> FaultResult:
        assert self.findings is not None
        broken = outcome.target_error
        if broken is not None:
            # With the mutant, the user's own code builds something that can't be trained.
            found = Detection("framework", "target", 0, 0, False, broken.message)
            return self._result(mutant, Status.DETECTED, detected_by=[found], activations=1, first_step=0)
        mode, advice = mode_of(mutant), self.findings.advice
        result = verdict.judge(mutant.name, mode, outcome, twin)
        if result.status is Status.TIMEOUT:
            hung = Detection("process", "deadline", outcome.acting or 0, 0, False, f"it never ends: {result.reason}")
            return replace(result, status=Status.DETECTED, reason="", detected_by=[hung])
        if result.status is Status.NO_EFFECT and not twin.deterministic:
            # An equivalent mutant trains bit for bit the same, which here not even clean runs do.
            result = replace(result, status=Status.SILENT, reason="the training deviates no further than clean runs do")
        advised = advice.judge(mutant.name, mode, outcome)
        if result.status in (Status.SILENT, Status.WARNED) and advised:
            result = replace(result, prescription=advice.prescription(mutant.name))
        return result

    def _result(self, mutant: Mutant, status: Status, reason: str = "", **more: Any) -> FaultResult:
        mode = mode_of(mutant)
        return FaultResult(mutant.name, mode.id, SOURCE, mode.severity, status, reason, **more)
