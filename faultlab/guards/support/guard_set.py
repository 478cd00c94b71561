"""Several guards as one callback: Lightning spends more on calling a callback's empty hooks than a guard on looking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.lightning_callback import HOOKS, Callback, overrides


class GuardSet(Callback):
    """Calls each of its guards, in their order, at the hooks that the guard has. Iterates over them."""

    def __init__(self, guards: Iterable[Guard]) -> None:
        self.guards = list(guards)
        for hook in HOOKS:
            asked = [guard for guard in self.guards if overrides(guard, hook) or hook in vars(guard)]
            forgetting = [guard for guard in asked if _only_forgets(guard, hook)]
            asked = [guard for guard in asked if guard not in forgetting[:-1]]
            if asked:
                setattr(self, hook, _InTurn(hook, asked))

    def __iter__(self) -> Iterator[Guard]:
        return iter(self.guards)

    def __len__(self) -> int:
        return len(self.guards)

    def report(self) -> str:
        """What became of the looks of guards that failed, or had to leave some out: a line each, mostly none."""
        return "\n".join(line for guard in self.guards if (line := guard.report()))

    def state_dict(self) -> dict[str, Any]:
        """What the guards want kept in a checkpoint, by class name."""
        return {type(guard).__name__: state for guard in self.guards if (state := guard.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives the guards back what a checkpoint has kept for them."""
        for guard in self.guards:
            if type(guard).__name__ in state_dict:
                guard.load_state_dict(state_dict[type(guard).__name__])


def _only_forgets(guard: Guard, hook: str) -> bool:
    method = getattr(type(guard), hook)
    return hook not in vars(guard) and getattr(method, "__wrapped__", method) is batch_view.forgetting


class _InTurn:
    """One hook of a set. Looks methods up when called, since whoever watches a guard puts a method on the instance."""

    def __init__(self, hook: str, guards: list[Guard]) -> None:
        self.hook = hook
        self.guards = guards

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        hook = self.hook
        with pace.OneHook():
            if hook == "on_exception":
                self._all(*args, **kwargs)
                return
            for guard in self.guards:
                getattr(guard, hook)(*args, **kwargs)

    def _all(self, *args: Any, **kwargs: Any) -> None:
        """Every guard's turn, though one may raise: it is the last, in which they leave the module as it was."""
        with contextlib.ExitStack() as stack:
            for guard in reversed(self.guards):
                stack.callback(getattr(guard, self.hook), *args, **kwargs)
