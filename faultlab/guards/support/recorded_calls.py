"""The calls of a module, or of its direct parts, in one batch, with what they were given."""

from __future__ import annotations

from typing import Any

from faultlab.guards.support import listening, trials
from faultlab.guards.support.listening import Ears
from faultlab.guards.support.trainer_view import is_redirected

_MOST = 8

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""The name of the part, empty for the module itself, and the arguments."""


class RecordedCalls:
    """Records the first calls of a module and its direct parts. A copy of it has recorded none.

    Args:
        ears: The hooks of the guard that looks at the calls.
    """

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._seen: list[Call] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_ears": self._ears, "_seen": []}

    def begin(self, module: Any) -> None:
        """Record the calls from now on."""
        self.end()
        seen = self._seen
        for name, part in listening.parts(module):
            if "." not in name:
                self._ears.before(part, _listener(name, seen))

    @property
    def is_on(self) -> bool:
        """Whether calls are being recorded."""
        return bool(self._ears)

    def end(self) -> list[Call]:
        """Stop, and return the recorded calls."""
        self._ears.rest()
        seen, self._seen = self._seen, []
        return seen


def _listener(name: str, seen: list[Call]) -> Any:
    def listen(module: Any, args: Any, kwargs: Any) -> None:
        if not trials.trying() and len(seen) < _MOST and not is_redirected(module):
            seen.append((name, args, kwargs))

    return listen
