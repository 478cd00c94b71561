"""Shares of the work, so that several machines can each do one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from faultlab.errors import UsageError

One = TypeVar("One")


@dataclass(frozen=True)
class Shard:
    """The k-th of n shares, which together hold everything once."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads ``k/n``; raises UsageError."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"a shard is written k/n, the k-th of n, such as 2/4; {text!r} is none")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return "" if self.of == 1 else f"{self.number}/{self.of}"

    def share(self, things: Sequence[One]) -> list[One]:
        """Every n-th of them."""
        return list(things)[self.number - 1 :: self.of]
