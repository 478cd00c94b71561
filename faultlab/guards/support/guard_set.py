"""Several guards as one callback, since Lightning's calls of empty hooks cost more than the guards themselves."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.callback import HOOKS, Callback, overrides
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.usual_batches import UsualBatches

_BEGIN, _END = "on_train_batch_start", "on_train_batch_end"
_OF_BATCHES = (_BEGIN, "on_before_backward", "on_after_backward", "on_before_optimizer_step", _END)
_EPOCH_START, _EPOCH_END, _TRAINING_END = "on_train_epoch_start", "on_train_epoch_end", "on_train_end"


class GuardSet(Callback):
    """Several guards as one callback, which can be iterated over.

    It calls each guard at the hooks that the guard implements. Between the steps whose values are looked at, it leaves
    out hooks that have nothing to do there.

    Args:
        guards: The guards, in the order of their calls.
    """

    def __init__(self, guards: Iterable[Guard]) -> None:
        self.guards = list(guards)
        self._rhythm = Rhythm()
        ends_rarely = any(_is_sparse(guard, _EPOCH_END) for guard in self.guards)
        for hook in HOOKS:
            asked = [guard for guard in self.guards if overrides(guard, hook) or hook in vars(guard)]
            forgetting = [guard for guard in asked if _method(guard, hook) is batch_view.forgetting]
            asked = [guard for guard in asked if guard not in forgetting[:-1]]
            if hook in _OF_BATCHES and (asked or (hook == _BEGIN and self.guards)):
                setattr(self, hook, _InBatch(hook, asked, self._rhythm))
            elif asked or (hook == _TRAINING_END and ends_rarely):
                setattr(self, hook, _InTurn(hook, asked, self._rhythm))

    def __iter__(self) -> Iterator[Guard]:
        return iter(self.guards)

    def __len__(self) -> int:
        return len(self.guards)

    def report(self) -> str:
        """Summarize what the guards could not check in this training.

        Returns:
            A line for each guard that failed or skipped looks; empty if there are none.
        """
        return "\n".join(line for guard in self.guards if (line := guard.report()))

    def state_dict(self) -> dict[str, Any]:
        """Return what the guards keep in a checkpoint, by class name."""
        return {type(guard).__name__: state for guard in self.guards if (state := guard.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what a checkpoint holds for the guards."""
        for guard in self.guards:
            if type(guard).__name__ in state_dict:
                guard.load_state_dict(state_dict[type(guard).__name__])


def _method(guard: Guard, hook: str) -> Any:
    """Return the function that a guard's hook is, without the base class's wrapper."""
    if hook in vars(guard):
        return vars(guard)[hook]
    method = getattr(type(guard), hook)
    return getattr(method, "__wrapped__", method)


def _is_sparse(guard: Guard, hook: str) -> bool:
    return bool(getattr(_method(guard, hook), "sparse", False))


class Rhythm:
    """Which batches the hooks of a set that are marked as sparse are called in, and how many others were not counted.

    They are called in batches with a look, in the first one after these, and in one that follows another event. Epochs
    that end sooner after another than looks follow each other do not count as events.

    Attributes:
        left_out: Calls the hooks that were left out at the end of the latest epoch, if no other epoch follows.
    """

    def __init__(self) -> None:
        self.rests = self._looked = False
        self._eventful = True
        self._epoch_at, self._is_minor = 0, False
        self.left_out: list[Callable[[], None]] = []
        self.spell = 0
        self.uncounted: list[_Uncounted] = []
        self.in_batches: list[_InBatch] = []
        self.noting: list[Guard] = []
        self.usual = UsualBatches()
        self._napping = -1, False
        self._next_look = 0

    def begin(self, trainer: Any, batch_idx: int) -> dict[int, bool]:
        """Begin a batch, and return which Trainers look at it, see `pace.OneHook`."""
        view = view_of(trainer)
        looks = pace.due(view)
        begins = batch_idx == 0 and not self._is_minor
        before, self.rests = self.rests, not (looks or self._looked or self._eventful or begins)
        if self.rests and not before:
            self.spell += 1
            self.usual.unsettle()
        self._looked, self._eventful = looks, False
        return {id(view): looks}

    def may_nap(self, step: int) -> bool:
        """Return whether the guards may be left alone in a usual batch of this step."""
        if not self.rests or self._eventful or not self.usual.settled:
            return False
        if step >= self._next_look:
            self._next_look = next(look for look in range(step, step + 2 * pace.RAREST) if pace.is_look(look))
        # At the end of the batch before a look, all guards are called.
        if step + 1 >= self._next_look:
            return False
        if self._napping[0] != self.spell:
            others = (hook for hook in self.in_batches if hook.hook != _END)
            self._napping = self.spell, not any(hook.awake(self.spell) for hook in others)
            self.noting = [guard for hook in self.in_batches if hook.hook == _END for guard in hook.awake(self.spell)]
        return self._napping[1]

    def napped(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        """Count a usual batch whose hooks were not called, and let guards note its loss."""
        for hook in self.uncounted:
            hook.times += 1
        for guard in self.noting:
            guard.on_train_batch_end(trainer, module, outputs, batch, number)

    def event(self, hook: str, trainer: Any, *args: Any) -> bool:
        """Note that something else than a batch happens, before which all batches are counted.

        Return whether it is the end or the start of a short epoch, in which sparse hooks are left out.
        """
        is_minor = hook in (_EPOCH_START, _EPOCH_END) and self._is_soon(hook, view_of(trainer).global_step)
        self._is_minor = is_minor
        if not is_minor:
            self._eventful = True
        if self.usual.held or not is_minor:
            self.usual.release()
        for uncounted in self.uncounted:
            uncounted.catch_up(trainer, *args)
        return is_minor

    def _is_soon(self, hook: str, step: int) -> bool:
        """Return whether an epoch ends, or the next one begins, soon after the start of an epoch that was an event."""
        is_soon = self._is_minor
        if hook == _EPOCH_END:
            is_soon = step >= pace.FIRST and 0 <= step - self._epoch_at < pace.interval(step)
        if not is_soon:
            self._epoch_at = step
        return is_soon


class _InTurn:
    """One hook of a set. It looks up methods when called, since observers of a guard replace them on the instance."""

    def __init__(self, hook: str, guards: list[Guard], rhythm: Rhythm) -> None:
        self.hook = hook
        self.guards = guards
        self._rhythm = rhythm
        self._dense = [guard for guard in guards if not _is_sparse(guard, hook)]

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        hook = self.hook
        is_minor = self._rhythm.event(hook, *args)
        with pace.OneHook():
            if hook == "on_exception":
                self._all(*args, **kwargs)
                return
            if hook == _TRAINING_END:
                for call in self._rhythm.left_out:
                    call()
            if hook in (_TRAINING_END, _EPOCH_START):
                self._rhythm.left_out = []
            called = self._dense if is_minor else self.guards
            before = _needs(called)
            for guard in called:
                getattr(guard, hook)(*args, **kwargs)
            if is_minor and _needs(called) != before:
                self._rhythm.spell += 1
            if is_minor and hook == _EPOCH_END:
                others = [guard for guard in self.guards if guard not in self._dense]
                self._rhythm.left_out = [functools.partial(getattr(guard, hook), *args) for guard in others]

    def _all(self, *args: Any, **kwargs: Any) -> None:
        """Call every guard even if one raises, since they remove their hooks from the module here."""
        with contextlib.ExitStack() as stack:
            for guard in reversed(self.guards):
                stack.callback(getattr(guard, self.hook), *args, **kwargs)


def _needs(guards: list[Guard]) -> list[tuple[bool, bool]]:
    """Return which batches guards have something to do in."""
    return [(getattr(guard, "dormant", False), getattr(guard, "watchful", False)) for guard in guards]


class _InBatch:
    """One hook of a set that is called in each batch, with fewer guards between looks."""

    def __init__(self, hook: str, guards: list[Guard], rhythm: Rhythm) -> None:
        self.hook = hook
        self.guards = guards
        marked = [guard for guard in guards if _is_sparse(guard, hook)]
        counting = [guard for guard in guards if getattr(_method(guard, hook), "counting", False)]
        self._dense = [guard for guard in guards if guard not in marked and guard not in counting]
        self._idle = [guard for guard in self._dense if getattr(_method(guard, hook), "unusual", False)]
        # Guards to call in every batch between looks, and those to call unless it is a usual one.
        self._awake: list[Guard] = []
        self._waiting: list[Guard] = []
        self._spell = -1
        self._rhythm = rhythm
        self._event = rhythm.usual.events[hook]
        self._begins, self._ends = hook == _BEGIN, hook == _END
        self._uncounted = _Uncounted(hook, counting)
        rhythm.in_batches.append(self)
        if counting:
            rhythm.uncounted.append(self._uncounted)

    def __call__(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        hook, rhythm, told = self.hook, self._rhythm, None
        if self._begins:
            told = rhythm.begin(trainer, args[2])
        if rhythm.rests and not (self._ends and self._is_of_note(trainer, args[2])):
            self._uncounted.times += 1
            self.awake(rhythm.spell)
            if self._event(args):
                if self._waiting and not self._ends:
                    rhythm.usual.held.append(functools.partial(self._call_waiting, trainer, *args, **kwargs))
            elif self._waiting:
                self._call_waiting(trainer, *args, **kwargs)
            for guard in self._awake:
                getattr(guard, hook)(trainer, *args, **kwargs)
            return
        if rhythm.usual.held:
            rhythm.usual.release()
        with pace.OneHook(told):
            self._uncounted.catch_up(trainer, *args)
            for guard in self.guards:
                getattr(guard, hook)(trainer, *args, **kwargs)

    def awake(self, spell: int) -> list[Guard]:
        """Return the guards that are called in every batch until the next look."""
        if self._spell != spell:
            self._spell = spell
            self._choose()
        return self._awake

    def _choose(self) -> None:
        awake = [guard for guard in self._dense if not getattr(guard, "dormant", False)]
        self._waiting = [guard for guard in awake if guard in self._idle and not getattr(guard, "watchful", False)]
        self._awake = [guard for guard in awake if guard not in self._waiting]

    def _call_waiting(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        # Their batch has no look, even if its step has been counted by now.
        with pace.OneHook({id(view_of(trainer)): False}):
            for guard in self._waiting:
                getattr(guard, self.hook)(trainer, *args, **kwargs)

    def _is_of_note(self, trainer: Any, batch: Any) -> bool:
        """Return whether all guards are called at the end of a batch, although its step was not looked at."""
        # After the last step of a batch, guards may look at those to come. A loader should not deliver None.
        return pace.due(trainer) or (batch is None and getattr(trainer, "shows_batches", True))


class _Uncounted:
    """The batches that guards have not counted yet which only count them."""

    def __init__(self, hook: str, guards: list[Guard]) -> None:
        self.times = 0
        self._hook = hook
        self._guards = guards

    def catch_up(self, trainer: Any, pl_module: Any = None, *_: Any) -> None:
        times, self.times = self.times, 0
        if times:
            for guard in self._guards:
                getattr(guard, self._hook)(trainer, pl_module, None, None, -1, times=times)
