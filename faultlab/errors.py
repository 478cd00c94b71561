"""What can go wrong that is not the victim's doing, each with what the reader should do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEVER_FITS = "never fits"
"""The reason of a TargetError for a script that ends without a call of ``Trainer.fit``."""


class FaultlabError(Exception):
    """Base of faultlab's own errors. ``exit_code`` is the command's status when it gets that far."""

    exit_code = 70


class FaultSyntaxError(FaultlabError, ValueError):
    """The text of a fault or trigger can't be read."""

    exit_code = 2


class CatalogueError(FaultlabError):
    """A failure mode is declared wrongly, or twice."""

    exit_code = 2


class BaselineError(FaultlabError):
    """The clean run fails, so nothing can be said of faulted ones. ``log`` is the file with what it printed."""

    exit_code = 3

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\n    What it printed is in {log}." if log else message)


class InconclusiveError(FaultlabError):
    """What was found proves nothing, either way."""

    exit_code = 4


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a scenario file, where it stands (line and column from 1), and what to do."""

    file: str
    line: int
    column: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}\n    {self.remedy}" if self.remedy else text


class ScenarioError(FaultlabError):
    """Everything wrong with a scenario file, all at once."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class UsageError(FaultlabError):
    """The command was asked for something that can't be done."""

    exit_code = 2


class TargetError(Exception):
    """The scenario names something that can't be imported or called so; ``where`` is the key's path in the file.

    It is no answer to a user yet: whoever knows the file makes a ScenarioError of it.
    """

    def __init__(self, where: Sequence[str | int], message: str, remedy: str = "", reason: str = "") -> None:
        self.where = tuple(where)
        self.message = message
        self.remedy = remedy
        self.reason = reason
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        return {"where": self.where, "message": self.message, "remedy": self.remedy, "reason": self.reason}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetError:
        return cls(data["where"], data["message"], data["remedy"], data["reason"])
