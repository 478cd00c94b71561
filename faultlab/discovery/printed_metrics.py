"""Metrics that a training prints, and the pattern that finds them in its output."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from faultlab.core import directions

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_WORD = "[A-Za-z][A-Za-z0-9_/]*"
_STAGE = r"(?<!\w)(?:train(?:ing)?|val(?:id(?:ation)?)?|dev|eval(?:uation)?|test)"
_SHOWN = re.compile(
    rf"(?P<label>(?i:{_STAGE}\s+)?{_WORD}(?:[ -]{_WORD})?)"
    rf"(?P<between>(?P<quote>['\"]?)\s*[:=]\s*|\s+)(?P<number>{_NUMBER})",
)
_BEST_BEFORE = re.compile(rf"(?:{directions.BEST_WORDS})[ _-]+$", re.IGNORECASE)

Choose = Callable[[Mapping[str, float]], "Mapping[str, str] | None"]


@dataclass
class Printed:
    """A number that is printed under one label in one form.

    Attributes:
        label: The words before the number.
        separator: A regular expression of what is between the two.
        values: The numbers, in their order.
        line: The first line that has one.
        name: The name of the metric.
    """

    label: str
    separator: str
    line: str
    name: str
    values: list[float] = field(default_factory=list)

    def best_so_far(self, choose: Choose) -> bool:
        """Return whether the number seems to be the best one so far."""
        chosen = choose({self.name: self.values[-1]})
        return directions.is_best(self.name, self.values, chosen["mode"] if chosen else "")


@dataclass(frozen=True)
class Found:
    """The printed number that measures harm best.

    Attributes:
        pattern: A regular expression whose named group is the number.
        monitor: The entry under ``monitor`` of a scenario.
        times: How often the training printed it.
        line: The first line that has it.
        best: Whether only the best value so far is printed.
    """

    pattern: str
    monitor: Mapping[str, str]
    times: int
    line: str
    best: bool


def find(lines: Sequence[str], choose: Choose) -> Found | None:
    """Find the printed number that measures harm best.

    Numbers of held-out data come first; among those, one that is printed again and again, as in each epoch, comes
    before one that is printed once. The best value so far comes last: it hides what happens after it.

    Args:
        lines: What the training printed.
        choose: Returns the metric of some to measure harm by, with its mode; None if no name shows one.

    Returns:
        The number; None if no number is printed with the name of a metric.
    """
    printed = list(_printed(lines))
    best = [one for one in printed if one.best_so_far(choose)]
    current = [one for one in printed if one not in best]
    held_out = [one for one in current if directions.held_out(one.name)]
    repeated = [one for one in held_out if len(one.values) > 1]
    for some in (repeated, held_out, [one for one in best if directions.held_out(one.name)], current, best):
        # Of one name's forms, the one that is printed most often.
        forms = {one.name: one for one in sorted(some, key=lambda one: len(one.values))}
        ordered = {one.name: one.values[-1] for one in some}
        if (chosen := choose(ordered)) is not None:
            one = forms[chosen["metric"]]
            return Found(_pattern(one, lines), dict(chosen), len(one.values), _shown(one.line), one in best)
    return None


def _printed(lines: Sequence[str]) -> Iterator[Printed]:
    found: dict[tuple[str, str], Printed] = {}
    for line in lines:
        for shown in _SHOWN.finditer(line):
            label, between = shown["label"], shown["between"]
            before = _BEST_BEFORE.search(line[: shown.start()])
            label = (before[0] if before else "") + label
            name = re.sub(r"\W+", "_", label).strip("_").lower()
            # The blanks before a number may change with its width.
            quote = shown["quote"] or ""
            separator = next((rf"{quote}\s*{sign}\s*" for sign in ":=" if sign in between), r"\s+")
            one = found.setdefault((name, separator), Printed(label, separator, line, name))
            one.values.append(float(shown["number"]))
    yield from found.values()


def _pattern(one: Printed, lines: Sequence[str]) -> str:
    """Return the pattern of a number. It passes over the best value so far that has the same label."""
    label = re.escape(one.label).replace(r"\ ", " ")
    # A percent sign or a denominator may follow without a blank.
    number = rf"{label}{one.separator}(?P<{one.name}>{_NUMBER})"
    plain = re.compile(rf"(?<!\w){number}")
    searched = [_BEST_BEFORE.search(line[: shown.start()]) for line in lines for shown in plain.finditer(line)]
    before = {found[0] for found in searched if found}
    return "".join(rf"(?<!{text})" for text in (r"\w", *map(_literal, sorted(before)))) + number


def _shown(line: str) -> str:
    """Return a printed line without characters that a comment can't have."""
    return "".join(one if one.isprintable() else " " for one in line).strip()


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\ ", " ")
