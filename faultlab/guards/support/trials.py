"""Copies of the module to try out. No other module makes copies and runs them.

Guards that look at the same moment share a copy, as long as one of them holds it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from faultlab.guards.support import trainer_state, whole
from faultlab.guards.support.draws import undrawn
from faultlab.guards.support.exchange import meets
from faultlab.guards.support.idle_trainer import IdleTrainer, make_idle
from faultlab.guards.support.parameter_samples import writes
from faultlab.guards.support.trainer_view import give_trainer, trainer_of
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.support.twins import copied

_trying = False


def trying() -> bool:
    """Return whether a guard is running a copy of the module, so that hooks on layers ignore the call."""
    return _trying


class Trial:
    """A copy of a module in its current state, which logs nothing and shares its data with the module.

    Its Trainer is the module's, to be read: it has no loggers, and its optimizers and schedulers do nothing.

    Args:
        pl_module: The module.
        trainer: The training that it is in.
        source: What to copy, if not the module itself.

    Raises:
        Exception: Whatever the module raises if it can't be copied.
    """

    def __init__(self, pl_module: Any, trainer: TrainingView, source: Any = None) -> None:
        given, memo = trainer_of(pl_module), _left_as_they_are(pl_module)
        with undrawn():
            self.module: Any = copied(pl_module if source is None else source, memo)
        self.trainer = trainer
        self._modes: list[tuple[Any, bool]] = []
        for part in self.module.modules():
            part._compiled_call_impl = None  # compiled in place it would call the original
            self._modes.append((part, part.training))
        self._evaluates = False
        if given is not None:
            # Lightning detaches a copy, whose step then can't read anything from the Trainer.
            idle = IdleTrainer(given, self.module, memo)
            give_trainer(self.module, idle)
            make_idle(self.module, idle)
        for name in [name for name, value in vars(self.module).items() if hasattr(value, trainer_state.ATTACHED)]:
            delattr(self.module, name)  # it would call the original
        for name in ("log", "log_dict", "print"):
            if hasattr(self.module, name):
                object.__setattr__(self.module, name, _nothing)

    @contextlib.contextmanager
    def running(self, *, evaluates: bool = False, grad: bool = False) -> Iterator[None]:
        """Run the copy in the context: random states are restored, and the precision is the Trainer's.

        Args:
            evaluates: Whether to run in eval mode; otherwise in the modes that the module was copied in.
            grad: Whether to compute gradients.
        """
        global _trying
        precision = self.trainer.forward_context
        before, _trying = _trying, True
        try:
            # Lightning validates in inference mode, whose tensors don't support backward.
            with undrawn(), _uncompiled(), torch.inference_mode(False), torch.set_grad_enabled(grad), precision():
                self._turn(evaluates)
                yield
        finally:
            _trying = before

    def _turn(self, evaluates: bool) -> None:
        if evaluates == self._evaluates:
            return
        self._evaluates = evaluates
        if evaluates:
            self.module.eval()
        else:
            for part, training in self._modes:
                part.training = training

    def part(self, name: str) -> Any:
        """Return the part of the copy with a name, the copy itself for an empty one."""
        return getattr(self.module, name) if name else self.module

    def step(self, batch: Any, batch_idx: int, which: str = "training_step") -> Any:
        """Return the output of a step of the copy for a batch, with or without the index; within `running`."""
        own = getattr(self.module, which)
        by_hand = which == "training_step" and not trainer_state.learns(self.module)
        # A decorator's wrapper takes anything, and passes it on to a step that may need the index.
        code = getattr(inspect.unwrap(getattr(own, "__func__", own)), "__code__", None)
        takes_index = code is None or code.co_argcount > 2 or "batch_idx" in code.co_varnames or _takes_any(code)
        # A step that optimizes by hand calls backward itself.
        with torch.enable_grad() if by_hand else contextlib.nullcontext():
            return own(batch, batch_idx) if takes_index else own(batch)


def _takes_any(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_VARARGS)


_SHARED: weakref.WeakKeyDictionary[Any, tuple[Any, weakref.ref[Trial]]] = weakref.WeakKeyDictionary()


_WHOLE: weakref.WeakKeyDictionary[Any, tuple[weakref.ref[Any], Any]] = weakref.WeakKeyDictionary()
"""The training of each module whose parameters ranks share, and what its copies are made of."""


def _left_as_they_are(pl_module: Any) -> dict[int, Any]:
    """Return what a copy of a module shares with it, by identity: its Trainer and its data."""
    given = trainer_of(pl_module)
    memo: dict[int, Any] = {} if given is None else {id(given): given}
    for value in list(vars(pl_module).values()):
        if isinstance(value, (DataLoader, Dataset)) or type(value).__name__.endswith(("Trainer", "DataModule")):
            memo[id(value)] = value
    return memo


def prepare(pl_module: Any, trainer: TrainingView, skip: Callable[[str], None]) -> None:
    """Make copies possible of a module whose parameters the ranks share, with the weights that it has now.

    Every rank has to call it at the same place of the training. It does nothing for any other module; arguments as for
    `own`.
    """
    known = _WHOLE.get(pl_module)
    if not trainer.is_sharded or not meets(trainer) or (known is not None and known[0]() is trainer):
        return
    _WHOLE.pop(pl_module, None)
    if (made := _put_together(pl_module, skip)) is not None:
        _WHOLE[pl_module] = weakref.ref(trainer), made


def _put_together(pl_module: Any, skip: Callable[[str], None]) -> Any:
    """Return a copy with the parameters of all ranks; None if it would be too large, or can't be made."""
    try:
        if whole.size_of(pl_module) > whole.LARGEST:
            return None
        with undrawn():
            made = whole.copy_of(pl_module, _left_as_they_are(pl_module))
        if trainer_of(pl_module) is not None:
            # It would keep the module alive.
            give_trainer(made, None)
    except Exception as error:
        skip(f"the module can't be copied: {type(error).__name__}: {error}")
        return None
    return made


def of_present(pl_module: Any, trainer: TrainingView, skip: Callable[[str], None]) -> Trial | None:
    """Return a copy as `shared` does, but with the weights of this moment even if the ranks share them.

    Then every rank has to call it at the same place of the training, and the copy is for one guard alone.
    """
    if not trainer.is_sharded:
        return shared(pl_module, trainer, skip)
    made = _put_together(pl_module, skip) if meets(trainer) else None
    if made is None:
        skip("the ranks share the module's parameters, and no rank has the present ones to make a copy")
        return None
    try:
        return Trial(pl_module, trainer, made)
    except Exception as error:
        skip(f"the module can't be copied: {type(error).__name__}: {error}")
        return None


def own(pl_module: Any, trainer: TrainingView, skip: Callable[[str], None]) -> Trial | None:
    """Return a copy for one guard alone, which may change its weights, or None if the module can't be copied.

    If the ranks share the module's parameters, the copy has the weights that they had at `prepare`.

    Args:
        pl_module: The module.
        trainer: The training that it is in.
        skip: Called with the reason if there is no copy: a guard's `skip`.
    """
    known = _WHOLE.get(pl_module)
    if trainer.is_sharded and known is None:
        skip("the ranks share the module's parameters, and no rank has all of them to make a copy")
        return None
    try:
        return Trial(pl_module, trainer, known[1] if trainer.is_sharded and known is not None else None)
    except Exception as error:
        skip(f"the module can't be copied: {type(error).__name__}: {error}")
        return None


def shared(pl_module: Any, trainer: TrainingView, skip: Callable[[str], None]) -> Trial | None:
    """Return the copy of this moment, for guards that leave its weights unchanged; arguments as for `own`."""
    moment = trainer.global_step, trainer.sanity_checking, writes(pl_module)
    known = _SHARED.get(pl_module)
    trial = known[1]() if known is not None and known[0] == moment else None
    if trial is None:
        trial = own(pl_module, trainer, skip)
        if trial is not None:
            _SHARED[pl_module] = moment, weakref.ref(trial)
    return trial


def keep_apart(pl_module: Any) -> None:
    """Stop sharing the module's current copy, since its weights are about to change."""
    _SHARED.pop(pl_module, None)


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Run compiled code eagerly, since a copy would be recompiled, at the training's expense."""
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    with stance("force_eager") if stance else contextlib.nullcontext():
        yield


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing, in place of methods that log."""
