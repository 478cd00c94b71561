"""The profile of known good runs: their summaries in a file, and the bands that another run has to stay in."""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faultlab.guards.known_measures import fingerprints

FORMAT = 1
ALTERNATIVES = 8
CHANCE = "chance"


@dataclass(frozen=True)
class Rule:
    """The allowed distance of a number from known good runs.

    ``slack`` is the share of the number that it may always deviate, ``floor`` the absolute amount. ``neighbours`` is
    the number of cells to either side whose spread over the runs is combined with its own, ``deviations`` how many
    times the spread it may deviate, and ``below`` a factor of that downwards. ``strict`` numbers do not vary by chance;
    ``logarithmic`` ones vary by factors.
    """

    slack: float = 0.1
    floor: float = 1e-6
    neighbours: int = 3
    deviations: float = 5.0
    below: float = 1.0
    strict: bool = False
    logarithmic: bool = False


RULES = {
    "initialisation": Rule(slack=0.05),
    "data": Rule(slack=0.02, neighbours=0, deviations=7.0),
    "loss": Rule(deviations=5.0, below=1.6, logarithmic=True),
    "activations": Rule(floor=1e-3, deviations=7.0),
    "gradients": Rule(slack=0.2, floor=1e-12, below=2.0, logarithmic=True),
    "updates": Rule(slack=0.2, floor=1e-12, below=2.0, logarithmic=True),
    "weights": Rule(deviations=10.0),
    "optimizer-state": Rule(slack=0.2, deviations=7.0, floor=1e-12, logarithmic=True),
    "learning-rate": Rule(slack=1e-3, floor=0.0, neighbours=0, strict=True),
    "metrics": Rule(slack=0.07, deviations=5.0, logarithmic=True),
    "length": Rule(slack=0.0, floor=0.0, neighbours=0, strict=True),
}

Cell = list[float]
"""The number of values, their mean, standard deviation, minimum and maximum."""


class Summary:
    """A sink that keeps the facts and numbers of a run."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, list[Any] | None]] = {}
        self._cells: dict[str, dict[str, dict[int, Cell]]] = {}
        self._chances: dict[str, dict[str, float]] = {}

    def fact(self, check: str, name: str, value: Any) -> None:
        """Keep a value of a fact."""
        value = fingerprints(value)[0] if check == "structure" else value
        facts = self._facts.setdefault(check, {})
        facts[name] = _either(facts.get(name, []), [value])

    def number(self, check: str, name: str, cell: int, value: float, chance: float = 0.0) -> None:
        """Add a value to a number's cell."""
        cells = self._cells.setdefault(check, {}).setdefault(name, {})
        n, mean, squares, low, high = cells.get(cell, (0, 0.0, 0.0, value, value))
        step = value - mean
        mean += step / (n + 1)
        cells[cell] = [n + 1, mean, squares + step * (value - mean), min(low, value), max(high, value)]
        if chance:
            chances = self._chances.setdefault(check, {})
            chances[name] = max(chances.get(name, 0.0), chance)

    def numbers(self, check: str, names: Sequence[str], cell: int, values: Sequence[float]) -> None:
        """Add several values."""
        for name, value in zip(names, values):
            self.number(check, name, cell, value)

    def to_json(self) -> dict[str, Any]:
        """Return the summary of this run."""
        numbers: dict[str, dict[str, Any]] = {}
        for check, name, cells in _named(self._cells):
            kept = {str(cell): [_short(values)] for cell, values in cells.items()}
            chance = self._chances.get(check, {}).get(name)
            numbers.setdefault(check, {})[name] = kept if chance is None else {**kept, CHANCE: [_rounded(chance)]}
        return {"format": FORMAT, "runs": 1, "facts": self._facts, "numbers": numbers}


def merge(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one summary of several: the values of each fact, and each number's values run by run."""
    merged: dict[str, Any] = {"format": FORMAT, "runs": 0, "facts": {}, "numbers": {}}
    for summary in summaries:
        if summary["format"] != FORMAT:
            raise ValueError(
                f"a summary of known good runs has the unsupported format {summary['format']}. Record "
                "the runs again with KnownGoodRecorder"
            )
        merged["runs"] += summary["runs"]
        for check, name, seen in _named(summary["facts"]):
            facts = merged["facts"].setdefault(check, {})
            facts[name] = _either(facts.get(name, []), seen)
        for check, name, cells in _named(summary["numbers"]):
            known = merged["numbers"].setdefault(check, {}).setdefault(name, {})
            for cell, values in cells.items():
                known[cell] = [max(known.get(cell, []) + values)] if cell == CHANCE else known.get(cell, []) + values
    return merged


def combine(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the profile of known good runs: the allowed values of each fact, and the band of each number.

    A band contains all observed values, five standard deviations to either side of the mean (more if there are few runs
    to estimate it), and the slack of its check.

    Args:
        summaries: The recorders' summaries. Empty ones are skipped.

    Raises:
        ValueError: A summary has an unsupported format.
    """
    merged = merge(summary for summary in summaries if summary)
    bands: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for check, name, cells in _named(merged["numbers"]):
        chance = cells.get(CHANCE, [0.0])[0]
        complete = {c: values for c, values in cells.items() if c != CHANCE and len(values) == merged["runs"]}
        in_all = {int(c): [_long(value) for value in values] for c, values in complete.items()}
        found = _bands(in_all, chance, _rule(check, name))
        bands.setdefault(check, {})[name] = {cell: _outward(name, band) for cell, band in found.items()}
    return {"format": FORMAT, "runs": merged["runs"], "facts": merged["facts"], "bands": bands}


def _rule(check: str, name: str) -> Rule:
    rule = RULES.get(check, Rule())
    return replace(rule, slack=0.05) if check == "loss" and name.startswith("the mean over") else rule


def _outward(name: str, band: list[float]) -> list[float | None]:
    """Return the band of an extreme, which is open inwards, since a batch need not contain the rarest values."""
    return [None if "the maximum" in name else band[0], None if "the minimum" in name else band[1]]


def _named(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    for check, named in checks.items():
        for name, value in named.items():
            yield check, name, value


def _either(known: list[Any] | None, seen: list[Any] | None) -> list[Any] | None:
    """Return all values of a fact, None if there are so many that they carry no information."""
    if known is None or seen is None:
        return None
    both = known + [value for value in seen if value not in known]
    return both if len(both) <= ALTERNATIVES else None


def _bands(cells: dict[int, list[Cell]], chance: float, rule: Rule) -> dict[str, list[float]]:
    everything = [number for runs in cells.values() for values in runs for number in values[3:]]
    if not everything or not all(map(math.isfinite, everything)):
        return {}
    found = _in_scale(cells, chance, rule, False)
    if rule.logarithmic and min(everything) > 0:
        in_logs = {cell: [_in_logs(values) for values in runs] for cell, runs in cells.items()}
        by_factors = _in_scale(in_logs, chance, rule, True)
        if max(_variances(in_logs).values()) > 1:  # A number that is nearly zero now and then may as well be zero.
            by_factors = {c: [min(low, found.get(c, [0.0])[0]), high] for c, (low, high) in by_factors.items()}
        found = by_factors
    return {str(cell): band for cell, band in found.items()}


def _in_scale(cells: dict[int, list[Cell]], chance: float, rule: Rule, logarithmic: bool) -> dict[int, list[float]]:
    variances = _variances(cells)
    return {
        cell: _band(runs, _near(variances, cell, rule), chance, rule, logarithmic)
        for cell, runs in cells.items()
        if len(runs) > 2 or logarithmic or rule.strict or chance or runs[0][0] > 8
    }


def _variances(cells: Mapping[int, list[Cell]]) -> dict[int, float]:
    """Return the variance between runs of each cell."""
    return {cell: _variance([values[1] for values in runs]) if len(runs) > 1 else 0.0 for cell, runs in cells.items()}


def _variance(values: list[float]) -> float:
    # The standard library's computation in fractions takes half as long as a short training.
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _near(variances: Mapping[int, float], cell: int, rule: Rule) -> list[float]:
    """Return the variances of the neighboring cells, without those that are nearly zero."""
    near = [variances[c] for c in range(cell - rule.neighbours, cell + rule.neighbours + 1) if c in variances]
    least = max(near) / 10
    return [variance for variance in near if variance >= least]


def _band(values: Sequence[Cell], variances: list[float], chance: float, rule: Rule, logarithmic: bool) -> list[float]:
    low, high = min(v[3] for v in values), max(v[4] for v in values)
    many = sum(v[0] for v in values)
    mean = sum(v[0] * v[1] for v in values) / many
    within = statistics.fmean(v[2] ** 2 for v in values)
    spread = math.sqrt(statistics.fmean(variances) + within + chance**2)
    if rule.strict:
        margin = (high - low) / 2
    else:
        known = (len(values) - 1) * len(variances) + (many - len(values)) / 4 + (20 if chance else 0)
        factor = rule.deviations * (1 + 3 / known) if known else 2 * rule.deviations
        if many == len(values) and not chance:
            # Neighboring cells are of the same few runs, so that they know less than their number suggests.
            factor *= min(3.0, 1 + 48 / max(1, len(values) - 1) ** 5)
        margin = factor * spread * math.sqrt(1 + 1 / len(values))
        # One or two runs show little of the spread between runs.
        margin = max(margin, {1: 1.5, 2: 0.7}.get(len(values), 0.0) * (1.0 if logarithmic else spread))
    low, high = min(low, mean - rule.below * margin), max(high, mean + margin)
    if rule.strict:
        low, high = low - (margin if margin else 0.0), high + (margin if margin else 0.0)
    if logarithmic:
        low, high = math.exp(max(low, -700.0)), math.exp(min(high, 700.0))
    return [_rounded(low - rule.slack * abs(low) - rule.floor), _rounded(high + rule.slack * abs(high) + rule.floor)]


def _in_logs(values: Cell) -> Cell:
    n, mean, deviation, low, high = values
    return [n, math.log(mean), deviation / mean, math.log(low), math.log(high)]


def _short(values: Cell) -> Any:
    n, mean, squares, low, high = values
    if n == 1:
        return _rounded(mean)
    return [int(n), *map(_rounded, (mean, math.sqrt(max(0.0, squares / (n - 1))), low, high))]


def _long(values: Any) -> Cell:
    cell = values if isinstance(values, list) else [1, values, 0.0, values, values]
    # JSON knows no number that is not finite.
    return [math.nan if value is None else value for value in cell]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def append(file: str | Path, summary: Mapping[str, Any]) -> None:
    """Add a run's summary to a file, atomically, even if other processes add theirs at the same time."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        merged = merge([read(path), summary] if path.exists() else [summary])
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        new.write_text(json.dumps(merged, separators=(",", ":")))
        os.replace(new, path)


def read(file: str | Path) -> dict[str, Any]:
    """Return the summary in a file, or that of a list of them."""
    content = json.loads(Path(file).read_text())
    if isinstance(content, list):
        return merge(content)
    if not isinstance(content, dict) or content.get("format") != FORMAT or "numbers" not in content:
        raise ValueError(f"{file} holds no known good runs. Record them with KnownGoodRecorder({str(file)!r})")
    return content


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: the file is complete, but of two processes that end at once one may be lost
        yield
        return
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
