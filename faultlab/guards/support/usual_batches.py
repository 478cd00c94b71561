"""Recognition of the batch that most are: one backward pass by a finite loss, then one step by a known optimizer.

Guards that count backward passes and steps have nothing to do in it. Their hooks are held back until the batch turns
out to be another kind of batch, and are then called in their order, before anything that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Event = Callable[[tuple[Any, ...]], bool]
"""Notes a hook by its arguments after the Trainer, and returns whether it may be held back."""

_OVER, _BEGUN, _DIFFERENTIATED, _STEPPED = range(4)


class UsualBatches:
    """The batches between looks, and the hooks of the current one that were not called yet.

    Hooks are held back only after a whole batch of this kind in which they were called.

    Attributes:
        held: Functions that call the hooks which are held back, in order.
        events: What notes each hook, by its name.
    """

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []
        self.events: dict[str, Event] = {
            "on_train_batch_start": self._begun,
            "on_before_backward": self._differentiated,
            "on_after_backward": self._unchanged,
            "on_before_optimizer_step": self._stepped,
            "on_train_batch_end": self._ended,
        }
        self._stage = _OVER
        self._settled = False
        self._had_state: dict[int, bool] = {}

    def unsettle(self) -> None:
        """Call all hooks again, until the end of another batch of this kind."""
        self._settled = False

    @property
    def settled(self) -> bool:
        """Whether the next batch is expected to be a usual one."""
        return self._settled

    def keeps_state(self, optimizer: Any) -> bool:
        """Return whether an optimizer has its state, or never had one."""
        return bool(optimizer.state) or self._had_state.get(id(optimizer)) is False

    def release(self) -> bool:
        """Call the hooks that were held back, since the batch is not a usual one. Return False."""
        held, self.held = self.held, []
        self._stage, self._settled = _OVER, False
        for call in held:
            call()
        return False

    def _begun(self, args: tuple[Any, ...]) -> bool:
        if self.held:
            self.release()
        self._stage = _BEGUN
        return self._settled

    def _differentiated(self, args: tuple[Any, ...]) -> bool:
        if self._stage != _BEGUN or not is_finite(args[1]):
            return self.release()
        self._stage = _DIFFERENTIATED
        return self._settled

    def _unchanged(self, args: tuple[Any, ...]) -> bool:
        return self._settled

    def _stepped(self, args: tuple[Any, ...]) -> bool:
        key, has = id(args[1]), bool(getattr(args[1], "state", None))
        had, self._had_state[key] = self._had_state.get(key), has
        # A state that is lost, or was never seen.
        loses = not has and had is not False and self._settled
        if self._stage != _DIFFERENTIATED or loses:
            return self.release()
        self._stage = _STEPPED
        return self._settled

    def _ended(self, args: tuple[Any, ...]) -> bool:
        if self._stage != _STEPPED:
            return self.release()
        was_settled, self._settled, self._stage = self._settled, True, _OVER
        self.held.clear()
        return was_settled


def is_finite(loss: Any) -> bool:
    """Return whether a loss is a plain tensor with a single finite number, which is cheaply read."""
    if type(loss) is not torch.Tensor or loss.numel() != 1:
        return False
    value = loss.item()
    return bool(value - value == 0)
