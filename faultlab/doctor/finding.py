"""Findings, and how a check is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

OK, ATTENTION, WRONG = "ok", "attention", "wrong"

Seen = Mapping[str, Any]
"""What was seen of a module and its training, as plain data; see `faultlab.doctor.observing`."""


@dataclass(frozen=True)
class Finding:
    """A line of the doctor's output: ``verdict`` is ok, attention or wrong; ``links`` are public threads about the
    cause."""

    check: str
    verdict: str
    what: str
    evidence: str = ""
    remedy: str = ""
    links: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Look = Callable[[Seen], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A declared check; its findings get its name, and its links unless they have their own."""

    name: str
    look: Look
    links: tuple[str, ...] = ()

    def run(self, seen: Seen) -> list[Finding]:
        return [replace(found, check=self.name, links=found.links or self.links) for found in self.look(seen)]


class Checks:
    """A group of checks, in the order of their declaration."""

    def __init__(self) -> None:
        self.known: list[Check] = []

    def check(self, name: str, *links: str) -> Callable[[Look], Look]:
        """Declare the decorated function as a check; ``links`` are threads of people who met the cause."""

        def declare(look: Look) -> Look:
            self.known.append(Check(name, look, links))
            return look

        return declare

    def run(self, seen: Seen) -> list[Finding]:
        return [found for check in self.known for found in check.run(seen)]


def wrong(what: str, evidence: str = "", remedy: str = "") -> Finding:
    return Finding("", WRONG, what, evidence, remedy)


def attention(what: str, evidence: str = "", remedy: str = "") -> Finding:
    return Finding("", ATTENTION, what, evidence, remedy)


def fine(what: str, evidence: str = "") -> Finding:
    return Finding("", OK, what, evidence)
