"""The page of the healthy trainings: what each is, and what guards were seen to say of it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.healthy import TRAININGS
from tests.healthy.training import LEVELS, Training

PAGE = Path(__file__).parents[2] / "docs" / "healthy.md"
SEEDS = range(10)
_HEAD = """\
# Healthy trainings

A guard that ends one healthy training is taken out for ever. So there is a ring of small ones of every make, over
which no guard may say anything. Each learns: the metric in its row is that good at the end, and was not at the start.
Each was run from its seeds without guards, with `guards.all("cheap", ...)` and with `guards.all("full", ...)`,
which were given that metric, and stood before the training's own callbacks or behind them in turn.

**Alarms** are the runs in which a guard raised one, warned, or failed itself. **Equal** are the runs under guards whose
weights, buffers and steps are those of the run without, and which left the random numbers of torch, numpy and Python
where that left them: to the bit.

Written by `python -m tests.healthy` from what it has just seen, with torch {torch} and Lightning {lightning}; the
nightly ring of the tests holds all of it.

| training | what it is | steps | metric | seeds | alarms, cheap | alarms, full | equal |
| --- | --- | --: | --- | --: | --: | --: | --: |
"""


@dataclass
class Row:
    """What came of a training: ``said`` has (seed, level, sentence) of each alarm, ``seconds`` is of all its runs."""

    name: str
    steps: int = 0
    seeds: int = 0
    learned: int = 0
    equal: int = 0
    alarms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    said: list[tuple[int, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    missing: str | None = None

    @property
    def quiet(self) -> bool:
        """Whether each run learned, was the same with guards as without, and heard nothing of them."""
        everything = self.learned == self.seeds and self.equal == self.seeds * len(LEVELS)
        return self.missing is not None or (everything and not self.said)


def row(task: tuple[str, Iterable[int]]) -> Row:
    """Runs a training from each of the seeds, without guards and with those of each level."""
    name, seeds = task
    training: Training = TRAININGS[name]
    found = Row(name)
    begun = time.monotonic()
    if training.needs is not None and importlib.util.find_spec(training.needs) is None:
        found.missing = training.needs
        return found
    for seed in seeds:
        bare = training.run(seed)
        found.seeds += 1
        found.steps = bare.steps
        found.learned += training.learned(bare)
        for level in LEVELS:
            watched = training.run(seed, level)
            found.alarms[level] += bool(watched.said)
            found.said += [(seed, level, sentence) for sentence in watched.said]
            differing = watched.differences(bare)
            found.equal += not differing
            if differing and not watched.said:
                found.said.append((seed, level, f"not equal to the run without guards: {', '.join(differing)}"))
    found.seconds = time.monotonic() - begun
    return found


def told(row: Row) -> str:
    """A line on a training, and a line for each alarm."""
    if row.missing is not None:
        return f"{row.name}: skipped, {row.missing} is not installed"
    counts = ", ".join(f"{count} alarms {level}" for level, count in row.alarms.items())
    learned = f"learned {row.learned} of {row.seeds}, equal {row.equal} of {row.seeds * len(LEVELS)}"
    lines = [f"{row.name}: {row.steps} steps, {learned}, {counts}, {row.seconds:.1f} s"]
    return "\n".join(lines + [f"    seed {seed}, {level}: {sentence}" for seed, level, sentence in row.said])


def written(rows: Iterable[Row], before: str = "") -> str:
    """The page. Trainings without a row keep their line of the page as it was ``before``."""
    import lightning
    import torch

    lines = {line.split("|")[1].strip(): line for line in before.splitlines(keepends=True) if line.startswith("| ")}
    lines |= {row.name: _line(TRAININGS[row.name], row) for row in rows}
    head = _HEAD.format(torch=torch.__version__.partition("+")[0], lightning=lightning.__version__)
    return head + "".join(lines[name] for name in TRAININGS if name in lines)


def described(training: Training) -> str:
    """The part of a training's line that is known without running it."""
    return f"| {training.name} | {training.what} |"


def _line(training: Training, row: Row) -> str:
    goal = training.goal
    metric = f"`{goal.metric}` {'≤' if goal.mode == 'min' else '≥'} {goal.value:g}"
    if row.missing is not None:
        return f"{described(training)} - | {metric} | 0 | - | - | `{row.missing}` was not installed |\n"
    seen = f"{row.seeds} | {row.alarms['cheap']} | {row.alarms['full']} | {row.equal} of {row.seeds * len(LEVELS)}"
    return f"{described(training)} {row.steps} | {metric} | {seen} |\n"
