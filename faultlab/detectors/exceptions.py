"""The detector of a run that an exception ended: the user's own check, a Trainer flag, or an incidental crash.

A ``raise`` or ``assert`` in the user's code is a deliberate check, and counts as ``module``. Any other exception is an
incidental crash, whatever frame raised it: unpacking a tensor into two names fails for some batch sizes and not for
others. Those count as ``framework``. The raising instruction distinguishes the two. The alarm of a ready-made guard,
which the user's own loop lets watch it, counts as ``guard``.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import dis
import traceback
from types import CodeType, FrameType, TracebackType
from typing import Any

from faultlab.core.alert import Alert, causes_of, safe_text
from faultlab.core.user_code import UserCode

# Parts of the messages of the exceptions that Trainer flags raise, in the installed versions.
_FLAG_MESSAGES = {"detect_anomaly": "returned nan values in its"}


def classify(error: BaseException, step: int, code: UserCode, flags: tuple[str, ...] = ()) -> Alert:
    """Return the alert for an exception; ``flags`` names the scenario's Trainer flags that count as guards."""
    message = f"{type(error).__name__}: {safe_text(error)}"
    for flag in flags:
        if flag in _FLAG_MESSAGES and _FLAG_MESSAGES[flag] in message:
            return Alert("guard", flag, step, message, reason=type(error).__name__)
    if (alarm := alarm_in(error)) is not None:
        return Alert("guard", alarm.guard, step, message, "raised", alarm.check, causes_of(error))
    place = place_of(error.__traceback__)
    if isinstance(error, SystemExit):
        return Alert("process", "exit", step, f"the process exits with status {error.code}", "exited", str(error.code))
    # An exception that is the fault itself was not raised by a check.
    intended = getattr(error, "__faultlab_intended__", False)
    if place is None or intended or not code.holds(place[0]) or not raises(place[0].f_code, place[1]):
        return Alert("framework", "exception", step, message, reason=type(error).__name__, causes=causes_of(error))
    function = _function(place[0].f_code)
    return Alert("module", function, step, message, reason=type(error).__name__, causes=causes_of(error))


def alarm_in(error: BaseException) -> Any:
    """Return the exception if it is the alarm of a ready-made guard, else None."""
    return error if getattr(type(error), "__faultlab_alarm__", False) else None


def text(error: BaseException) -> str:
    """Return the whole traceback, for the log."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # a victim's __str__ may raise, too
        return safe_text(error)


def place_of(tb: TracebackType | None) -> tuple[FrameType, int] | None:
    """Return the innermost frame of a traceback and the offset of its instruction."""
    place = None
    while tb is not None:
        place = (tb.tb_frame, tb.tb_lasti)
        tb = tb.tb_next
    return place


def _function(code: CodeType) -> str:
    return str(getattr(code, "co_qualname", code.co_name))  # Python 3.10 has no qualified names here


def raises(code: CodeType, offset: int) -> bool:
    """Return whether the instruction raises deliberately, as `raise` and `assert` do."""
    return any(
        instruction.offset == offset and instruction.opname in ("RAISE_VARARGS", "RERAISE")
        for instruction in dis.get_instructions(code)
    )
