"""In the victim: objects of the user's own that are around a call, found in the frames that are running."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from faultlab.core.user_code import UserCode


def wrapper_not_used(code: UserCode, optimizer: Any) -> str:
    """Return the name and class of the user's object that has the optimizer and a step method, which is not running.

    Empty if there is none, or if its step is what steps the optimizer.
    """
    found = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if code.holds(frame):
            owner = frame.f_locals.get("self")
            if _wraps(owner, optimizer) and frame.f_code.co_name == "step":
                return ""
            for name, value in list(frame.f_locals.items()):
                if not found and _wraps(value, optimizer):
                    found = f"{name} ({type(value).__name__})"
        frame = frame.f_back
    return found


def _wraps(value: Any, optimizer: Any) -> bool:
    held = getattr(value, "__dict__", None)
    own = type(value).__module__.partition(".")[0] not in ("torch", "transformers", "accelerate", "builtins")
    return (
        own
        and isinstance(held, dict)
        and callable(getattr(type(value), "step", None))
        and any(one is optimizer for one in held.values())
    )
