"""The findings of a guard that may have several at one look."""

from __future__ import annotations

from collections.abc import Iterable

from faultlab.guards.guard import Guard
from faultlab.guards.support.parameter_samples import Finding


class Findings:
    """The checks that a guard has already raised in this training, so that a lasting failure doesn't hide others."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def clear(self) -> None:
        """Forget what was raised, for another training."""
        self._said.clear()

    def say(self, guard: Guard, findings: Iterable[Finding]) -> None:
        """Raise the first finding that is new, or warn of each new one. Findings are ordered by severity."""
        for check, found, remedy in findings:
            if check not in self._said:
                self._said.add(check)
                guard.alarm(check, found, remedy)
