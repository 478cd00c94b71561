"""The calls of the user's callbacks in a clean run, whatever calls them."""

from __future__ import annotations


class CallbackCalls:
    """Records the steps in which hooks of callbacks are called."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, list[int]]] = {}

    def note(self, name: str, hook: str, step: int) -> None:
        """Note a call of a callback's hook."""
        self._steps.setdefault(name, {}).setdefault(hook, []).append(step)

    def hooks(self, steps: int) -> dict[str, dict[str, int]]:
        """Return how often each callback's hooks were called, without hooks that end before the middle of the run."""
        return {
            name: {hook: len(calls) for hook, calls in hooks.items() if calls[-1] + 1 >= steps // 2}
            for name, hooks in self._steps.items()
        }
