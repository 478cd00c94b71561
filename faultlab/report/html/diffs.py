"""A mutant's diff in parts, so that the page shows the common lines of several mutants once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


class Line(NamedTuple):
    """One line: its sign, its number in the file, and its text in pieces with a mark on those that differ."""

    sign: str
    number: int
    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The text of the line."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True)
class Change:
    """The lines before and after a change, with their context.

    If a diff changes more than one place, ``before`` is empty and ``after`` has the whole diff.
    """

    before: tuple[Line, ...]
    after: tuple[Line, ...]

    @property
    def common(self) -> tuple[tuple[str, int, str], ...]:
        """A key that mutants of the same lines share."""
        return tuple((line.sign, line.number, line.text) for line in self.before)


def read(diff: str) -> Change:
    """Return the change of a unified diff; any other text becomes plain lines."""
    lines: list[Line] = []
    old = new = 0
    for text in diff.split("\n")[2:]:
        if match := _HUNK.match(text):
            old, new = int(match[1]), int(match[2])
            continue
        sign = text[:1] or " "
        lines.append(Line(sign, new if sign == "+" else old, ((text[1:], False),)))
        old, new = old + (sign != "+"), new + (sign != "-")
    changed = [index for index, line in enumerate(lines) if line.sign in "+-"]
    if not changed or changed[-1] - changed[0] >= len(changed) or diff.count("\n@@ ") != 1:
        return Change((), tuple(lines))
    removed = [line for line in lines if line.sign == "-"]
    added = [line for line in lines if line.sign == "+"]
    if len(removed) == len(added):
        pairs = [_compared(*pair) for pair in zip(removed, added)]
        removed, added = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Change((*lines[: changed[0]], *removed), tuple(added))


def plain(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the lines without marks."""
    return tuple(line._replace(pieces=((line.text, False),)) for line in lines)


def indent(changes: Iterable[Change]) -> int:
    """Return the common indentation of the lines that are not blank."""
    texts = [line.text for change in changes for line in (*change.before, *change.after)]
    return min((len(text) - len(text.lstrip(" ")) for text in texts if text.strip()), default=0)


def cut(lines: tuple[Line, ...], by: int) -> tuple[Line, ...]:
    """Return the lines without this many characters of indentation."""
    return tuple(line._replace(pieces=tuple(_cut(line.pieces, by))) for line in lines)


def differing(old: str, new: str) -> tuple[int, int]:
    """Return the lengths of the common beginning and end of two texts, in whole words."""
    least = min(len(old), len(new))
    head = next((i for i in range(least) if old[i] != new[i]), least)
    tail = next((i for i in range(least - head) if old[-1 - i] != new[-1 - i]), least - head)
    while head and _is_word(old[head - 1]) and (_is_word(old[head : head + 1]) or _is_word(new[head : head + 1])):
        head -= 1
    while tail and _is_word(old[-tail]) and (_ends_in_word(old, head, tail) or _ends_in_word(new, head, tail)):
        tail -= 1
    return head, tail


def _compared(removed: Line, added: Line) -> tuple[Line, Line]:
    head, tail = differing(removed.text, added.text)
    return _marked(removed, head, tail), _marked(added, head, tail)


def _marked(line: Line, head: int, tail: int) -> Line:
    text, end = line.text, len(line.text) - tail
    pieces = ((text[:head], False), (text[head:end], True), (text[end:], False))
    return line._replace(pieces=tuple(piece for piece in pieces if piece[0]))


def _cut(pieces: Iterable[tuple[str, bool]], by: int) -> Iterator[tuple[str, bool]]:
    for text, differs in pieces:
        yield text[by:], differs
        by = max(0, by - len(text))


def _ends_in_word(text: str, head: int, tail: int) -> bool:
    return len(text) - tail > head and _is_word(text[len(text) - tail - 1])


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
