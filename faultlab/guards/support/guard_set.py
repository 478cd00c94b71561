"""Several guards as one callback, since Lightning's calls of empty hooks cost more than the guards themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.lightning_callback import HOOKS, Callback, overrides


class GuardSet(Callback):
    """Several guards as one callback, which can be iterated over.

    It calls each guard at the hooks that the guard implements.

    Args:
        guards: The guards, in the order of their calls.
    """

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
        """Summarize what the guards could not check in this training.

        Returns:
            A line for each guard that failed or skipped looks; empty if there are none.
        """
        return "\n".join(line for guard in self.guards if (line := guard.report()))

    def state_dict(self) -> dict[str, Any]:
        """Return what the guards keep in a checkpoint, by class name."""
        return {type(guard).__name__: state for guard in self.guards if (state := guard.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what a checkpoint holds for the guards."""
        for guard in self.guards:
            if type(guard).__name__ in state_dict:
                guard.load_state_dict(state_dict[type(guard).__name__])


def _only_forgets(guard: Guard, hook: str) -> bool:
    method = getattr(type(guard), hook)
    return hook not in vars(guard) and getattr(method, "__wrapped__", method) is batch_view.forgetting


class _InTurn:
    """One hook of a set. It looks up methods when called, since observers of a guard replace them on the instance."""

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
        """Call every guard even if one raises, since they remove their hooks from the module here."""
        with contextlib.ExitStack() as stack:
            for guard in reversed(self.guards):
                stack.callback(getattr(guard, self.hook), *args, **kwargs)
