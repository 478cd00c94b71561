"""What the catalogue predicts: detection of failure modes beside detection of the bugs that are like them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.realbugs.bug import Bug
from benchmarks.realbugs.outcomes import ROOT
from benchmarks.realbugs.scores import Rate, Score

MEASURED = ROOT / "faultlab" / "guards" / "measured.json"
COVERAGE = Path(__file__).parent / "coverage.json"
# The levels whose guards each detector runs.
LEVELS = {
    "guards.all(cheap)": "cheap",
    "guards.watch(cheap)": "cheap",
    "guards.all(full)": "full",
    "guards.watch(full)": "full",
    "guards, full, none stops": "full",
}
_RESAMPLES = 2000


@dataclass(frozen=True)
class Coupling:
    """Detected bugs among those whose nearest failure mode is detected, among the others, and how often both agree."""

    where_detected: Rate
    where_not: Rate
    agree: Rate
    without: int


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of some number of pairs, with a 95 % interval by bootstrap over the pairs."""

    rho: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        return f"{self.rho:.2f} ({self.low:.2f} to {self.high:.2f}, {self.of} pairs)"


def measured_modes(guard: str, model: str = "") -> set[str]:
    """Return the failure modes that a guard detects on a model of the measured catalogue, or on any of them."""
    content = json.loads(MEASURED.read_text(encoding="utf-8"))["guards"].get(guard, {"detects": {}})
    return {mode for mode, models in content["detects"].items() if (model in models if model else models)}


def detected_modes(guards: Sequence[str], model: str = "") -> set[str]:
    """Return the failure modes that one of the guards detects."""
    return set().union(*(measured_modes(name, model) for name in guards))


def covered(classes: Callable[[str], Sequence[str]], file: Path = COVERAGE) -> tuple[dict[str, set[str]], int]:
    """Return the failure modes that each detector detects on one model, and how many were judged there.

    ``classes`` returns the names of the guards of a level.
    """
    if not file.is_file():
        return {}, 0
    content = json.loads(file.read_text(encoding="utf-8"))
    judged = set(content["judged"])
    found = {name: set(modes) & judged for name, modes in content["detected"].items()}
    for name, level in LEVELS.items():
        found[name] = detected_modes(classes(level), content["model"]) & judged
    return found, len(judged)


def coupling(bugs: Sequence[Bug], score: Score, modes: set[str]) -> Coupling:
    """Return how detection of bugs goes with that of their nearest failure modes, given the detected modes."""
    judged = [bug for bug in bugs if bug.id in score.on and score.on[bug.id].seeds]
    near = [bug for bug in judged if bug.nearest != "none"]
    groups = [[bug for bug in near if (bug.nearest in modes) == inside] for inside in (True, False)]
    rates = [Rate(sum(score.on[bug.id].detected for bug in group), len(group)) for group in groups]
    both = rates[0].count + rates[1].of - rates[1].count
    return Coupling(rates[0], rates[1], Rate(both, len(near)), len(judged) - len(near))


def correlation(pairs: Sequence[tuple[float, float]]) -> Correlation | None:
    """Return the rank correlation of pairs; None if there are fewer than four, or one side is constant."""
    rho = _spearman(pairs)
    if rho is None or len(pairs) < 4:
        return None
    drawn = random.Random(0)
    found = [_spearman(drawn.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES)]
    rhos = sorted(one for one in found if one is not None)
    return Correlation(rho, rhos[int(0.025 * len(rhos))], rhos[int(0.975 * len(rhos))], len(pairs))


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    from scipy.stats import spearmanr

    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def unlike(bugs: Sequence[Bug], modes: Sequence[str]) -> Mapping[str, tuple[int, list[str]]]:
    """Return by family how many failure modes there are, and those that no bug is like."""
    near = {bug.nearest for bug in bugs}
    families: dict[str, tuple[int, list[str]]] = {}
    for mode in modes:
        family = mode.partition(".")[0]
        count, rest = families.get(family, (0, []))
        families[family] = (count + 1, rest if mode in near else [*rest, mode])
    return families
