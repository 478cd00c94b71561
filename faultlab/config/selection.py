"""The faults that a scenario or a command selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Selection:
    """The selected faults: globs or whole faults, other triggers by glob, and (glob, reason) of exemptions."""

    select: Sequence[str] = ("*",)
    skip: Sequence[str] = ()
    when: Mapping[str, Sequence[str]] | None = None
    exemptions: Sequence[tuple[str, str]] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
