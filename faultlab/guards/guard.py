"""What every guard is: a callback that looks, and says what is wrong in words that name the cause and a remedy."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from faultlab.guards.lightning import HOOKS, Callback

Action = Literal["raise", "warn"]
Level = Literal["cheap", "full"]
LEVELS: tuple[Level, ...] = ("cheap", "full")


class Alarm(RuntimeError):  # noqa: N818 - it is what a guard is for, not an error of its own
    """A guard has noticed a failure. ``guard`` is its class's name, ``check`` which of its checks it was."""

    def __init__(self, guard: str, check: str, found: str, remedy: str) -> None:
        self.guard = guard
        self.check = check
        self.found = found
        self.remedy = remedy
        super().__init__(f"{guard}: {found}. {remedy}")

    def __reduce__(self) -> Any:
        return type(self), (self.guard, self.check, self.found, self.remedy)


class GuardWarning(UserWarning):
    """What a guard says that was asked to warn."""


def _held(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of a guard whose own mistakes do not end a training that nothing is wrong with."""

    begins = hook.__name__ in ("setup", "on_fit_start")

    @functools.wraps(hook)
    def held(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._failed and not begins:
            return None
        self._failed = False
        try:
            return hook(self, *args, **kwargs)
        except Alarm:
            raise
        except Exception as error:
            if self.own_errors == "raise":
                raise
            self._fail(error)
            return None

    return held


class Guard(Callback):
    """The base of the ready-made guards.

    A guard only looks: it draws no random number, and leaves gradients, modes, metrics and parameters as they are. It
    raises an `Alarm`, which ends the training, or, with ``action="warn"``, warns once for each of its checks. Should it
    fail itself, it says so once and looks no more; ``own_errors = "raise"`` is for those who write guards.

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in set(HOOKS) & set(vars(cls)):
            setattr(cls, hook, _held(vars(cls)[hook]))

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        if action not in ("raise", "warn"):
            raise ValueError(f"a guard's action is 'raise' or 'warn', not {action!r}")
        self.action = action
        self.leave_out = frozenset(leave_out)
        if unknown := self.leave_out - set(self.checks):
            raise ValueError(
                f"{type(self).__name__} has no check {', '.join(sorted(unknown))}: {', '.join(self.checks)}"
            )
        self._warned: set[str] = set()
        self._failed = False

    def alarm(self, check: str, found: str, remedy: str) -> None:
        """Says that a check has failed: ``found`` is what was seen, ``remedy`` a whole sentence on what to do."""
        if check not in self.checks:
            raise KeyError(f"{type(self).__name__} declares no check {check!r}")
        if check in self.leave_out:
            return
        alarm = Alarm(type(self).__name__, check, found, remedy)
        if self.action == "raise":
            raise alarm
        if check not in self._warned:
            self._warned.add(check)
            warnings.warn(str(alarm), GuardWarning, stacklevel=2)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        name = type(self).__name__
        told = f"{name} failed itself and looks no more at this training: {type(error).__name__}: {error}"
        warnings.warn(told, GuardWarning, stacklevel=3)

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        """What to construct the guard with where ``monitor`` is the metric that counts and ``mode`` its better side."""
        return {}
