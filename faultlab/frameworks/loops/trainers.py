"""The Trainers of other packages that run a loop for the user. Each has an adapter that follows it by its own names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.loop import Loop

CALLBACKS = ("transformers.trainer_callback:TrainerCallback",)
"""The classes that the callbacks of these Trainers derive from."""
ADAPTERS: Mapping[str, str] = {"transformers.trainer": "faultlab.frameworks.hf.loop"}
"""For each module with a class ``Trainer``, the module with the class ``TrainerLoop`` that follows it."""


def running() -> str:
    """Return the module of the Trainer that is running the current code, empty if none is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        for name in ADAPTERS:
            trainer = getattr(sys.modules.get(name), "Trainer", None)
            if trainer is not None and isinstance(owner, trainer):
                return name
        frame = frame.f_back
    return ""


def hooks_of(callback: Any) -> list[str]:
    """Return the hooks that a callback of one of these Trainers implements."""
    for path in CALLBACKS:
        module, _, name = path.partition(":")
        base = getattr(sys.modules.get(module), name, None)
        if base is not None and isinstance(callback, base):
            hooks = [hook for hook in dir(base) if hook.startswith("on_")]
            return [hook for hook in hooks if getattr(type(callback), hook) is not getattr(base, hook)]
    return []


def loop_of(layout: Layout) -> type[Loop]:
    """Return the class that follows a loop of this layout. Imports its Trainer."""
    if not layout.trainer:
        return Loop
    found: type[Loop] = importlib.import_module(ADAPTERS[layout.trainer]).TrainerLoop
    return found
