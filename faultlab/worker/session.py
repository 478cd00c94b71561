"""One run of the target inside a victim's process, clean or with a fault, from its beginning or from a fork half-way.

A trunk is a clean session that leaves stems behind at the places it was told. Each stem is a copy of the process that
waits there; a victim born of one continues in the same session, at the same line, with another order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import active_children
from typing import Any

from faultlab.catalogue.injection_points import ModuleArguments
from faultlab.config.variations import NotVariedError
from faultlab.core.fault import Fault
from faultlab.core.notice import Notice, safe_text
from faultlab.core.orders import Order, Place
from faultlab.core.patching import Patches
from faultlab.core.resource_limits import private_memory
from faultlab.core.target_profile import Recon
from faultlab.core.trajectory import Trajectory
from faultlab.detectors import exceptions
from faultlab.detectors.advisory_guards import Advisers
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.frameworks.base import Assembly, Target, Training
from faultlab.frameworks.lightning.target import TargetError
from faultlab.frameworks.torch import replaced_parts
from faultlab.frameworks.torch.weights import digest, not_finite
from faultlab.injection import compilation, hooks, mutant_activation, registry
from faultlab.injection.armed_fault import Armed, BrokenInjector
from faultlab.injection.hooks import Site
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from faultlab.worker import origins, seeding
from faultlab.worker.entropy_draws import Draws
from faultlab.worker.shared_evaluation import SharedEvaluation

Send = Callable[[dict[str, Any]], None]
Stem = Callable[[Place], "tuple[Order, Send] | None"]


def carry_out(target: Target, order: Order, send: Send, stem: Stem | None = None) -> None:
    """Does what the order asks, in this process, and sends ``{"result": ...}``."""
    if order.examine:
        from faultlab.doctor.observing import Examined

        Examined(target, order, send).run()
    else:
        Session(target, order, send, stem).run()


class Session:
    """Runs one order against a target and sends the result; see `run`."""

    def __init__(self, target: Target, order: Order, send: Send, stem: Stem | None = None) -> None:
        self._target = target
        self._order = order
        self._send = send
        self._stem = stem
        self._framework = target.framework
        self._clock = self._framework.clock()
        self._warnings = Warnings(self._clock, order.root)
        self._observer = Observer(self._clock, self._warnings, self._framework.hooks_of)
        # As the trunk was told, of which victims are born with theirs.
        self._advisers = (
            Advisers(order.advice, self._clock, self._warnings, self._framework.hooks_of) if order.advice else None
        )
        self._fit_seconds = 0.0
        self._born: Place = "construct"
        self._unevaluated = ""
        self._in_place: dict[str, float] = {}
        self._trajectory = Trajectory()
        self._notices: list[Notice] = []
        self._draws = Draws(target.code) if order.traced else None
        self._armed: Armed | None = None
        self._companions: list[Armed] = []
        self._fault_patches = Patches()
        self._training: Training | None = None
        self._recon: Recon | None = None
        self._saved_at: set[int] = set()
        # All that is the user's: of faultlab's own folders the order's lies beside those of other runs.
        self._overlay = Overlay(self._root, [os.getcwd(), *target.code.folders], [os.path.dirname(order.root)])
        self._steps_begun = False
        self._unevaluated_best = ""
        self._imported_before = set(sys.modules) if order.probe else set()
        self._started = time.perf_counter()

    def run(self) -> None:
        """Carries the order out and sends ``{"result": ...}`` with all that was seen, or what kept it from running."""
        try:
            with contextlib.nullcontext() if self._order.compiles else compilation.lifted():
                result = self._run()
        except NotVariedError as error:
            result = {"not_varied": str(error)}
        except TargetError as error:
            result = {"target_error": {"where": error.where, "message": error.message, "remedy": error.remedy}}
        except BrokenInjector as error:
            result = {"broken": str(error)}
        self._send({"result": {**result, "seconds": time.perf_counter() - self._started}})
        # Runs that begin half-way may write to it by other ways than Python's; it goes with the engine.
        if not self._order.stems:
            shutil.rmtree(self._order.root, ignore_errors=True)

    def _run(self) -> dict[str, Any]:
        _clear(self._order.root)
        self._switch()
        with Patches() as confined:
            # Until the end, and once: forked runs find all of it as it is.
            file_calls.take_over(confined, self._overlay)
            error = self._train(confined)
            if self._training is not None:
                self._trajectory.digest = digest(self._training.module)
                self._trajectory.not_finite = not_finite(self._training.module)
                if error is None:
                    self._evaluate()
        return self._result()

    def _train(self, confined: Patches) -> BaseException | None:
        """Builds and trains; returns what ended it."""
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
                profiling = self._training.profiling() if self._order.probe else None
                with profiling.watching() if profiling else contextlib.nullcontext():
                    error = self._fit()
                    if error is None and self._order.reload and not (self._armed and self._armed.broken):
                        error = self._go_on()
                if profiling and error is None:
                    self._recon = self._training.profile(profiling)
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
            if self._order.fault and _registered(self._order.fault).mode.point.attach_at == "construct":
                self._arm()
            self._training = self._build_target({}, interrupted=self._order.reload)
        except (TargetError, NotVariedError, BrokenInjector):
            raise
        except BaseException as error:
            return error
        return None

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> Training:
        import torch

        with seeding.shifted(self._order.seed):
            built = self._target.build(self._order.root, self._order.flags, self._order.variation)
        for name, guard in built.guards.items():
            self._observer.observe(guard, name)
        known = self._order.recon or {}
        best = known.get("monitor", ""), known.get("monitor_mode", "min")
        training = self._framework.assemble(
            built,
            Assembly(
                root=self._order.root,
                trajectory=self._trajectory,
                clock=self._clock,
                changed=changed,
                beside=self._advisers.hooks() if self._advisers else None,
                first_batch=self._draws.first_batch if self._draws else None,
                checkpoints=best if self._order.reload else None,
                interruption=(self._epochs, self._interrupted) if interrupted else None,
            ),
        )
        for folder in training.named_folders():
            self._overlay.cover(folder)
        # User code may have asked for more, and a fork after a multi-threaded operation hangs.
        torch.set_num_threads(1)
        return training

    def _root(self) -> str:
        return self._order.root

    def _interrupted(self) -> None:
        self._observer.interrupted()
        if self._advisers is not None:
            self._advisers.interrupted()

    def _go_on(self) -> BaseException | None:
        self._observer.goes_on()
        if self._advisers is not None:
            self._advisers.goes_on()
        try:
            assert self._training is not None
            self._training = self._training.resume(self._epochs, self._build_target)
            self._evaluate_best()
        except BrokenInjector:
            return None
        except BaseException as error:
            return error
        return None

    def _evaluate_best(self) -> None:
        assert self._training is not None
        if not self._trajectory.validation_batches or (self._order.recon or {}).get("unevaluated"):
            return
        try:
            self._training.evaluate_best(self._build_target)
        except Exception as error:
            if self._order.fault:
                raise
            # The training itself goes on from its checkpoints, and is judged by that.
            print("the best checkpoint could not be evaluated:", exceptions.text(error), flush=True)
            self._unevaluated_best = f"{type(error).__name__}: {safe_text(error)}".partition("\n")[0]

    def _fit(self) -> BaseException | None:
        assert self._training is not None
        self._reach("fit")
        if self._order.fault and self._armed is None:
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
    def _epochs(self) -> int:
        return int((self._order.recon or {}).get("epochs", 0))

    def _seed(self) -> None:
        seeding.seed(self._order.seed)

    def _reach(self, place: Place) -> None:
        """Leaves a stem here if the order asks for one; in a victim born of it, takes up the new order."""
        self._steps_begun = self._steps_begun or place != "fit"
        if self._stem is None or place not in self._order.stems or not _can_fork():
            return
        old_root = self._order.root
        # As it is now: the trunk writes on, and tidies up at its end, while victims are still being born of the stem.
        written = f"{old_root}-at-{place}"
        if os.path.isdir(old_root):
            shutil.copytree(old_root, written, dirs_exist_ok=True)
        born = self._stem(place)
        if born is None:
            return
        self._order, self._send = born
        self._born = place
        self._warnings.root = self._order.root
        self._started = time.perf_counter()
        _clear(self._order.root)
        if os.path.isdir(written):
            shutil.copytree(written, self._order.root, dirs_exist_ok=True)
        self._overlay.succeed(old_root)
        assert self._training is not None
        self._training.relocate(old_root, self._order.root)
        self._switch()
        if self._order.fault:
            self._arm()

    def _switch(self) -> None:
        """Switches on the source mutant that the order asks for, and all others off."""
        executions, mutant = self._target.executions, self._order.mutant
        if executions is None:
            return
        executions.where = self._place
        mutant_activation.switch_to(
            mutant["switch"] if mutant else mutant_activation.STATS if self._order.probe else ""
        )
        if mutant:
            self._send({"acting": mutant["first_step"]})

    def _place(self) -> str:
        """The last place before what runs now at which a copy of this run could be made."""
        if self._training is None:
            return "construct"
        return str(self._clock.step) if self._steps_begun else "fit"

    def _arm(self) -> None:
        assert self._order.fault is not None
        self._armed, *self._companions = [self._armed_with(text) for text in (self._order.fault, *self._order.also)]
        if self._advisers is not None:
            armed = (self._armed, *self._companions)
            self._advisers.rest(frozenset.intersection(*(one.mode.point.leaves for one in armed)))

    def _armed_with(self, text: str) -> Armed:
        assert self._order.recon is not None
        recon = Recon.from_json(self._order.recon)
        armed = Armed(
            Fault.parse(text), _registered(text), self._clock, recon, lambda step: self._send({"acting": step})
        )
        site = Site(type(None))
        if self._training is not None:
            module = self._training.module
            armed.ctx.module = module
            site = Site(type(module), module)
        hooks.install(armed, self._fault_patches, site)
        return armed

    def _ended_by(self, error: BaseException) -> None:
        notice = exceptions.classify(error, self._clock.step, self._target.code, self._flags)
        print(exceptions.text(error), flush=True)
        if isinstance(error, SystemExit):
            self._trajectory.end = "exited"
            self._trajectory.exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if not self._trajectory.exit_code:
                return
        else:
            self._trajectory.end = "raised"
            self._trajectory.exit_code = 1
        self._notices.append(notice)

    @property
    def _flags(self) -> tuple[str, ...]:
        return tuple(self._target.flags) if self._order.flags else ()

    def _evaluate(self) -> None:
        """Evaluate the final weights anew, by code that the fault has no hand in."""
        assert self._training is not None
        if self._order.echo:
            print("faultlab: the training is over; the final weights are evaluated by themselves", flush=True)
        armed = self._armed if self._armed is not None and self._armed.activations else None
        if armed is not None and isinstance(armed.mode.point, ModuleArguments):
            self._seed()
            module = self._training.module
            self._training.module = replaced_parts.rebuilt(module, lambda: self._target.build(self._order.root).module)
        module = self._training.module
        parts = replaced_parts.at_the_end(module, armed.replaced, armed.recon) if armed is not None else {}
        if parts:
            if not all(replaced_parts.inside_of_a_loss(module, path) for path in parts):
                self._in_place = self._evaluated(armed)
            if not replaced_parts.put_back(module, parts):
                self._trajectory.final = dict(self._in_place)
                return
        self._trajectory.final = self._evaluated(armed)

    def _evaluated(self, armed: Armed | None) -> dict[str, float]:
        """The metrics of the module as it is, or what another run of the campaign found for the same weights."""
        assert self._training is not None
        clean = self._order.recon or {}
        validates = bool(self._trajectory.validation_batches or clean.get("validation_batches"))
        # In the precision that the fault has left the weights in.
        settings = self._training.evaluation_settings(clean.get("precision"))
        circumstances = (
            self._target,
            self._order.seed,
            self._order.variation,
            validates,
            settings,
            self._training.module,
        )
        shared = SharedEvaluation(self._order.shared, self._trajectory.digest, *circumstances)
        # What nothing was changed in has to show for itself that it is evaluated like the clean run.
        if armed is not None and (known := shared.read()) is not None:
            return known
        self._seed()
        try:
            found = self._training.evaluate(validates, settings)
        except BaseException as error:  # the fault's lasting damage, or a module that only validates within fit
            print("the independent evaluation failed:", exceptions.text(error), flush=True)
            self._unevaluated = f"{type(error).__name__}: {safe_text(error)}".partition("\n")[0]
            return {}
        shared.write(found)
        return found

    def _result(self) -> dict[str, Any]:
        armed, mutant = self._armed, self._order.mutant or {}
        return {
            "trajectory": self._trajectory.to_json(),
            "notices": [
                replace(notice, message=self._warnings.told(notice.message)).to_json()
                for notice in [*self._observer.notices, *self._observer.of_interruption, *self._notices]
            ],
            "of_interruption": [
                replace(notice, message=self._warnings.told(notice.message)).to_json()
                for notice in self._observer.of_interruption
            ],
            "warnings": [{"key": key, "step": step, "text": text} for key, (step, text) in self._warnings.seen.items()],
            "activations": armed.activations if armed else mutant.get("calls", 0),
            "first_step": armed.first_step if armed else mutant.get("first_step"),
            "broken": armed.broken if armed else None,
            "saves": len(self._saved_at),
            "unevaluated_best": self._unevaluated_best,
            "born": self._born,
            "unevaluated": self._unevaluated,
            "in_place": self._in_place,
            "draws": self._draws.to_json(text for _, text in self._warnings.seen.values()) if self._draws else None,
            "advice": self._advisers.to_json() if self._advisers else None,
            "fit_seconds": self._fit_seconds,
            "guards": [*(self._training.guards if self._training else ()), *self._flags],
            "recon": self._recon.to_json() if self._recon else None,
            "versions": self._training.versions() if self._order.probe and self._training else None,
            "private": private_memory() if self._order.probe else None,
            "imported": [m for m in sys.modules if m not in self._imported_before] if self._order.probe else None,
            "sources": origins.digest(self._training) if self._order.probe else None,
            "defined": origins.defined(self._training) if self._order.probe else None,
        }


def _registered(fault: str) -> registry.Registered:
    return registry.load()[Fault.parse(fault).mode]


def _clear(folder: str) -> None:
    """Makes an empty folder: a run that was killed has left its own, and is repeated there."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)


def _can_fork() -> bool:
    """A process with threads, live workers or a GPU in use can't be copied whole."""
    import torch

    on_gpu: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    native = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else [""]
    return threading.active_count() == len(native) == 1 and not active_children() and not on_gpu
