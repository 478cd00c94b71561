"""The faults that a scenario or a command selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faultlab.core.fault import Fault


@dataclass(frozen=True)
class Selection:
    """The selected faults: globs or whole faults, other triggers by glob, and (glob, reason) of exemptions.

    A whole fault may still be the text that a user wrote; `faultlab.config.fault_patterns.requested` reads it.
    """

    select: Sequence[str | Fault] = ("*",)
    skip: Sequence[str] = ()
    when: Mapping[str, Sequence[str]] | None = None
    exemptions: Sequence[tuple[str, str]] = ()
