"""The base class of guards: a callback that observes a training and raises an alarm that names a cause and a remedy."""

from __future__ import annotations

import functools
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from faultlab.guards.alarm import Alarm, GuardWarning
from faultlab.guards.support import announcement, consensus, rescue
from faultlab.guards.support.callback import HOOKS, Callback
from faultlab.guards.support.exchange import Exchange, UnreachableError, meets
from faultlab.guards.support.listening import Ears
from faultlab.guards.support.terms import TRAINERS, Terms
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.training_view import TrainingView

Action = Literal["raise", "warn", "save"]
ACTIONS: tuple[Action, ...] = ("raise", "warn", "save")
Level = Literal["cheap", "full"]
LEVELS: tuple[Level, ...] = ("cheap", "full")


_REASONS = 16
"""How many different reasons `Guard.skip` counts. Reasons may contain addresses, so that their number has no bound."""


def held(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a hook of a guard so that the guard's own errors don't end the training.

    A hook whose first parameter is annotated as `TrainingView` is given a view, any other one the Trainer itself.
    """

    name, takes_view = hook.__name__, _takes_view(hook)

    # A training step calls these a hundred times, so what differs between hooks is decided outside of the wrappers.
    @functools.wraps(hook)
    def holding(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        if self._failed and not self._is_awaited:
            return None
        if self._viewed != id(training):
            self._look_at(training)
        if takes_view:
            training = self._view
        try:
            return hook(self, training, *args, **kwargs)
        except (Alarm, UnreachableError):
            raise
        except Exception as error:
            self._mistake(error)
            return None

    @functools.wraps(hook)
    def begun(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        self._failed, self._excepted = "", False
        if name == "setup":
            Guard.setup(self, training, *args, **kwargs)
        return holding(self, training, *args, **kwargs)

    @functools.wraps(hook)
    def ended(self: Any, training: Any, *args: Any, **kwargs: Any) -> Any:
        self._excepted = name == "on_exception"
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
    """The base class of the ready-made guards, and of your own.

    A guard only observes: it draws no random numbers and leaves gradients, modes, metrics and parameters unchanged. A
    subclass implements hooks of Lightning's `Callback` and calls `alarm` if a check fails.

    If a hook of the guard itself raises another exception than an `Alarm`, the guard warns once and is inactive for the
    rest of the training. While you write a guard, set ``own_errors = "raise"``.

    Args:
        action: What an alarm does. "raise" raises an `Alarm`, which ends the training. "warn" issues a `GuardWarning`,
            once for each check. "save" saves a checkpoint of the state before the failure and then raises.
        leave_out: Names of checks that do not fit the training. Their alarms are ignored.

    Attributes:
        level: The cost of the guard: "cheap" for every training, "full" for guards that look at every value or run
            forward passes of their own and may cost some percent.
        optional: Whether `all` leaves the guard out, so that it has to be constructed by itself.
        judges: The only thing that can set off the guard: the contents of "batches", how outputs depend on inputs
            ("forward"), whether gradients are those of the loss ("backward"), or whether "metrics" are those of the
            outputs. Empty if anything can set it off.
        checks: What the guard checks, as a clause by check name.
        causes: Comma-separated words for the causes that the alarms of a check name, by check name. Without them,
            faultlab searches an alarm's text for the cause.
        own_errors: Whether errors of the guard itself "warn" or "raise".
        announces: Whether alarms are also sent to the Trainer's loggers.
        together: Whether an alarm in a training of several ranks is held until all of them raise it, at the end of the
            batch, of the validation or of the epoch. Otherwise it is raised at once, on its own rank.
        exchange: How the guard compares ranks, if it does.
        looked: How often the guard looked in this training, if it counts that.
        skipped: How often the guard could not look in this training, by reason.
        dormant: Whether the guard has something to do in batches only around looks, until the next event between
            batches, whatever its hooks are marked as.
        watchful: Whether the guard has something to do in every batch, although its hooks are marked as `pace.unusual`.
        ears: The hooks on parts of the module. They are removed when the training ends, for whatever reason.

    Raises:
        ValueError: The action or a name in ``leave_out`` is unknown.
    """

    level: ClassVar[Level] = "cheap"
    optional: ClassVar[bool] = False
    judges: ClassVar[Literal["", "batches", "forward", "backward", "metrics"]] = ""
    checks: ClassVar[Mapping[str, str]] = {}
    causes: ClassVar[Mapping[str, str]] = {}

    own_errors: ClassVar[Literal["warn", "raise"]] = "warn"
    announces: bool = True
    together: bool = True
    exchange: Exchange | None = None
    dormant: bool = False
    watchful: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in set(HOOKS) & set(vars(cls)):
            setattr(cls, hook, held(vars(cls)[hook]))

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        if action not in ACTIONS:
            raise ValueError(f"invalid action {action!r}: expected 'raise', 'warn' or 'save'")
        self.action = action
        self.leave_out = frozenset(leave_out)
        if unknown := self.leave_out - set(self.checks):
            raise ValueError(
                f"{type(self).__name__} has no check {', '.join(sorted(unknown))}: expected {', '.join(self.checks)}"
            )
        self.looked = 0
        self.skipped: Counter[str] = Counter()
        self.ears = Ears(self._mistake)
        self._warned: set[str] = set()
        self._failed = ""
        self._view: TrainingView | None = None
        self._viewed = 0
        self._excepted = False
        if action == "save":
            self.on_train_batch_start = _Keeping(self)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        # The view would drag the training into copies.
        return {**self.__dict__, "_view": None, "_viewed": 0}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Start to observe a training of this Trainer."""
        view = self._look_at(trainer)
        if self.together:
            consensus.join(view)
        if stage == "fit":
            if self.exchange is not None:
                self.exchange.begin()
            self.looked = 0
            self.skipped.clear()
            announcement.forget(view)
            rescue.forget(view)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Remove the guard's hooks from the module."""
        self._end(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Remove the guard's hooks from the module."""
        self._end(trainer)

    def alarm(self, check: str, found: str, remedy: str, causes: str = "") -> None:
        """Raise the alarm of a check, or warn, as the guard's action demands.

        Args:
            check: The name of the check that failed, a key of ``checks``.
            found: What was found, with numbers, as a clause without a period.
            remedy: What to do about it, as whole sentences in the imperative.
            causes: Further comma-separated words for the cause, beside those that the class declares for the check.

        Raises:
            Alarm: The action is "raise" or "save", and the check is not left out. In a training of several ranks, it is
                raised later, on all of them.
            KeyError: The class declares no such check.
        """
        if check not in self.checks:
            raise KeyError(f"{type(self).__name__} declares no check {check!r}")
        if check in self.leave_out:
            return
        held = self.together and not self._excepted and consensus.is_joined(self._view)
        saves_elsewhere = held and self._view is not None and not self._view.is_global_zero
        rescued = rescue.write(self._view) if self.action == "save" and not saves_elsewhere else ""
        named = ", ".join(filter(None, (self.causes.get(check, ""), causes)))
        alarm = Alarm(type(self).__name__, check, found, remedy, rescued, named)
        if self._view is not None and self.announces:
            announcement.announce(self._view, alarm.guard, check, str(alarm))
        if self.action != "warn" and held and self._view is not None:
            alarm.saves = self.action == "save"
            consensus.hold(self._view, alarm)
            return
        if self.action != "warn":
            raise alarm
        self._warn(alarm)

    def advise(self, check: str, found: str, remedy: str) -> None:
        """Warn once of something that may be meant, whatever the guard's action is.

        Args:
            check: The name of the check, a key of ``checks``.
            found: What was found, with numbers, as a clause without a period.
            remedy: What to do about it, as whole sentences in the imperative.
        """
        if check in self.checks and check not in self.leave_out:
            self._warn(Alarm(type(self).__name__, check, found, remedy, causes=self.causes.get(check, "")))

    def _warn(self, alarm: Alarm) -> None:
        if alarm.check not in self._warned:
            self._warned.add(alarm.check)
            warning = GuardWarning(str(alarm))
            warning.causes = alarm.causes
            warnings.warn(warning, stacklevel=3)

    @property
    def terms(self) -> Terms:
        """The terms of the training, to write the texts of alarms in."""
        return TRAINERS if self._view is None else self._view.terms

    def batch_name(self, number: int) -> str:
        """Return the name of a batch in the texts of alarms.

        Args:
            number: The number of the batch in the current epoch.

        Returns:
            The name, such as ``batch 3``, in later epochs than the first ``batch 3 of epoch 2 (step 43)``.
        """
        view = self._view
        if view is None or not view.current_epoch:
            return f"batch {number}"
        return f"batch {number} of epoch {view.current_epoch} (step {view.global_step})"

    def skip(self, why: str) -> None:
        """Count a look that was not possible.

        Args:
            why: The reason, as a clause that can be read without context.
        """
        if why in self.skipped or len(self.skipped) < _REASONS:
            self.skipped[why] += 1

    def report(self) -> str:
        """Summarize what the guard could not check in this training.

        Returns:
            One line on the guard's own failure or on the looks that it skipped; empty if there were none.
        """
        name = type(self).__name__
        if self._failed:
            return f"{name} failed: {self._failed}"
        if not self.skipped:
            return ""
        why = "; ".join(f"{reason} ({count}x)" for reason, count in self.skipped.most_common(3))
        return f"{name} looked {self.looked} times, and skipped looks: {why}"

    def _mistake(self, error: Exception) -> None:
        """Raise an exception of the guard itself, or warn of it and deactivate the guard."""
        if self.own_errors == "raise":
            raise error
        if self._failed:
            return
        self._failed = f"{type(error).__name__}: {error}"
        self.ears.off()
        if self.exchange is not None:
            self.exchange.failed = True
        told = f"{type(self).__name__} failed and is inactive for the rest of this training: {self._failed}"
        warnings.warn(told, GuardWarning, stacklevel=3)

    @property
    def _is_awaited(self) -> bool:
        """True if counterparts on other ranks wait for this guard, although it failed, until they know."""
        exchange = self.exchange
        return exchange is not None and not exchange.ended and self._view is not None and meets(self._view)

    def _look_at(self, training: Any) -> TrainingView:
        """Make a Trainer, or the view of another training, the one that is observed."""
        self._view, self._viewed = view_of(training), id(training)
        return self._view

    def _end(self, training: Any) -> None:
        self.ears.off()
        view = view_of(training)
        if self.skipped and not self.looked and view.is_global_zero:
            # Lightning's logger, since it shows messages below a warning: a skipped look is not an alarm.
            logging.getLogger(view.log_name).info(self.report())
        if view is training:
            # A view doesn't keep its Trainer alive; another object given as a view may.
            self._view, self._viewed = None, 0

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        """Return the arguments that `all` constructs the guard with.

        Args:
            monitor: The name of the metric that the training is judged by, empty if there is none.
            mode: "min" or "max", whichever is better for the metric, or empty.

        Returns:
            Keyword arguments of the class; none by default.
        """
        return {}


class _Keeping:
    """The hook of a guard with the action "save" at the start of a batch: it first keeps the state to rescue."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __call__(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        rescue.keep(view_of(trainer), pl_module)
        type(self.guard).on_train_batch_start(self.guard, trainer, pl_module, batch, batch_idx)
