"""In the victim: observes the user's training while it runs. The observations go to the driver as plain data.

``seen`` has: ``cls`` (name, file, line, lineage), ``step`` (the kind of training_step), ``facts`` of the source,
``trainer`` (settings), ``loader`` and ``loaders`` (for training), and after the run ``calls`` (by hook), ``outputs``
(of training_step, by kind), ``skipped`` and ``stopped`` (owner, hook, step), ``said`` (Lightning's messages about
the end), ``error``, ``swallowed`` (see `faultlab.doctor.swallowing`), ``parameters``, ``losses``, ``schedulers``,
``cut`` (whether the doctor has ended it), and the keys that `faultlab.doctor.course` fills in.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import linecache
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

from faultlab.core import packages
from faultlab.core.alert import safe_text
from faultlab.core.orders import Examine, Order
from faultlab.core.patching import Patches
from faultlab.core.results import ExaminedRun, Result
from faultlab.doctor import anatomy, hang_stack, planned, switches, updates, whole_files
from faultlab.doctor.checkpoint import resumed_from
from faultlab.doctor.course import Course
from faultlab.doctor.experiments.plain_loss import PlainLoss
from faultlab.doctor.experiments.presence import Presence
from faultlab.doctor.meddling import Meddling
from faultlab.doctor.swallowing import Swallowing
from faultlab.frameworks.base import Target
from faultlab.frameworks.lightning import loaded_weights, namespaces, private_api
from faultlab.frameworks.lightning.seams.callbacks import named_callbacks, own_hooks
from faultlab.frameworks.lightning.target import Built
from faultlab.frameworks.lightning.training import LightningTraining
from faultlab.injection import compilation
from faultlab.worker.session import Send, Session

_SETTINGS = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "limit_train_batches",
    "limit_val_batches",
    "fast_dev_run",
    "overfit_batches",
    "num_sanity_val_steps",
    "val_check_interval",
    "check_val_every_n_epoch",
    "accumulate_grad_batches",
)


def examine(target: Target, order: Order, send: Send) -> None:
    """Execute an order to examine a training."""
    Examined(target, order, send).run()


class Examined(Session):
    """A clean session with an observer of the user's module, its hooks and its callbacks."""

    def __init__(self, target: Target, order: Order, send: Send) -> None:
        super().__init__(target, order, send)
        assert isinstance(order.task, Examine)
        self._steps = order.task.steps
        self._seen: dict[str, Any] = {
            "calls": Counter(),
            "outputs": Counter(),
            "skipped": [],
            "stopped": [],
            "said": [],
            "order": [],
        }
        self._held = Patches()
        self._before: dict[str, Any] = {}
        self._listener = _Listener(self._seen["said"])
        self._course = Course(self._seen, target.code, self._clock.beside)
        self._updates = updates.Updates(self._seen)
        self._meddling = Meddling(self._seen)
        self._swallowing = Swallowing(target.code, lambda: self._clock.tried)
        self._presence, self._plain = Presence(), PlainLoss()
        self._seen["swallowed"] = self._swallowing.found

    @property
    def _built(self) -> Built | None:
        return self._training.built if isinstance(self._training, LightningTraining) else None

    @property
    def _trainer(self) -> Any:
        assert isinstance(self._training, LightningTraining)
        return self._training.trainer

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> LightningTraining:
        import torch

        training = super()._build_target(changed, interrupted)
        assert isinstance(training, LightningTraining)
        built, trainer = training.built, training.trainer
        module = built.module
        base = namespaces.base_module(type(module))
        self._seen.update(
            cls=anatomy.class_facts(type(module), base),
            step=anatomy.step_facts(module, base),
            facts=anatomy.source_facts(type(module), base),
            own_hooks=[name for name in anatomy.hook_names(base) if namespaces.overrides(type(module), name)],
            trainer={name: anatomy.plain(getattr(trainer, name, None)) for name in _SETTINGS},
            arguments={name: anatomy.plain(value) for name, value in built.trainer_arguments.items()},
            namespace=built.namespace.__name__,
            trainer_namespace=anatomy.namespace_of(type(trainer), "Trainer"),
            callbacks=[anatomy.namespace_of(type(callback), "Callback") for callback in trainer.callbacks],
            automatic=bool(module.automatic_optimization),
            resumes=resumed_from(built.fit),
            files=whole_files.facts(*anatomy.own_files(module, list(built.fit.values()), trainer.callbacks)),
        )
        # Before the run: one that hangs or dies sends nothing afterwards.
        self._send({"note": self._seen})
        self._lend_a_logger(trainer)
        self._watch(module, base, trainer)
        self._before = {
            name: value.detach().clone()
            for name, value in module.named_parameters()
            if not isinstance(value, torch.nn.parameter.UninitializedParameter)
        }
        self._meddling.begin(module, self._before)
        if not compilation.is_compiled(module):
            self._plain.attach(self._held)
        return training

    def _lend_a_logger(self, trainer: Any) -> None:
        """Add a logger that accepts anything, if the module uses its logger and the script did not disable it."""
        uses = any("self.logger" in entry["what"] for entry in self._seen["facts"].get("past_the_trainer", ()))
        if uses and not trainer.loggers and anatomy.scripted()[0].get("logger") is not False:
            loggers = importlib.import_module(f"{self._seen['trainer_namespace']}.loggers.logger")
            trainer.loggers = [loggers.DummyLogger()]
            self._seen["lent"] = "logger"

    def _watch(self, module: Any, base: type, trainer: Any) -> None:
        import torch

        self._held.wrap(torch.optim.Optimizer, "add_param_group", self._updates.grouping)
        self._held.wrap(torch.nn.Module, "load_state_dict", loaded_weights.noting)
        cls = type(module)
        self._course.attach(self._held, base)
        for name in anatomy.hook_names(base):
            raw = inspect.getattr_static(cls, name, None)
            if namespaces.overrides(cls, name) and inspect.isfunction(raw) and name not in vars(module):
                self._held.wrap(cls, name, self._counting(name, trainer, cls.__name__))
        for namespace in namespaces.loaded():
            self._held.wrap(
                private_api.part(namespace, private_api.CALLS), private_api.CALL_CALLBACKS, self._calling_back
            )
        for name in packages.NAMESPACES:
            logging.getLogger(name).addHandler(self._listener)
        logger = logging.getLogger(f"{packages.NAMESPACES[0]}.utilities.rank_zero")
        logger.addHandler(self._listener)
        self._held.on_exit(lambda: logger.removeHandler(self._listener))

    def _calling_back(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
            self._course.hook(trainer, hook)
            if hook == "on_train_epoch_start":
                self._meddling.epoch()
            self._updates.hook(hook, args)
            # At each call: a module may add callbacks of its own when fit begins.
            with Patches() as patches:
                for name, callback in named_callbacks(trainer):
                    if hook in own_hooks(callback):
                        patches.wrap(callback, hook, self._counting(f"{name}.{hook}", trainer, name))
                return call(trainer, hook, *args, **kwargs)

        return calling

    def _counting(self, name: str, trainer: Any, owner: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(method: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any, **kwargs: Any) -> Any:
                # Called by the module's own validation_step, or by a guard that tries something: neither is a training
                # step.
                if (name == "training_step" and not getattr(trainer, "training", True)) or self._clock.tried:
                    return method(*args, **kwargs)
                seen, stop = self._seen, bool(getattr(trainer, "should_stop", False))
                if not seen["calls"][name] and name == "training_step":
                    self._send({"note": {"reached": "training_step"}})
                seen["calls"][name] += 1
                if len(seen["order"]) < 200 and name not in seen["order"]:
                    seen["order"].append(name)
                output = self._called(name, method, args, kwargs)
                if name == "training_step":
                    seen["outputs"][anatomy.kind_of(output)] += 1
                if name.endswith("on_train_batch_start") and output == -1 and "." not in name:
                    seen["skipped"].append({"hook": name, "how": "returns -1", "step": self._clock.step})
                if not stop and getattr(trainer, "should_stop", False):
                    seen["stopped"].append({"hook": name, "owner": owner, "step": self._clock.step})
                if name == "training_step" and seen["calls"][name] >= self._steps:
                    trainer.should_stop = seen["cut"] = True
                return output

            return counting

        return make

    def _called(self, name: str, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a hook, and record the exceptions that it swallows and how it ends."""
        self._swallowing.begin(self._clock.step)
        raised: BaseException | None = None
        step = name == "training_step"
        # The module comes first if the class's own method is wrapped.
        given = args[1:] if args and self._built is not None and args[0] is self._built.module else args
        try:
            with (
                self._meddling.hook(name, self._trainer),
                self._course.step((*given, *kwargs.values())) if step else contextlib.nullcontext(_unlooked) as told,
            ):
                output = method(*args, **kwargs)
            if step and self._built is not None:
                told(self._built.module, output)
            return output
        except StopIteration as error:
            raised = error
            self._seen["skipped"].append({"hook": name, "how": "raises StopIteration", "step": self._clock.step})
            raise
        except BaseException as error:
            raised = error
            raise
        finally:
            self._swallowing.settle(name, self._clock.step, raised)

    def _fit(self) -> BaseException | None:
        if self._built is not None and compilation.is_compiled(self._built.module):
            return super()._fit()
        with self._swallowing.watching():
            ended = super()._fit()
        lost = self._swallowing.end(self._clock.step, ended)
        if lost is not None and str(getattr(self._trainer.state.status, "value", "")) == "interrupted":
            # The user's own Trainer continues as if the training had succeeded.
            self._note_error(lost)
        return ended

    def _run(self) -> Result:
        with hang_stack.printed(self._order.deadline), self._held, Patches() as patches:
            self._presence.attach(patches)
            return super()._run()

    def _ended_by(self, error: BaseException) -> None:
        super()._ended_by(error)
        # Lightning raises SystemExit in place of an interrupted training's KeyboardInterrupt.
        before = error.__context__
        self._note_error(before if isinstance(error, SystemExit) and isinstance(before, KeyboardInterrupt) else error)

    def _note_error(self, error: BaseException) -> None:
        frames = list(_frames(error.__traceback__))
        own = [place for frame, place in frames if self._target.code.holds(frame)]
        others = [place for frame, place in frames if not _is_ours(frame)]
        self._seen["error"] = {
            "message": f"{type(error).__name__}: {safe_text(error)}",
            "own": own[-1] if own else "",
            "raised": others[-1] if others else "",
            # The innermost frame is the one that failed, and it may be the doctor's own inspection.
            "ours": bool(frames) and _failed_itself(*frames[-1]) and not isinstance(error, SystemExit),
            "during": next(reversed(self._seen["order"]), ""),
        }

    def _evaluate(self) -> None:
        """Do nothing: the examination does not evaluate the weights."""

    def _result(self) -> Result:
        if self._built is not None:
            self._seen["parameters"] = anatomy.parameters(self._built.module, self._before, self._trainer)
            self._seen["loader"] = anatomy.loader(self._trainer)
            self._seen["loaders"] = planned.loaders(self._trainer)
            self._seen["has_validation_loader"] = planned.validates(self._trainer)
            self._seen["schedulers"] = planned.schedulers(self._trainer)
            self._seen["groups"] = self._updates.groups(self._trainer)
            asked_for = anatomy.scripted()[0].get("precision")
            self._seen["rounded_away"] = updates.rounded_away(self._trainer, asked_for)
            self._seen["weights_loaded"] = list(loaded_weights.found)
            self._seen["loads"] = sorted(loaded_weights.completed)
            self._seen["loads_failed"] = sorted(loaded_weights.begun - loaded_weights.completed)
            self._seen["switches"] = switches.unread(self._built.module)
            self._seen["optimizer_steps"] = int(getattr(self._trainer, "global_step", 0))
        self._seen["losses"] = [loss for _, loss in self._trajectory.losses]
        self._seen["rates"] = self._trajectory.learning_rates
        self._seen["present"], self._seen["settings"] = sorted(self._presence.parts), self._presence.settings
        self._seen["momenta"] = self._presence.momenta
        self._seen["plain"] = self._plain.found()
        self._seen["end"] = self._trajectory.end
        self._seen["alarms"] = self._advisers.said() if self._advisers is not None else []
        self._seen["batches"] = self._trajectory.steps
        self._seen["validation_batches"] = self._trajectory.validation_batches
        return ExaminedRun(self._run_result(), self._seen)


class _Listener(logging.Handler):
    """Keeps Lightning's messages about its own end."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.INFO)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        text = safe_text(record.getMessage()) if not record.args else safe_text(record.msg)
        if "stopped:" in text and text not in self._said:
            self._said.append(text)


def _frames(tb: TracebackType | None) -> Iterator[tuple[FrameType, str]]:
    while tb is not None:
        yield tb.tb_frame, f"{tb.tb_frame.f_code.co_filename}:{tb.tb_lineno}"
        tb = tb.tb_next


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == "faultlab" and not name.startswith(("faultlab.cli.demo", "faultlab.guards"))


def _failed_itself(frame: FrameType, place: str) -> bool:
    """Return whether faultlab's own code failed in a frame, and not a call that one of its wrappers passes on.

    Errors that torch raises in C, or Python for a call with wrong arguments, have the wrapper's frame as the innermost.
    """
    file, _, line = place.rpartition(":")
    return _is_ours(frame) and "*args, **kwargs)" not in linecache.getline(file, int(line))


def _unlooked(module: Any, output: Any) -> None:
    """Ignore the output of hooks other than the training step."""
