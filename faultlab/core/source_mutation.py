"""The source mutation of a campaign, as its report holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Mutation:
    """The source mutation of a campaign, besides the verdicts on the single mutants.

    ``score`` is the detected share of the mutants that count: detected, warned, silent, and not activated, since code
    that nothing runs is not checked. ``methods`` has a row for each function, weakest first, with the failure modes
    that act in it. ``unmutated`` are the functions without a mutant, with the reason; ``unreached`` those of them that
    mutmut can't change although they have code to mutate, so that no score covers them.
    """

    mutmut: str = ""
    files: list[str] = field(default_factory=list)
    judges: list[str] = field(default_factory=list)
    score: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    methods: list[dict[str, Any]] = field(default_factory=list)
    unmutated: dict[str, str] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    since: str = ""
    shard: str = ""
    timing: dict[str, float] = field(default_factory=dict)
