"""Metrics that a training prints, and the pattern that finds them in its output."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_WORD = "[A-Za-z][A-Za-z0-9_/]*"
_STAGE = r"(?<!\w)(?:train(?:ing)?|val(?:id(?:ation)?)?|dev|eval(?:uation)?|test)"
_SHOWN = re.compile(
    rf"(?P<label>(?i:{_STAGE}\s+)?{_WORD}(?:[ -]{_WORD})?)(?P<between>\s*[:=]\s*|\s+)(?P<number>{_NUMBER})",
)

Choose = Callable[[Mapping[str, float]], Mapping[str, str] | None]


def find(lines: Sequence[str], choose: Choose) -> tuple[str, dict[str, str]] | None:
    """Find the printed number that measures harm best.

    Args:
        lines: What the training printed.
        choose: Returns the metric of some to measure harm by, with its mode; None if no name shows one.

    Returns:
        A regular expression whose named group is the number, and the entry under ``monitor`` of a scenario. None if no
        number is printed with the name of a metric.
    """
    values: dict[str, float] = {}
    patterns: dict[str, str] = {}
    for line in lines:
        for found in _SHOWN.finditer(line):
            label = found["label"]
            name = re.sub(r"\W+", "_", label).strip("_").lower()
            values[name] = float(found["number"])
            # The blanks before a number may change with its width.
            separator = next((rf"\s*{sign}\s*" for sign in ":=" if sign in found["between"]), r"\s+")
            # A percent sign or a denominator may follow without a blank.
            patterns[name] = rf"(?<!\w){re.escape(label)}{separator}(?P<{name}>{_NUMBER})".replace(r"\ ", " ")
    chosen = choose(values)
    return None if chosen is None else (patterns[chosen["metric"]], dict(chosen))
