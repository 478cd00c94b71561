"""What every guard is: a callback that looks, and says what is wrong in words that name the cause and a remedy."""

from __future__ import annotations

import functools
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from faultlab.guards.support import announcement, rescue
from faultlab.guards.support.lightning_callback import HOOKS, Callback
from faultlab.guards.support.lightning_view import view_of
from faultlab.guards.support.listening import Ears
from faultlab.guards.support.training_view import TrainingView

Action = Literal["raise", "warn", "save"]
ACTIONS: tuple[Action, ...] = ("raise", "warn", "save")
Level = Literal["cheap", "full"]
LEVELS: tuple[Level, ...] = ("cheap", "full")


class Alarm(RuntimeError):  # noqa: N818 - it is what a guard is for, not an error of its own
    """A guard has detected a failure. ``guard`` is its class's name, ``check`` which of its checks it was.

    ``rescued`` says where the state before the failure was written to, or why it was not, if a guard was asked to.
    """

    def __init__(self, guard: str, check: str, found: str, remedy: str, rescued: str = "", causes: str = "") -> None:
        self.guard = guard
        self.check = check
        self.found = found
        self.remedy = remedy
        self.rescued = rescued
        self.causes = causes
        super().__init__(f"{guard}: {found}. {remedy}" + (f" {rescued}" if rescued else ""))

    def __reduce__(self) -> Any:
        return type(self), (self.guard, self.check, self.found, self.remedy, self.rescued, self.causes)


_REASONS = 16
"""As many reasons for leaving a look out are told apart, since messages may hold addresses."""


class GuardWarning(UserWarning):
    """What a guard says that was asked to warn. ``causes`` are those of its `Alarm`."""

    causes: str = ""


def held(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of a guard whose own mistakes do not end a training that nothing is wrong with.

    Where its first parameter is declared to be a `TrainingView` it is given that, else the Trainer as it comes.
    """

    name, takes_view = hook.__name__, _takes_view(hook)

    # A step of a training calls some hundred of these: what differs between hooks is decided here, and not in there.
    @functools.wraps(hook)
    def holding(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        if self._failed:
            return None
        if takes_view:
            if self._viewed != id(training):
                self._look_at(training)
            training = self._view
        try:
            return hook(self, training, *args, **kwargs)
        except Alarm:
            raise
        except Exception as error:
            self._mistake(error)
            return None

    @functools.wraps(hook)
    def begun(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        self._failed = ""
        if name == "setup":
            Guard.setup(self, training, *args, **kwargs)
        return holding(self, training, *args, **kwargs)

    @functools.wraps(hook)
    def ended(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return holding(self, training, *args, **kwargs)
        finally:
            self._end(training)

    if name in ("setup", "on_fit_start"):
        return begun
    return ended if name in ("on_fit_end", "on_exception") else holding


def _takes_view(hook: Callable[..., Any]) -> bool:
    code = getattr(hook, "__code__", None)
    first = code.co_varnames[1] if code is not None and code.co_argcount > 1 else ""
    return getattr(hook, "__annotations__", {}).get(first) in (TrainingView, TrainingView.__name__)


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
    causes: ClassVar[Mapping[str, str]] = {}

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
        self._view: TrainingView | None = None
        self._viewed = 0
        if action == "save":
            self.on_train_batch_start = _Keeping(self)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        # The view would drag the training into copies.
        return {**self.__dict__, "_view": None, "_viewed": 0}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begins to look at a training of this Trainer's."""
        view = self._look_at(trainer)
        if stage == "fit":
            self.looked = 0
            self.skipped.clear()
            announcement.forget(view)
            rescue.forget(view)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leaves the module as it was."""
        self._end(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leaves the module as it was."""
        self._end(trainer)

    def alarm(self, check: str, found: str, remedy: str, causes: str = "") -> None:
        """Says that a check has failed: ``found`` is what was seen, ``remedy`` a whole sentence on what to do."""
        if check not in self.checks:
            raise KeyError(f"{type(self).__name__} declares no check {check!r}")
        if check in self.leave_out:
            return
        rescued = rescue.write(self._view) if self.action == "save" else ""
        named = ", ".join(filter(None, (self.causes.get(check, ""), causes)))
        alarm = Alarm(type(self).__name__, check, found, remedy, rescued, named)
        if self._view is not None and self.announces:
            announcement.announce(self._view, alarm.guard, check, str(alarm))
        if self.action != "warn":
            raise alarm
        if check not in self._warned:
            self._warned.add(check)
            warning = GuardWarning(str(alarm))
            warning.causes = named
            warnings.warn(warning, stacklevel=2)

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

    def _look_at(self, training: Any) -> TrainingView:
        """Take a Trainer, or the view of another training, for the one that is looked at."""
        self._view, self._viewed = view_of(training), id(training)
        return self._view

    def _end(self, training: Any) -> None:
        self.ears.off()
        view = view_of(training)
        if self.skipped and not self.looked and view.is_global_zero:
            # Lightning's logger, since that shows what is no warning: to look at nothing is no alarm.
            logging.getLogger(view.log_name).info(self.report())
        if view is training:
            # A view of a Trainer doesn't keep it alive, another may.
            self._view, self._viewed = None, 0

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        """What to construct the guard with where ``monitor`` is the metric that counts and ``mode`` its better side."""
        return {}


class _Keeping:
    """A guard's hook at a batch's beginning, and before it the care for what would be rescued."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __call__(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        rescue.keep(view_of(trainer), pl_module)
        type(self.guard).on_train_batch_start(self.guard, trainer, pl_module, batch, batch_idx)
