"""Who noticed, when an exception ended the run: the user's own check, a Trainer flag, or luck.

A ``raise`` or ``assert`` in the user's code is a decision to check, and counts as ``module``. Any other exception is an
incidental crash, in whichever frame it surfaced: unpacking a tensor into two names fails for some batch sizes and not
for others. Those count as ``framework``. The raising instruction tells the two apart.
"""

from __future__ import annotations

import dis
import sysconfig
import traceback
from pathlib import Path
from types import CodeType, TracebackType

from faultlab.detectors.notice import Notice, safe_text

_FRAMEWORK = ("torch", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "torchmetrics",
              "faultlab", "numpy")  # fmt: skip
_SITE = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib", "platstdlib")]

# What a Trainer flag raises, by the words of the installed versions' messages.
_FLAG_MESSAGES = {"detect_anomaly": "returned nan values in its"}


def classify(error: BaseException, step: int, flags: tuple[str, ...] = ()) -> Notice:
    """The notice that an exception stands for; ``flags`` names the scenario's Trainer flags that count as guards."""
    message = f"{type(error).__name__}: {safe_text(error)}"
    for flag in flags:
        if flag in _FLAG_MESSAGES and _FLAG_MESSAGES[flag] in message:
            return Notice("guard", flag, step, message, reason=type(error).__name__)
    place = _place(error.__traceback__)
    if isinstance(error, SystemExit):
        return Notice("process", "exit", step, f"the process exits with status {error.code}", "exited", str(error.code))
    kind = "module" if place is not None and _is_users(place[0].co_filename) and _raises(*place) else "framework"
    name = _function(place[0]) if place is not None and kind == "module" else "exception"
    return Notice(kind, name, step, message, reason=type(error).__name__)


def text(error: BaseException) -> str:
    """The whole traceback, for the log."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # a victim's __str__ may raise too
        return safe_text(error)


def _place(tb: TracebackType | None) -> tuple[CodeType, int] | None:
    place = None
    while tb is not None:
        place = (tb.tb_frame.f_code, tb.tb_lasti)
        tb = tb.tb_next
    return place


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename)
    for base in sorted(_SITE, key=lambda base: -len(base.parts)):
        if path.is_relative_to(base):
            installed = base in _SITE[:2]
            return installed and path.relative_to(base).parts[0] not in _FRAMEWORK
    return not path.is_relative_to(Path(__file__).parents[1])


def _function(code: CodeType) -> str:
    return str(getattr(code, "co_qualname", code.co_name))  # Python 3.10 has no qualified names here


def _raises(code: CodeType, offset: int) -> bool:
    return any(
        instruction.offset == offset and instruction.opname in ("RAISE_VARARGS", "RERAISE")
        for instruction in dis.get_instructions(code)
    )
