"""The Trainer of a copy of a module: the real one to read, with optimizers and schedulers whose steps do nothing."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

_COLLECTIVES = frozenset(("all_gather", "all_reduce", "barrier", "broadcast", "reduce", "reduce_boolean_decision"))


class IdleTrainer:
    """The Trainer of a copy of a module: without loggers, and with optimizers that leave all weights as they are.

    Args:
        trainer: The Trainer that the module is attached to.
        module: The copy, which is not kept alive.
        copies: The copies of the module's parameters, by the identity of the originals.
    """

    def __init__(self, trainer: Any, module: Any, copies: Mapping[int, Any]) -> None:
        self._trainer = trainer
        self._module = weakref.ref(module)
        self.logger = None
        self.loggers: list[Any] = []
        self.optimizers: Sequence[Any] = [IdleOptimizer(one, copies) for one in trainer.optimizers or ()]
        of_real = {id(real): idle for real, idle in zip(trainer.optimizers or (), self.optimizers)}
        self.lr_scheduler_configs = [
            SimpleNamespace(scheduler=IdleScheduler(one.scheduler, of_real))
            for one in trainer.lr_scheduler_configs or ()
        ]

    @property
    def lightning_module(self) -> Any:
        """The copy."""
        return self._module()

    model = lightning_module

    @property
    def strategy(self) -> Any:
        """The real strategy, without collectives if there are other processes: they don't run this copy."""
        trainer = self._trainer
        return trainer.strategy if getattr(trainer, "world_size", 1) == 1 else _Alone(trainer.strategy)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_trainer"), name)


class IdleOptimizer:
    """An optimizer of the parameters of a copy, with the settings of a real one. Its steps change nothing.

    Args:
        real: The optimizer of the module.
        copies: The copies of its parameters, by the identity of the originals.
    """

    def __init__(self, real: Any, copies: Mapping[int, Any]) -> None:
        self._real = real
        self.state: dict[Any, Any] = {}
        self.param_groups = [
            {**group, "params": [copies[id(one)] for one in group["params"] if id(one) in copies]}
            for group in real.param_groups
        ]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._real)

    @property
    def optimizer(self) -> IdleOptimizer:
        """The optimizer itself, as a wrapped one has it."""
        return self

    def step(self, closure: Callable[[], Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Run the closure, if there is one, and change nothing."""
        return closure() if closure is not None else None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the copy."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @contextlib.contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:
        """Do nothing: no step uses the gradients."""
        yield

    def __getattr__(self, name: str) -> Any:
        return _plain(object.__getattribute__(self, "_real"), name)


class IdleScheduler:
    """A scheduler that shows the state of a real one, and whose steps change nothing.

    Args:
        real: The scheduler of the training.
        optimizers: The copy's optimizers, by the identity of the real ones.
    """

    def __init__(self, real: Any, optimizers: Mapping[int, Any]) -> None:
        self._real = real
        self.optimizer = optimizers.get(id(getattr(real, "optimizer", None)))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._real)

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def get_last_lr(self) -> list[Any]:
        """Return the current learning rates of the real scheduler."""
        return list(self._real.get_last_lr())

    def __getattr__(self, name: str) -> Any:
        return _plain(object.__getattribute__(self, "_real"), name)


class _Alone:
    """The strategy of one process of several, for code that the others don't run."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        if name in _COLLECTIVES:
            raise RuntimeError(f"a copy of the module can't call {name}, since the other processes don't run it")
        return getattr(object.__getattribute__(self, "_strategy"), name)


def _plain(real: Any, name: str) -> Any:
    """Return a copy of an attribute of an optimizer or a scheduler; its methods could change the training."""
    value = getattr(real, name)
    if callable(value):
        raise AttributeError(f"{name} of {type(real).__name__} can't be called for a copy of the module")
    return value if isinstance(value, (int, float, str, bool, type(None))) else copy.copy(value)


def make_idle(module: Any, trainer: IdleTrainer) -> None:
    """Replace the methods that a copy of a module optimizes itself with.

    Args:
        module: The copy, attached to the Trainer.
        trainer: Its Trainer.
    """
    given = trainer.optimizers, [config.scheduler for config in trainer.lr_scheduler_configs]
    for name, values in zip(("optimizers", "lr_schedulers"), given):
        if callable(getattr(type(module), name, None)):
            object.__setattr__(module, name, _Returned(values, None if name == "lr_schedulers" else []))
    for name, method in (("manual_backward", _backward), ("clip_gradients", _nothing)):
        if hasattr(module, name):
            object.__setattr__(module, name, method)


class _Returned:
    """A method that returns values as Lightning does: a single one alone."""

    def __init__(self, values: Sequence[Any], none: Any) -> None:
        self._values, self._none = values, none

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._values:
            return self._none
        return self._values[0] if len(self._values) == 1 else list(self._values)


def _backward(loss: Any, *args: Any, **kwargs: Any) -> None:
    loss.backward(*args, **kwargs)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""
