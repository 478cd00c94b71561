"""The direction that improves a logged number, as the target's objects declare it.

Read by attributes; no framework is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

LOWER, HIGHER = "min", "max"
BEST_WORDS = "best|lowest|highest|minimum|maximum"
"""Words for the best value so far, in the name of a metric."""
_BEST = re.compile(rf"(?<![a-z])(?:{BEST_WORDS})(?![a-z])", re.IGNORECASE)
_HELD_OUT = re.compile(r"val|test|eval|dev", re.IGNORECASE)
_FEWEST = 4
"""Reports below which a number that only improves is not taken for the best so far."""

Declared = Mapping[str, Mapping[str, str]]
"""For each number's name the objects that declare a direction for it, and that direction: ``min`` or ``max``."""


# Metrics of torchmetrics 1.9 whose `higher_is_better` is the opposite of what they compute.
_MISSTATED = frozenset(("DaviesBouldinScore", "SpectralDistortionIndex", "WordInfoPreserved"))


def of_metric(value: Any) -> dict[str, str]:
    """Return the direction that a logged torchmetrics Metric declares, if it declares one.

    Its `higher_is_better` is None for many metrics and wrong for some.
    """
    higher = None if type(value).__name__ in _MISSTATED else getattr(value, "higher_is_better", None)
    return {type(value).__name__: HIGHER if higher else LOWER} if isinstance(higher, bool) else {}


def of_trainer(trainer: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the directions that callbacks and schedulers have for the numbers they monitor, by the number's name."""
    for callback in trainer.callbacks:
        yield from _monitoring(callback, getattr(callback, "monitor", None))
    for config in trainer.lr_scheduler_configs:
        yield from _monitoring(config.scheduler, config.monitor)


def merged(found: Iterable[tuple[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Return all directions declared for each number; two objects of one class that disagree are both listed."""
    declared: dict[str, dict[str, str]] = {}
    for name, directions in found:
        known = declared.setdefault(name, {})
        for who, mode in directions.items():
            known[who if known.get(who, mode) == mode else f"another {who}"] = mode
    return declared


def _monitoring(who: Any, name: Any) -> Iterator[tuple[str, dict[str, str]]]:
    mode = getattr(who, "mode", None)
    if isinstance(name, str) and mode in (LOWER, HIGHER):
        yield name, {type(who).__name__: mode}


def held_out(name: str) -> bool:
    """Return whether a metric's name is that of data which the training does not learn from."""
    return bool(_HELD_OUT.search(name))


def is_best(name: str, values: Sequence[float], mode: str) -> bool:
    """Return whether a number is the best one so far, by its name or by its values in a clean training.

    Values that are at times exactly those before them and never worse are a running minimum or maximum.
    """
    if _BEST.search(name):
        return True
    if len(values) < _FEWEST or mode not in (LOWER, HIGHER):
        return False
    running = list(accumulate(values, min if mode == LOWER else max))
    return running == list(values) and 1 < len(set(values)) < len(values)
