"""Shares of the work, so that several machines can each execute one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from faultlab.errors import UsageError

One = TypeVar("One")


@dataclass(frozen=True)
class Shard:
    """The k-th of n shares. Together they hold everything once."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``k/n``; raise UsageError if the text is not of that form."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"invalid shard {text!r}: expected k/n, the k-th of n, such as 2/4")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return "" if self.of == 1 else f"{self.number}/{self.of}"

    def share(self, things: Sequence[One]) -> list[One]:
        """Return every n-th of the things."""
        return list(things)[self.number - 1 :: self.of]
