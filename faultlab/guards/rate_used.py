"""The guard that checks that the learning rate of a module's configuration is that of its optimizer."""

from __future__ import annotations

import dis
import math
import types
from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import packages
from faultlab.guards.support.parameter_samples import optimizers_of
from faultlab.guards.support.training_view import TrainingView

_NAMES = ("lr", "learning_rate")
_LIBRARIES = ("torch", "builtins", "abc", "typing")
_ANY = frozenset({"__dict__", "vars", "hparams", "asdict", "getattr"})
"""With these names, a method may read any attribute."""
_OF_ATTRIBUTES = ("_ATTR", "LOAD_METHOD", "COPY", "DUP_TOP")
"""The ends of the names of instructions that follow the load of an object whose attribute is read, set or added to."""


class RateUsed(Guard):
    """A guard against a learning rate that a module is configured with, keeps, and never reads.

    The module has a number as ``lr`` or ``learning_rate``, no optimizer has that rate, nor a scheduler begins or peaks
    with it, and no method of its classes reads it. Modules without `configure_optimizers` are not judged, nor those
    that pass themselves to a function there, which may read it.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"unused": "the module's learning rate is not that of its optimizers, and nothing reads it"}
    causes = {"unused": "learning rate, unused, ignored, optimizer"}

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        optimizers = optimizers_of(trainer)
        if not optimizers or not hasattr(type(pl_module), "configure_optimizers") or trainer.global_step:
            return
        rates = {
            float(rate)
            for optimizer in optimizers
            for group in optimizer.param_groups
            for name in ("lr", "initial_lr", "max_lr", "base_lr")
            if isinstance(rate := group.get(name), (int, float))
        }
        self.looked += 1
        for name in _NAMES:
            value = vars(pl_module).get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                continue
            if any(math.isclose(value, rate, rel_tol=1e-6) for rate in rates) or _reads(type(pl_module), name):
                continue
            shown = ", ".join(f"{rate:g}" for rate in sorted(rates))
            self.alarm(
                "unused",
                f"{type(pl_module).__name__}.{name} is {value:g}, and no method reads it: the learning rate of the "
                f"optimizers is {shown}",
                f"Use self.{name} in configure_optimizers, or remove the setting.",
            )


def _reads(cls: type, name: str) -> bool:
    """Return whether any method of a class, as far as its source is the user's, may read an attribute."""
    for owner in cls.__mro__:
        if packages.stock(owner) or owner.__module__.partition(".")[0] in _LIBRARIES:
            continue
        for method in vars(owner).values():
            function = getattr(method, "fget", None) or getattr(method, "__func__", method)
            function = getattr(function, "__wrapped__", function)
            if isinstance(function, types.FunctionType):
                code = function.__code__
                # Other methods load the module itself to call it.
                own = code.co_varnames[0] if code.co_argcount and "optim" in code.co_name else ""
                if any(_read_in(code, name)) or any(_passes(code, own)):
                    return True
            if not isinstance(function, types.FunctionType) and callable(function):
                # Compiled or wrapped in something else, so that its code is unknown.
                return True
    return False


def _read_in(code: types.CodeType, name: str) -> Iterator[bool]:
    for instruction in dis.get_instructions(code):
        reads = instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME")
        yield reads and (instruction.argval == name or instruction.argval in _ANY)
        yield instruction.opname == "LOAD_CONST" and instruction.argval == name and code.co_name != "__init__"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _read_in(constant, name)


def _passes(code: types.CodeType, own: str) -> Iterator[bool]:
    """Yield for each instruction whether it loads the module, by its name in the method, for more than an attribute."""
    instructions = [*dis.get_instructions(code)]
    # If functions within the method use it, any other load only makes these functions.
    within = own in code.co_cellvars or own in code.co_freevars
    names = ("LOAD_DEREF",) if within else ("LOAD_FAST", "STORE_FAST_LOAD_FAST")
    for instruction, following in zip(instructions, [*instructions[1:], None]):
        loads = own and instruction.opname.startswith(names)
        # Newer versions of Python load two names at once, and the following instruction is about the last.
        loaded = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        if loads and own in loaded:
            yield loaded[-1] != own or following is None or not following.opname.endswith(_OF_ATTRIBUTES)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _passes(constant, own)
