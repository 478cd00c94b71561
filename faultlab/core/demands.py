"""The conditions for a report to pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Demands:
    """The conditions for a report to pass: the scenario's ``gate:``, and ``fail_under`` of the command line.

    ``silent`` limits silent failure modes by severity, ``latency`` the steps from activation to detection; ``mutants``
    is the minimum score of the source mutants. None means no demand, except that ``false_alarms`` None allows none.
    """

    coverage: float | None = None
    mutants: float | None = None
    silent: Mapping[str, int] = field(default_factory=dict)
    false_alarms: int | None = None
    latency: int | None = None
    fail_under: float | None = None

    @property
    def of_faults(self) -> list[str]:
        """The names of the demands that only injected faults can meet."""
        return [name for name in ("coverage", "silent", "latency", "fail_under") if name in self.to_json()]

    def to_json(self) -> dict[str, Any]:
        """Return the demands that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None and value != {}}
