"""Guards for the Trainer of Hugging Face transformers, as one of its callbacks: `hf`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.support.hand_loop import in_turn
from faultlab.guards.support.listening import Ears
from faultlab.guards.support.loop_ranks import joined
from faultlab.guards.support.watched_loop import WatchedLoop
from faultlab.guards.support.watcher import Stage, Watcher
from faultlab.guards.watching import able_to_judge

_COUNTED = "num_items_in_batch"
"""The argument that the Trainer adds to a batch."""


def hf(
    guards: Guard | GuardSet | Iterable[Any] | None = None, *, level: Level = "cheap", action: Action = "raise"
) -> Any:
    """Let guards watch a training by the Trainer of Hugging Face transformers.

    >>> trainer = Trainer(model, args, train_dataset=data, callbacks=[guards.hf()])      # doctest: +SKIP

    The guards see each batch as the model is called with it, the backward passes, the optimizer's steps, and the
    evaluations, and change nothing. They judge the loss itself: the Trainer's `logging_nan_inf_filter` replaces what
    is not finite in the logged loss alone. An alarm is raised from the call that shows the failure, within `train`.
    Guards that need more than that are not called, or skip their looks, as in `faultlab.guards.watch`.

    Args:
        guards: One or several guards, or a `GuardSet`. None for all of ``level`` with this ``action``.
        level: "cheap" for guards that cost next to nothing, "full" for all, if ``guards`` is None.
        action: What an alarm does, as in `Guard`, if ``guards`` is None. "save" needs a Lightning Trainer.

    Returns:
        A `TrainerCallback` whose ``guards`` are the guards, and whose ``report()`` has a line for each one that failed
        or skipped looks.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        ValueError: The level or the action is unknown.
    """
    if guards is None:
        from faultlab.guards import all as ready

        guards = ready(level, action=action)
    base = importlib.import_module("transformers").TrainerCallback
    made = type("Guards", (_Events, base), {"__doc__": "Guards that watch the training of a Trainer."})
    return made([guards] if isinstance(guards, Guard) else list(guards))


class _Events:
    """Turns the events of a Trainer into those of a watched loop."""

    def __init__(self, guards: list[Any]) -> None:
        self.guards = guards
        self._watcher: Watcher | None = None
        self._ears = Ears(_raised)
        self._due = self._evaluating = False

    def report(self) -> str:
        """Return a line for each guard that failed or skipped looks, empty if there are none."""
        return "\n".join(line for guard in self.guards if (line := guard.report()))

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._leave()
        loaders = given.get("train_dataloader"), given.get("eval_dataloader")
        planned = -1 if args.max_steps > 0 else int(args.num_train_epochs)
        loop = WatchedLoop([_own(given["optimizer"])], *loaders, args.gradient_accumulation_steps, planned)
        loop.callbacks, loop.max_steps = self.guards, state.max_steps
        # What a training that resumes has done before.
        loop.global_step, loop.current_epoch = state.global_step, int(state.epoch or 0)
        validates = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"
        able = able_to_judge(self.guards, batches=True, validation=validates)
        loop.ranks = joined(loop, given["model"], [given["model"]], able, args.world_size > 1)
        hooks = in_turn(able) if loop.ranks is None else loop.ranks.hooks
        # First, so that the batch is known when the watcher is called.
        self._ears.before(given["model"], self._called)
        self._watcher = Watcher(given["model"], loop, self._ending(hooks), sees_batches=True)

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        if self._watcher is not None:
            self._watcher.iterated("train")

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._due = True

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        self._due = True

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        self._due = True

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        if self._watcher is not None and self._evaluating:
            self._watcher.asked("validate")
            self._watcher.exhausted("validate")
        self._evaluating = False

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._watcher is not None:
            # A callback that stops early ends the epoch, too.
            self._watcher.course.loop.should_stop = control.should_training_stop
            try:
                self._watcher.end()
            finally:
                self._leave()

    def _called(self, model: Any, args: Any, kwargs: Any) -> None:
        watcher = self._watcher
        if watcher is None or watcher.course.busy:
            return
        stage: Stage = "train" if torch.is_grad_enabled() else "validate"
        if stage == "validate" and not self._evaluating:
            self._evaluating = self._due = True
            watcher.iterated("validate")
        # A step may call the model more than once.
        if self._due:
            self._due = False
            watcher.asked(stage)
            named = {name: value for name, value in kwargs.items() if name != _COUNTED}
            watcher.delivered(stage, named or (args[0] if len(args) == 1 else args))

    def _ending(self, hooks: Mapping[str, Callable[..., None]]) -> dict[str, Callable[..., None]]:
        """Return the hooks so that one that raises an alarm ends the watch, as it ends the training."""

        def ending(function: Callable[..., None]) -> Callable[..., None]:
            def called(*given: Any) -> None:
                try:
                    function(*given)
                except BaseException as error:
                    self._fail(error)
                    raise

            return called

        return {name: ending(function) for name, function in hooks.items()}

    def _fail(self, error: BaseException) -> None:
        self._ears.off()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            try:
                watcher.failed(error)
            finally:
                watcher.leave()

    def _leave(self) -> None:
        self._ears.off()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.leave()


def _own(optimizer: Any) -> Any:
    """Return torch's optimizer, without what Accelerate puts around it."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def _raised(error: Exception) -> None:
    raise error
