"""The calls of the Trainer's callbacks in a clean run, and the callbacks that the module adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning.seams.callbacks import named_callbacks, own_hooks
from faultlab.frameworks.torch.callback_calls import CallbackCalls
from faultlab.injection.clock import Clock


class CallbackRecord:
    """Records the steps of calls to callbacks' hooks, through the wrappers that it makes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls = CallbackCalls()
        self._of_module: list[Any] = []

    def configuring_callbacks(self, configure: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``configure_callbacks``."""

        def configuring(*args: Any, **kwargs: Any) -> Any:
            result = configure(*args, **kwargs)
            self._of_module += result if isinstance(result, (list, tuple)) else [result]
            return result

        return configuring

    def given(self, trainer: Any) -> list[tuple[str, Any]]:
        """Return the callbacks of the Trainer's arguments, without those that the module added."""
        brought = {id(callback) for callback in self._of_module}
        return [(name, callback) for name, callback in named_callbacks(trainer) if id(callback) not in brought]

    def calling_back(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function that calls a hook of every callback."""

        def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
            # On the instances, because Lightning calls some hooks of only some callbacks.
            with Patches() as patches:
                for name, callback in named_callbacks(trainer):
                    if hook in own_hooks(callback):
                        patches.wrap(callback, hook, self._counting(name, hook))
                return call(trainer, hook, *args, **kwargs)

        return calling

    def _counting(self, name: str, hook: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(method: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any, **kwargs: Any) -> Any:
                self._calls.note(name, hook, self._clock.step)
                return method(*args, **kwargs)

            return counting

        return make

    def hooks(self, steps: int) -> dict[str, dict[str, int]]:
        """Return how often each callback's hooks were called, without hooks that end before the middle of the run."""
        return self._calls.hooks(steps)
