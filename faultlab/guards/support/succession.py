"""The optimizers of a loop as it continues: their hooks, and one that it creates midway in place of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import register_optimizer_step_pre_hook

from faultlab.guards.support.parameter_samples import parameters_of
from faultlab.guards.support.trials import trying

_Hook = Callable[[Any, Any, Any], None]


class Succession:
    """The hooks on the known optimizers of a loop, and a look at the steps of all others.

    Another optimizer takes the place of those that it leaves nothing to train. If one of these steps in the same batch,
    the other is one of inner steps, and the loop keeps its optimizers.

    Args:
        optimizers: The known optimizers. Those that are replaced in the loop are replaced in this list.
        module: The module that is trained.
        before: Called before each step of a known optimizer.
        after: Called after it.
        is_open: Returns whether a batch waits for its step.
    """

    def __init__(
        self, optimizers: list[Any], module: Any, before: _Hook, after: _Hook, is_open: Callable[[], bool]
    ) -> None:
        self._optimizers, self._module = optimizers, module
        self._before, self._after, self._is_open = before, after, is_open
        self._handles: dict[int, list[Any]] = {}
        self._earlier: list[Any] = []
        self._has_inner_steps = False
        for optimizer in optimizers:
            self.hook(optimizer)
        self._of_all = register_optimizer_step_pre_hook(self._steps)

    def hook(self, optimizer: Any) -> None:
        """Call the hooks for the steps of an optimizer from now on, the coming one included."""
        handles = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]
        self._handles[id(optimizer)] = handles

    def begin_batch(self) -> None:
        """Note that another batch begins, so that the optimizers replaced in the last one do not come back."""
        self._earlier = []

    def leave(self) -> None:
        """Remove all hooks."""
        self._of_all.remove()
        self._earlier = []
        for key in [*self._handles]:
            self._unhook(key)

    def _steps(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if id(optimizer) in self._handles or self._has_inner_steps or trying():
            return
        if any(optimizer is one for one in self._earlier):
            self._has_inner_steps = True
            self._exchange(self._earlier)
            return
        replaced = _replaced(optimizer, self._optimizers, self._module)
        if replaced and self._is_open():
            self._earlier = [*self._optimizers]
            left = [one for one in self._optimizers if all(one is not other for other in replaced)]
            self._exchange([*left, optimizer])

    def _exchange(self, optimizers: list[Any]) -> None:
        for key in {id(one) for one in self._optimizers} - {id(one) for one in optimizers}:
            self._unhook(key)
        self._optimizers[:] = optimizers
        for one in optimizers:
            if id(one) not in self._handles:
                self.hook(one)

    def _unhook(self, key: int) -> None:
        for handle in self._handles.pop(key, []):
            handle.remove()


def _replaced(optimizer: Any, known: list[Any], module: Any) -> list[Any]:
    """Return the known optimizers to which another one leaves no parameter of the module that is still trained."""
    trained = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    own = {id(parameter) for parameter in parameters_of(optimizer)}
    if not own & trained:
        return []
    return [one for one in known if not any(id(p) in trained and id(p) not in own for p in parameters_of(one))]
