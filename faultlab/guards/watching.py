"""Guards for any training loop over any module: `watch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support.callback import overrides
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.support.hand_loop import in_turn
from faultlab.guards.support.loop_ranks import joined
from faultlab.guards.support.several import Several
from faultlab.guards.support.watched_loop import WatchedLoop
from faultlab.guards.support.watcher import Stage, Watcher

_log = logging.getLogger("faultlab.guards")
_UNSEEN = (
    "watch: no training batch was observed, so that no guard has looked: the loop has to call the watched model in "
    "training mode, and to iterate over the loader that watch is given"
)
_OF_TRAINING = ("on_train_batch_start", "on_train_batch_end", "on_before_backward", "on_before_optimizer_step")


class Watching:
    """Guards that watch a training loop until ``detach`` or the end of the ``with`` block; `watch` returns it.

    Attributes:
        module: The module. For several models, one that has them as its parts.
        guards: The guards, as a list.
        trainer: What the guards know of the training.
    """

    def __init__(
        self,
        module: Any,
        guards: Iterable[Any],
        loop: WatchedLoop,
        called: Sequence[Any] = (),
        together: bool | None = None,
    ) -> None:
        self.module = module
        self.trainer = loop
        self.guards: list[Any] = list(guards)
        loop.callbacks = self.guards
        self._undo: list[Callable[[], None]] = []
        streams: list[tuple[Any, Stage]] = [(loop.train_dataloader, "train"), (loop.val_dataloaders, "validate")]
        seen = {stage: loader is not None and self._observe(loader, stage) for loader, stage in streams}
        self._able = able_to_judge(self.guards, batches=seen["train"], validation=seen["validate"])
        loop.ranks = joined(loop, module, called or [module], self._able, together)
        hooks = in_turn(self._able) if loop.ranks is None else loop.ranks.hooks
        self._watcher = Watcher(module, loop, hooks, seen["train"], called, self._without_batches)

    def detach(self) -> None:
        """End the training for the guards, and remove every hook.

        Raises:
            Alarm: A guard raises an alarm at the end of the training.
        """
        try:
            self._watcher.end()
            if not self._watcher.course.has_begun:
                _log.warning(_UNSEEN)
        except BaseException as error:
            # Guards that are not called for the end any more remove their hooks then.
            self._watcher.failed(error)
            raise
        finally:
            self._leave()

    def report(self) -> str:
        """Return a line for each guard that failed or skipped looks, empty if there are none."""
        return "\n".join(line for guard in self.guards if (line := guard.report()))

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.detach()
            return
        try:
            self._watcher.failed(error)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._watcher.leave()
        while self._undo:
            self._undo.pop()()

    def _without_batches(self) -> Mapping[str, Callable[..., None]]:
        """Return the hooks of the guards that need no batches, and let the others count a skipped look."""
        for guard in [guard for guard in self._able if getattr(guard, "judges", "") == "batches"]:
            self._able.remove(guard)
            if isinstance(guard, Guard):
                guard.skip("the loop does not iterate over its loader")
        ranks = self.trainer.ranks
        return in_turn(self._able) if ranks is None else ranks.hooks_of(self._able)

    def _observe(self, loader: Any, stage: Stage) -> bool:
        """Observe the iterations of a loader, and return whether that is possible."""
        try:
            _replace_iter(type(loader))
        except TypeError:  # a class that is written in C, such as list
            return False
        observed, entry = _OBSERVED.setdefault(id(loader), []), (self, stage)
        observed.append(entry)

        def leave() -> None:
            observed.remove(entry)
            if not observed:
                _OBSERVED.pop(id(loader), None)
            _restore_iter(type(loader))

        self._undo.append(leave)
        return True

    def _through(self, batches: Any, stage: Stage) -> Any:
        self._watcher.iterated(stage)
        return _Batches(batches, stage, self._watcher)


def watch(
    model: Any,
    optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
    *,
    guards: Guard | GuardSet | Iterable[Any] | None = None,
    loader: Any = None,
    validation: Any = None,
    level: Level = "cheap",
    action: Action = "raise",
    accumulate_grad_batches: int | None = None,
    max_epochs: int = -1,
    together: bool | None = None,
) -> Watching:
    """Let guards watch a training loop that is written by hand, over any `torch.nn.Module`.

    >>> with watch(model, optimizer, loader=loader):      # doctest: +SKIP
    ...     for images, labels in loader:
    ...         optimizer.zero_grad()
    ...         F.cross_entropy(model(images), labels).backward()
    ...         optimizer.step()

    The guards see the calls of the model, the backward passes, the optimizers' steps and, if given, the batches of the
    loaders. They change nothing. Guards that need more than that are not called, or skip their looks; ``report()`` of
    the result names them with the reason. Alarms are raised from the call that shows the failure, such as
    ``loss.backward()`` for a loss that is not finite.

    Args:
        model: The module that the loop calls, or several in a sequence or by name, such as
            ``{"generator": generator, "critic": critic}``.
        optimizer: The optimizer that the loop steps, or several in a sequence or by name. One that the loop creates in
            the place of another is observed from its first step on. Several models with an optimizer each may work
            against each other, so that their losses are compared only with those computed in the same way.
        guards: One or several guards, or a `GuardSet`. None for all of ``level`` with this ``action``.
        loader: The training loader, for guards that judge batches. The loop must iterate over this very object; if it
            has taken two steps without that, these guards are not called, and the others look from the next batch on.
        validation: The validation loader, for guards that judge validation.
        level: "cheap" for guards that cost next to nothing, "full" for all, if ``guards`` is None.
        action: What an alarm does, as in `Guard`, if ``guards`` is None. "save" needs a Trainer.
        accumulate_grad_batches: Batches whose gradients are accumulated for one step. None to learn it from the first
            steps.
        max_epochs: The planned number of epochs, -1 if unknown.
        together: Whether every rank of the default process group trains this model, so that a backward pass takes place
            on all of them. Then all ranks have to watch their loops, and an alarm on one of them is raised on all,
            before the next backward pass. None: if a model is a DistributedDataParallel, or sharded by FSDP2.

    Returns:
        A context manager that removes everything at the end of its block, or by its method ``detach``.

    Raises:
        TypeError: A model is not a module, or an optimizer is not one of `torch.optim`.
        ValueError: No model or no optimizer is given, or the level or the action is unknown.
    """
    if guards is None:
        from faultlab.guards import all as ready

        guards = ready(level, action=action)
    chosen = [guards] if isinstance(guards, Guard) else list(guards)
    if isinstance(model, (nn.ModuleList, nn.ModuleDict)):
        # Containers, which a loop can't call.
        model = [*model] if isinstance(model, nn.ModuleList) else dict(model.items())
    models, used = _listed(model, nn.Module, "model"), _listed(optimizer, Optimizer, "optimizer")
    # Batches of one loader can't be told apart by what they serve.
    apart = None if validation is loader else validation
    loop = WatchedLoop(used, loader, apart, accumulate_grad_batches, max_epochs)
    if isinstance(model, nn.Module):
        return Watching(model, chosen, loop, together=together)
    several = Several(model if isinstance(model, Mapping) else models, automatic=len(used) == 1)
    return Watching(models[0] if len(models) == 1 else several, chosen, loop, models, together)


def _listed(given: Any, kind: type, what: str) -> list[Any]:
    """Return what was given alone, in a sequence or by name as a list."""
    if isinstance(given, Mapping):
        listed = list(given.values())
    else:
        listed = list(given) if isinstance(given, Iterable) and not isinstance(given, kind) else [given]
    for one in listed:
        if not isinstance(one, kind):
            expected = f"torch.{'nn' if kind is nn.Module else 'optim'}.{kind.__name__}"
            raise TypeError(f"invalid {what} of type {type(one).__name__}: expected a {expected}")
    if not listed:
        raise ValueError(f"no {what} is given: pass one or several")
    return listed


def able_to_judge(guards: Iterable[Any], *, batches: bool, validation: bool) -> list[Any]:
    """Return the guards that can judge a loop. The others count a skipped look.

    Args:
        guards: The guards.
        batches: Whether the batches of the training are seen.
        validation: Whether the batches of a validation are seen.
    """
    able = []
    for guard in guards:
        reason = ""
        if getattr(guard, "judges", "") == "batches" and not batches:
            reason = "the training loader is not known"
        elif not validation and _only_validates(guard):
            reason = "the validation loader is not known"
        if not reason:
            able.append(guard)
        elif isinstance(guard, Guard):
            guard.skip(reason)
    return able


def _only_validates(guard: Any) -> bool:
    return overrides(guard, "on_validation_batch_end") and not any(overrides(guard, hook) for hook in _OF_TRAINING)


class _Batches:
    """The iterator of a loader that is observed."""

    def __init__(self, batches: Any, stage: Stage, watcher: Watcher) -> None:
        self._batches = batches
        self._stage: Stage = stage
        self._watcher = watcher

    def __iter__(self) -> _Batches:
        return self

    def __len__(self) -> int:
        return len(self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    def __next__(self) -> Any:
        self._watcher.asked(self._stage)
        try:
            batch = next(self._batches)
        except StopIteration:
            self._watcher.exhausted(self._stage)
            raise
        self._watcher.delivered(self._stage, batch)
        return batch


_OBSERVED: dict[int, list[tuple[Watching, Stage]]] = {}
"""Who observes a loader, by its identity."""

_REPLACED: dict[type, tuple[int, Any, Any]] = {}
"""How many observe loaders of a class, with its own ``__iter__`` (None if it inherits one) and the replaced one."""


def _replace_iter(cls: type) -> None:
    # A for statement looks at the class and not at the instance.
    count, own, ours = _REPLACED.get(cls, (0, vars(cls).get("__iter__"), None))
    if not count:
        original: Callable[[Any], Iterator[Any]] = cls.__iter__  # type: ignore[attr-defined]

        def observed(loader: Any) -> Any:
            batches: Any = original(loader)
            for watching, stage in _OBSERVED.get(id(loader), ()):
                batches = watching._through(batches, stage)
            return batches

        ours = observed
        cls.__iter__ = ours  # type: ignore[attr-defined]
    _REPLACED[cls] = count + 1, own, ours


def _restore_iter(cls: type) -> None:
    count, own, ours = _REPLACED.pop(cls)
    if count > 1:
        _REPLACED[cls] = count - 1, own, ours
    elif vars(cls).get("__iter__") is ours:
        if own is None:
            del cls.__iter__  # type: ignore[attr-defined]
        else:
            cls.__iter__ = own  # type: ignore[attr-defined]
