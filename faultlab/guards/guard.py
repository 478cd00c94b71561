"""What every guard is: a callback that looks, and says what is wrong in words that name the cause and a remedy."""

from __future__ import annotations

import functools
import logging
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from faultlab.guards.support import announcement, rescue
from faultlab.guards.support.lightning_callback import HOOKS, Callback, package
from faultlab.guards.support.listening import Ears

Action = Literal["raise", "warn", "save"]
ACTIONS: tuple[Action, ...] = ("raise", "warn", "save")
Level = Literal["cheap", "full"]
LEVELS: tuple[Level, ...] = ("cheap", "full")


class Alarm(RuntimeError):  # noqa: N818 - it is what a guard is for, not an error of its own
    """A guard has noticed a failure. ``guard`` is its class's name, ``check`` which of its checks it was.

    ``rescued`` says where the state before the failure was written to, or why it was not, if a guard was asked to.
    """

    def __init__(self, guard: str, check: str, found: str, remedy: str, rescued: str = "") -> None:
        self.guard = guard
        self.check = check
        self.found = found
        self.remedy = remedy
        self.rescued = rescued
        super().__init__(f"{guard}: {found}. {remedy}" + (f" {rescued}" if rescued else ""))

    def __reduce__(self) -> Any:
        return type(self), (self.guard, self.check, self.found, self.remedy, self.rescued)


_REASONS = 16
"""As many reasons for leaving a look out are told apart, since messages may hold addresses."""


class GuardWarning(UserWarning):
    """What a guard says that was asked to warn."""


_TRAINERS: weakref.WeakKeyDictionary[Guard, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""Whose loggers a guard's alarms go to. No attribute of the guard, which would drag the Trainer into its copies."""


def held(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of a guard whose own mistakes do not end a training that nothing is wrong with."""

    begins = hook.__name__ in ("setup", "on_fit_start")
    ends = hook.__name__ in ("on_fit_end", "on_exception")

    @functools.wraps(hook)
    def holding(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._failed and not begins:
            return None
        self._failed = ""
        if hook.__name__ == "setup":
            Guard.setup(self, *args, **kwargs)
        try:
            return hook(self, *args, **kwargs)
        except Alarm:
            raise
        except Exception as error:
            self._mistake(error)
            return None

    if not ends:
        return holding

    @functools.wraps(hook)
    def ended(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return holding(self, *args, **kwargs)
        finally:
            self._end(args[0] if args else None)

    return ended


class Guard(Callback):
    """The base of the ready-made guards.

    A guard only looks: it draws no random number, and leaves gradients, modes, metrics and parameters as they are. It
    raises an `Alarm`, which ends the training, or, with ``action="warn"``, warns once for each of its checks; with
    ``action="save"`` it writes the state from before the failure as a checkpoint, and then raises. What it says goes to
    the Trainer's loggers as well, unless it ``announces`` nothing. Should it fail itself, it says so once and looks no
    more; ``own_errors = "raise"`` is for those who write guards.

    ``looked`` counts the looks of a guard that may have to leave some out, ``skipped`` those that it left out, by the
    reason; it says so when training ends if it never looked. ``ears`` is what it listens to parts of the module by,
    and is taken off them at the end, however that comes.

    ``level`` says what it costs: a ``cheap`` guard is meant for every training, a ``full`` one for where its look
    at every value, or its forward passes of its own, may cost some per cent. ``checks`` names what it looks for, each
    in a sentence; ``leave_out`` names those that do not fit the training. An ``optional`` guard is one that has to be
    asked for by itself. ``judges`` is the only thing that the guard's alarms can come of: what the batches hold, how
    outputs depend on inputs, whether gradients are those of the loss, whether metrics are those of the outputs; empty
    where anything may set it off.
    """

    level: ClassVar[Level] = "cheap"
    optional: ClassVar[bool] = False
    judges: ClassVar[Literal["", "batches", "forward", "backward", "metrics"]] = ""
    checks: ClassVar[Mapping[str, str]] = {}

    own_errors: ClassVar[Literal["warn", "raise"]] = "warn"
    announces: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in set(HOOKS) & set(vars(cls)):
            setattr(cls, hook, held(vars(cls)[hook]))

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        if action not in ACTIONS:
            raise ValueError(f"a guard's action is 'raise', 'warn' or 'save', not {action!r}")
        self.action = action
        self.leave_out = frozenset(leave_out)
        if unknown := self.leave_out - set(self.checks):
            raise ValueError(
                f"{type(self).__name__} has no check {', '.join(sorted(unknown))}: {', '.join(self.checks)}"
            )
        self.looked = 0
        self.skipped: Counter[str] = Counter()
        self.ears = Ears(self._mistake)
        self._warned: set[str] = set()
        self._failed = ""
        if action == "save":
            self.on_train_batch_start = _Keeping(self)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begins to look at a training of this Trainer's."""
        _TRAINERS[self] = weakref.ref(trainer)
        if stage == "fit":
            self.looked = 0
            self.skipped.clear()
            announcement.forget(trainer)
            rescue.forget(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leaves the module as it was."""
        self._end(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leaves the module as it was."""
        self._end(trainer)

    def alarm(self, check: str, found: str, remedy: str) -> None:
        """Says that a check has failed: ``found`` is what was seen, ``remedy`` a whole sentence on what to do."""
        if check not in self.checks:
            raise KeyError(f"{type(self).__name__} declares no check {check!r}")
        if check in self.leave_out:
            return
        known = _TRAINERS.get(self)
        trainer = known() if known is not None else None
        rescued = rescue.write(trainer) if self.action == "save" else ""
        alarm = Alarm(type(self).__name__, check, found, remedy, rescued)
        if trainer is not None and self.announces:
            announcement.announce(trainer, alarm.guard, check, str(alarm))
        if self.action != "warn":
            raise alarm
        if check not in self._warned:
            self._warned.add(check)
            warnings.warn(str(alarm), GuardWarning, stacklevel=2)

    def skip(self, why: str) -> None:
        """Counts a look that had to be left out."""
        if why in self.skipped or len(self.skipped) < _REASONS:
            self.skipped[why] += 1

    def report(self) -> str:
        """What became of the guard's looks, in a line; empty where there is nothing to say."""
        name = type(self).__name__
        if self._failed:
            return f"{name} failed itself: {self._failed}"
        if not self.skipped:
            return ""
        why = "; ".join(f"{reason} ({count}x)" for reason, count in self.skipped.most_common(3))
        return f"{name} looked {self.looked} times, and left looks out: {why}"

    def _mistake(self, error: Exception) -> None:
        """Deals with an exception of the guard's own."""
        if self.own_errors == "raise":
            raise error
        if self._failed:
            return
        self._failed = f"{type(error).__name__}: {error}"
        self.ears.off()
        told = f"{type(self).__name__} failed itself and looks no more at this training: {self._failed}"
        warnings.warn(told, GuardWarning, stacklevel=3)

    def _end(self, trainer: Any) -> None:
        self.ears.off()
        if self.skipped and not self.looked and getattr(trainer, "is_global_zero", True):
            # Lightning's logger, since that shows what is no warning: to look at nothing is no alarm.
            logging.getLogger(f"{package(trainer)}.faultlab").info(self.report())

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        """What to construct the guard with where ``monitor`` is the metric that counts and ``mode`` its better side."""
        return {}


class _Keeping:
    """A guard's hook at a batch's beginning, and before it the care for what would be rescued."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __call__(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        rescue.keep(trainer, pl_module)
        type(self.guard).on_train_batch_start(self.guard, trainer, pl_module, batch, batch_idx)
