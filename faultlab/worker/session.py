"""One run of the target in a victim's process, clean or faulted, from its beginning or from a fork midway.

A snapshot run is a clean session that leaves snapshots at the places of its order. Each snapshot is a copy of the
process that waits there; a victim forked from it continues the same session, at the same line, with another order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from faultlab.config.variations import NotVariedError
from faultlab.core.alert import Alert, safe_text
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Place, Train
from faultlab.core.patching import Patches
from faultlab.core.results import Broken, NotVaried, Result, RunResult, ShownWarning, TargetFailed, message_of
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.detectors import exceptions
from faultlab.detectors.advisory_guards import Advisers
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.errors import TargetError
from faultlab.frameworks.base import Assembly, Target, Training, UnusableCheckpointError
from faultlab.frameworks.torch.weights import digest, not_finite, states
from faultlab.injection import compilation, hooks, mutant_activation, registry
from faultlab.injection.armed_fault import Armed, BrokenInjector
from faultlab.injection.hooks import Site
from faultlab.ranks.gang import Gang
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from faultlab.worker import origins, seeding, snapshots
from faultlab.worker.entropy_draws import Draws
from faultlab.worker.final_evaluation import FinalEvaluation

Send = Callable[[dict[str, Any]], None]
Snapshot = Callable[[Place], "tuple[Order, Send] | None"]


class Session:
    """Runs one order against a target and sends the result; see `run`."""

    def __init__(self, target: Target, order: Order, send: Send, snapshot: Snapshot | None = None) -> None:
        self._target = target
        self._order = order
        self._task = _training(order)
        self._send = send
        self._snapshot = snapshot
        self._framework = target.framework
        self._clock = self._framework.clock()
        self._warnings = Warnings(self._clock, order.root)
        self._observer = Observer(self._clock, self._warnings, self._framework.hooks_of)
        # As the snapshot run was ordered: its victims inherit these.
        advice, hooks_of = self._task.advice, self._framework.hooks_of
        self._advisers = Advisers(advice, self._clock, self._warnings, hooks_of) if advice else None
        self._fit_seconds = 0.0
        self._born: Place = "construct"
        self._unevaluated = self._unevaluated_best = self._unusable = ""
        self._in_place: dict[str, float] = {}
        self._trajectory = Trajectory()
        self._alerts: list[Alert] = []
        self._draws = Draws(target.code) if self._task.traced else None
        self._armed: Armed | None = None
        self._companions: list[Armed] = []
        self._fault_patches = Patches()
        self._training: Training | None = None
        self._profile: TargetProfile | None = None
        self._saved_at: set[int] = set()
        # Everything of the user's. Of faultlab's own, the order's folder lies beside those of other runs.
        self._root = lambda: self._order.root
        self._overlay = Overlay(self._root, [os.getcwd(), *target.code.folders], [os.path.dirname(order.root)])
        self._steps_begun = False
        self._imported_before = set(sys.modules) if self._task.probe else set()
        self._started = time.perf_counter()
        self._gang = Gang.of(order.rank, order.ranks, lambda: self._clock.step, self._framework.joins)
        self._states: dict[str, str] = {}
        self._waited = ""

    def run(self) -> None:
        """Execute the order and send the result, or the reason why it could not run."""
        result: Result
        try:
            with contextlib.nullcontext() if self._task.compiles else compilation.lifted():
                result = self._run()
        except NotVariedError as error:
            result = NotVaried(str(error))
        except TargetError as error:
            result = TargetFailed(error)
        except BrokenInjector as error:
            result = Broken(str(error))
        self._send(message_of(result))
        # Runs that are forked from it may write there past Python's file functions, and other ranks may still write;
        # the engine removes it.
        if not self._task.snapshots and self._gang is None:
            shutil.rmtree(self._order.root, ignore_errors=True)

    def _run(self) -> Result:
        self._meet(lambda: snapshots.empty(self._order.root))
        self._switch()
        with Patches() as confined:
            # Once, and until the end: forked runs inherit it.
            file_calls.take_over(confined, self._overlay)
            error = self._train(confined)
            if self._gang is not None:
                # What follows is each rank's own: no rank may wait for another.
                self._gang.part(self._training.module if self._training is not None else None, error is None)
            if self._training is not None and self._training.module is not None:
                if self._gang is not None:
                    self._states = states(self._training.module)
                self._trajectory.digest = digest(self._training.module)
                self._trajectory.not_finite = not_finite(self._training.module)
                if error is None and self._order.rank == 0:
                    self._evaluate()
        return self._result()

    def _meet(self, first: Callable[[], None]) -> None:
        """Prepare the folder of the run, as its only rank or as the first of several, which then meet."""
        if self._order.rank == 0:
            first()
        if self._gang is not None:
            self._gang.meet(self._order.meeting, self._order.deadline)

    def _train(self, confined: Patches) -> BaseException | None:
        """Build and train; return the exception that ended it."""
        with Patches() as patches, self._warnings.listening():
            if self._draws is not None:
                self._draws.attach(patches)
            with self._overlay.preparing():
                error = self._build()
            if error is None:
                assert self._training is not None
                self._training.confine(confined, self._overlay, self._root, self._saved_at)
                self._training.watch_loggers(patches)
                if self._draws is not None:
                    self._draws.built(self._training.module)
                self._clock.attach(patches)
                self._clock.on_step.append(self._reach)
                profiling = self._training.profiling() if self._task.probe else None
                with profiling.watching() if profiling else contextlib.nullcontext():
                    error = self._fit()
                    if error is None and self._task.reload and not (self._armed and self._armed.broken):
                        error = self._resume()
                if profiling and error is None:
                    self._profile = self._training.profile(profiling)
            if error is not None:
                self._ended_by(error)
            for armed in [*filter(None, [self._armed]), *self._companions]:
                armed.enabled = False
            self._fault_patches.close()
            if self._target.executions is not None:
                mutant_activation.switch_to("")
        return error

    def _build(self) -> BaseException | None:
        self._seed()
        try:
            fault = self._task.fault
            if fault is not None and registry.load()[fault.mode].mode.point.attach_at == "construct":
                self._arm()
            self._training = self._build_target({}, interrupted=self._task.reload)
        except (TargetError, NotVariedError, BrokenInjector):
            raise
        except BaseException as error:
            return error
        return None

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> Training:
        import torch

        with seeding.shifted(self._task.seed):
            built = self._target.build(self._order.root, self._task.flags, self._task.variation)
        for name, guard in built.guards.items():
            self._observer.observe(guard, name)
        training = self._framework.assemble(
            built,
            Assembly(
                root=self._order.root,
                trajectory=self._trajectory,
                clock=self._clock,
                changed=changed,
                observe=self._observer.observe,
                beside=self._advisers.hooks() if self._advisers else None,
                first_batch=self._draws.first_batch if self._draws else None,
                checkpoints=(self._known.monitor, self._known.monitor_mode) if self._task.reload else None,
                interruption=(self._known.epochs, self._interrupted) if interrupted else None,
            ),
        )
        for folder in training.named_folders():
            self._overlay.cover(folder)
        # User code may have set more, and a fork after a multi-threaded operation hangs.
        torch.set_num_threads(1)
        return training

    def _interrupted(self) -> None:
        self._observer.interrupted()
        if self._advisers is not None:
            self._advisers.interrupted()

    def _resume(self) -> BaseException | None:
        self._observer.goes_on()
        if self._advisers is not None:
            self._advisers.goes_on()
        try:
            assert self._training is not None
            self._training = self._training.resume(self._known.epochs, self._build_target)
            self._evaluate_best()
        except BrokenInjector:
            return None
        except UnusableCheckpointError as error:
            if self._task.fault is None:
                return error.__cause__
            print(exceptions.text(error), flush=True)
            self._unusable = str(error)
        except BaseException as error:
            return error
        return None

    def _evaluate_best(self) -> None:
        assert self._training is not None
        if not self._trajectory.validation_batches or self._known.unevaluated:
            return
        try:
            self._training.evaluate_best(self._build_target)
        except Exception as raised:
            if self._task.fault is not None:
                raise
            error = raised.__cause__ if isinstance(raised, UnusableCheckpointError) else raised
            assert error is not None
            # The training itself continues from its checkpoints, and is judged by that.
            print("the best checkpoint could not be evaluated:", exceptions.text(error), flush=True)
            self._unevaluated_best = f"{type(error).__name__}: {safe_text(error)}".partition("\n")[0]

    def _fit(self) -> BaseException | None:
        assert self._training is not None
        self._reach("fit")
        if self._task.fault is not None and self._armed is None:
            self._arm()
        begun = time.perf_counter()
        try:
            self._training.run()
        except BrokenInjector:
            return None
        except BaseException as error:
            return error
        finally:
            self._fit_seconds = time.perf_counter() - begun
        return None

    @property
    def _known(self) -> TargetProfile:
        """The target profile; an empty one in a probing run."""
        return self._task.profile or TargetProfile()

    def _seed(self) -> None:
        seeding.seed(self._task.seed)

    def _reach(self, place: Place) -> None:
        """Leave a snapshot here if the order asks for one; in a victim forked from it, take over the new order."""
        self._steps_begun = self._steps_begun or place != "fit"
        if self._snapshot is None or place not in self._task.snapshots:
            return
        if obstacle := snapshots.obstacle():
            self._send({"note": {"unforked": obstacle if obstacle != snapshots.WORKERS else ""}})
            return
        old_root = self._order.root
        # All ranks write there; the first keeps the files for all.
        written = snapshots.keep_files(old_root, place) if self._order.rank == 0 else ""
        born = self._snapshot(place)
        if born is None:
            return
        self._order, self._send = born
        self._task = _training(self._order)
        self._born = place
        self._warnings.root = self._order.root
        self._started = time.perf_counter()
        self._meet(lambda: snapshots.take_files(written, self._order.root))
        self._overlay.succeed(old_root)
        assert self._training is not None
        self._training.relocate(old_root, self._order.root)
        self._switch()
        if self._task.fault is not None:
            self._arm()

    def _switch(self) -> None:
        """Switch on the source mutant that the order names, and all others off."""
        executions, mutant = self._target.executions, self._task.mutant
        if executions is None:
            return
        executions.where = self._place
        mutant_activation.switch_to(mutant.switch if mutant else mutant_activation.STATS if self._task.probe else "")
        if mutant:
            self._send({"acting": mutant.first_step})

    def _place(self) -> str:
        """Return the last place before the current code where this run could be forked."""
        if self._training is None:
            return "construct"
        return str(self._clock.step) if self._steps_begun else "fit"

    def _arm(self) -> None:
        self._armed, *self._companions = map(self._armed_with, self._task.faults)
        if self._advisers is not None:
            armed = (self._armed, *self._companions)
            self._advisers.rest(frozenset.intersection(*(one.mode.point.leaves for one in armed)))

    def _armed_with(self, fault: Fault) -> Armed:
        assert self._task.profile is not None
        given = registry.load()[fault.mode], self._clock, self._task.profile
        armed = Armed(fault, *given, lambda step: self._send({"acting": step}))
        site = Site(type(None))
        if self._training is not None:
            training = self._training
            # A loop written by hand makes its module after the fault is armed, unless it was forked at a step.
            armed.ctx.find_module = lambda: training.module
            if (module := training.module) is not None:
                armed.ctx.module = module
                site = Site(type(module), module)
        hooks.install(armed, self._fault_patches, site)
        return armed

    def _ended_by(self, error: BaseException) -> None:
        print(exceptions.text(error), flush=True)
        if isinstance(error, SystemExit):
            self._trajectory.end = "exited"
            self._trajectory.exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if not self._trajectory.exit_code:
                return
        else:
            self._trajectory.end, self._trajectory.exit_code = "raised", 1
            if self._gang is not None:
                self._waited = self._gang.waited(error)
        if not self._waited:
            # A fault may have acted in the batch of a step that was never begun, when it was asked for.
            step = max(self._clock.step, (self._armed.first_step if self._armed else None) or 0)
            self._alerts.append(exceptions.classify(error, step, self._target.code, self._flags))

    @property
    def _flags(self) -> tuple[str, ...]:
        return tuple(self._target.flags) if self._task.flags else ()

    def _evaluate(self) -> None:
        """Evaluate the final weights again, by code that the fault does not affect."""
        assert self._training is not None
        acted = self._armed if self._armed is not None and self._armed.activations else None
        evaluation = FinalEvaluation(self._target, self._training, self._trajectory, self._task, acted,
                                     self._order.root, self._order.shared, bool(self._order.echo))  # fmt: skip
        self._trajectory.final = evaluation.take()
        self._in_place, self._unevaluated = evaluation.in_place, evaluation.failed

    def _result(self) -> Result:
        return self._run_result()

    def _run_result(self) -> RunResult:
        armed, mutant = self._armed, self._task.mutant
        activations, first_step = (mutant.calls, mutant.first_step) if mutant else (0, None)
        if armed:
            activations, first_step = armed.activations, armed.first_step
        probed = self._task.probe
        return RunResult(
            trajectory=self._trajectory,
            alerts=self._normalized([*self._observer.alerts, *self._observer.of_interruption, *self._alerts]),
            of_interruption=self._normalized(self._observer.of_interruption),
            warnings=[ShownWarning(key, step, text) for key, (step, text) in self._warnings.seen.items()],
            activations=activations,
            first_step=first_step,
            broken=(armed.broken if armed else None) or "",
            saves=len(self._saved_at),
            born=self._born,
            unevaluated=self._unevaluated,
            unevaluated_best=self._unevaluated_best,
            unusable=self._unusable,
            in_place=self._in_place,
            draws=self._draws.to_json(text for _, text in self._warnings.seen.values()) if self._draws else None,
            advice=self._advisers.advisory() if self._advisers else None,
            guards=[*(self._training.guards if self._training else ()), *self._flags],
            profile=self._profile,
            circumstances=origins.circumstances(self._training, self._imported_before) if probed else None,
            states=self._states,
            waited=self._waited,
            fit_seconds=self._fit_seconds,
            seconds=time.perf_counter() - self._started,
        )

    def _normalized(self, alerts: Iterable[Alert]) -> list[Alert]:
        return [replace(alert, message=self._warnings.told(alert.message)) for alert in alerts]


def _training(order: Order) -> Train:
    if order.training is None:
        raise TypeError(f"{order.id} is not an order to train")
    return order.training
