"""Whether the guards detect a bug if they detect the failure mode that is most like it, by the measured catalogue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.realbugs.bug import Bug
from benchmarks.realbugs.harvest import ROOT
from benchmarks.realbugs.scores import Rate, Score

MEASURED = ROOT / "faultlab" / "guards" / "measured.json"


@dataclass(frozen=True)
class Coupling:
    """Detected bugs among those whose nearest failure mode some guard detects, and among those where none does."""

    where_detected: Rate
    where_not: Rate
    without: int


def detected_modes(guards: Sequence[str]) -> set[str]:
    """Return the failure modes that one of the guards detects on one of the measured models."""
    content = json.loads(MEASURED.read_text(encoding="utf-8"))["guards"]
    return {mode for name in guards if name in content for mode, models in content[name]["detects"].items() if models}


def coupling(bugs: Sequence[Bug], score: Score, guards: Sequence[str]) -> Coupling:
    """Return how detection of bugs goes with that of their nearest failure modes."""
    modes = detected_modes(guards)
    judged = [bug for bug in bugs if bug.id in score.on and score.on[bug.id].seeds]
    near = [bug for bug in judged if bug.nearest != "none"]
    groups = [[bug for bug in near if (bug.nearest in modes) == inside] for inside in (True, False)]
    rates = [Rate(sum(score.on[bug.id].detected for bug in group), len(group)) for group in groups]
    return Coupling(rates[0], rates[1], len(judged) - len(near))
