"""What a guard that may find several things at one look says of them."""

from __future__ import annotations

from collections.abc import Iterable

from faultlab.guards.guard import Guard
from faultlab.guards.support.parameter_samples import Finding


class Findings:
    """Has a guard say each of its checks once a training, so that one that goes on failing never hides the others."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def clear(self) -> None:
        """Another training begins, in which all is new."""
        self._said.clear()

    def say(self, guard: Guard, findings: Iterable[Finding]) -> None:
        """Alarms for the first finding that is new, or warns of each; the gravest come first."""
        for check, found, remedy in findings:
            if check not in self._said:
                self._said.add(check)
                guard.alarm(check, found, remedy)
