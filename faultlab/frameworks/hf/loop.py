"""A loop that the Trainer of transformers runs: its steps, its loss, its evaluations, its metrics and its callbacks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.data import DataLoader
from transformers import trainer, trainer_callback

from faultlab.core.patching import Make, Patches
from faultlab.frameworks.hf import callbacks
from faultlab.frameworks.hf.logged import metrics_in
from faultlab.frameworks.hf.solitude import alone
from faultlab.frameworks.loops import trainers
from faultlab.frameworks.loops.loop import Loop

_METHODS = (
    "train",
    "get_batch_samples",
    "training_step",
    "compute_loss",
    "evaluation_loop",
    "prediction_step",
)


class TrainerLoop(Loop):
    """Follows a Trainer from before it is constructed.

    A step is a call of ``training_step``, and the step of failure modes that break a step or what it returns is
    ``compute_loss``, which returns the loss. A loader's batches are those of the training while ``train`` runs and no
    evaluation does.

    Attributes:
        runs: The Trainer that trains, None before it does.
    """

    criterion = "method compute_loss"
    packages = ("transformers", "accelerate")
    counts_forwards = False
    begins_steps = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs: Any = None
        self._within: dict[str, int] = dict.fromkeys(_METHODS, 0)
        self._around_loss: list[Make] = []

    def attach(self, patches: Patches) -> None:
        super().attach(patches)
        met: set[type] = set()

        def constructing(construct: Callable[..., Any]) -> Callable[..., Any]:
            def constructs(made: Any, *args: Any, **kwargs: Any) -> None:
                construct(made, *args, **kwargs)
                if type(made) not in met:
                    met.add(type(made))
                    self._follow(type(made), patches)

            return constructs

        patches.wrap(trainer.Trainer, "__init__", constructing)
        patches.wrap(trainer_callback.CallbackHandler, "add_callback", self._adding)
        patches.wrap(trainer_callback.CallbackHandler, "on_log", self._logging)
        patches.wrap(trainer_callback.CallbackHandler, "call_event", self._calling_back)

    def follow_loaders(self, patches: Patches) -> None:
        # Torch's own alone: what acts on a batch's samples acts as they are fetched, with the number of their step.
        patches.wrap(DataLoader, "__iter__", self._iterating)

    def _follow(self, cls: type, patches: Patches) -> None:
        for name in _METHODS:
            patches.wrap(cls, name, functools.partial(self._calling_outermost, name, getattr(self, f"_{name}")))

    def _calling_outermost(self, name: str, act: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that passes its outermost call to ``act``: a class may call the method of its base."""

        def calling(made: Any, *args: Any, **kwargs: Any) -> Any:
            if self._within[name]:
                return method(made, *args, **kwargs)
            self._within[name] += 1
            try:
                return act(made, functools.partial(method, made), *args, **kwargs)
            finally:
                self._within[name] -= 1

        return calling

    def _train(self, made: Any, train: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.runs = made
        return train(*args, **kwargs)

    def _get_batch_samples(self, made: Any, fetch: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return fetch(*args, **kwargs)
        except Exception:
            # Over batches whose steps have not begun.
            self.clock.step = max(self.clock.step, self.queue.number - 1)
            raise

    def _training_step(
        self, made: Any, step: Callable[..., Any], model: Any, inputs: Any, *more: Any, **kw: Any
    ) -> Any:
        self.advising.asked("train")
        self.queue.begin()
        self.advising.delivered("train", inputs)
        return step(model, inputs, *more, **kw)

    def _compute_loss(self, made: Any, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._within["training_step"]:
            for make in self._around_loss:
                compute = make(compute)
        return compute(*args, **kwargs)

    def _evaluation_loop(self, made: Any, evaluate: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.staged("validate"):
            try:
                return evaluate(*args, **kwargs)
            finally:
                self.advising.exhausted("validate")

    def _prediction_step(self, made: Any, step: Callable[..., Any], model: Any, inputs: Any, *a: Any, **kw: Any) -> Any:
        self.advising.asked("validate")
        self.delivered("validate")
        self.advising.delivered("validate", inputs)
        return step(model, inputs, *a, **kw)

    def key(self, loader: DataLoader[Any]) -> str:
        # The user's line that iterates is the same for all loaders.
        training = self._within["train"] and not self._within["evaluation_loop"]
        return f"{'train' if training else 'validate'} {super().key(loader)}"

    def stage_of(self, key: str) -> str:
        return key.partition(" ")[0]

    def counts(self, key: str) -> bool:
        return self.stage_of(key) == "train"

    def wrap_own_step(self, patches: Patches, make: Make) -> None:
        if self.own_step is not None:
            super().wrap_own_step(patches, make)
        else:
            self.wrap_loss(patches, make)

    def wrap_loss(self, patches: Patches, make: Make) -> None:
        self._around_loss.append(make)
        patches.on_exit(lambda: self._around_loss.remove(make))

    def metrics(self, numbers: Mapping[str, float]) -> dict[str, float]:
        return metrics_in(numbers)

    def _logging(self, log: Callable[..., Any]) -> Callable[..., Any]:
        def logging(handler: Any, args: Any, state: Any, control: Any, logs: Any, **kwargs: Any) -> Any:
            for name, value in metrics_in(logs).items():
                stage = "validate" if name.startswith("eval_") else "train"
                new = self.reports.logged(name, value, stage)
                if new is None or new.name != name:
                    del logs[name]
                if new is not None and (new.name, new.value) != (name, value):
                    logs[new.name] = float(new.value)
            return log(handler, args, state, control, logs, **kwargs)

        return logging

    def _adding(self, add: Callable[..., Any]) -> Callable[..., Any]:
        def adding(handler: Any, callback: Any) -> None:
            add(handler, callback)
            made = handler.callbacks[-1]
            if callbacks.judges(made):
                self.callbacks[callbacks.name_among(made, self.callbacks)] = made
                for name, guard in callbacks.named(made, self.guards).items():
                    self.guards[name] = guard
                    self.observe(guard, name)

        return adding

    def _calling_back(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(handler: Any, event: str, *args: Any, **kwargs: Any) -> Any:
            # On the instances, which may have their own watchers.
            with Patches() as patches:
                for name, callback in self.callbacks.items() if self.around_callbacks else ():
                    if event in trainers.hooks_of(callback):
                        patches.wrap(callback, event, functools.partial(self._around_hook, name, event))
                return call(handler, event, *args, **kwargs)

        return calling

    def _around_hook(self, name: str, event: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*args: Any, **kwargs: Any) -> Any:
            call = functools.partial(method, *args, **kwargs)
            for around in list(self.around_callbacks):
                call = functools.partial(around, name, event, call)
            return call()

        return calling

    @property
    def should_stop(self) -> bool:
        """True if a callback has asked the Trainer to stop."""
        return self.runs is not None and bool(self.runs.control.should_training_stop)

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        if self.runs is not None:
            self.runs.control.should_training_stop = stop

    def restart(self) -> None:
        super().restart()
        self.runs, self.guards, self.callbacks = None, {}, {}

    @property
    def evaluates(self) -> bool:  # type: ignore[override]
        return self.runs is not None and self.runs.eval_dataset is not None

    def evaluated(self, module: Any) -> dict[str, float]:
        if not self.evaluates:
            return {}
        made = self.runs
        with Patches() as patches, alone():
            # The callbacks have judged the training, and losses that are not finite are part of the measure.
            patches.set(made.callback_handler, "callbacks", [])
            patches.set(made.args, "logging_nan_inf_filter", False)
            if module is not self.module:
                patches.set(made, "model", module)
                patches.set(made, "model_wrapped", module)
            return metrics_in(made.evaluate())
