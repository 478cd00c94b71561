"""faultlab's own errors, each with a remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NEVER_FITS = "never fits"
"""The reason of a TargetError for a script that ends without a call of ``Trainer.fit``."""


class FaultlabError(Exception):
    """The base of faultlab's own errors.

    ``exit_code`` is the status of a command that ends with it, ``kind`` its name in JSON, which does not change.
    """

    exit_code = 70
    kind = "internal"

    def to_json(self) -> dict[str, Any]:
        """Return the error as commands print it with ``--json``."""
        return {"kind": self.kind, "message": str(self), "exit_code": self.exit_code}


class FaultSyntaxError(FaultlabError, ValueError):
    """A fault or trigger has a syntax error."""

    exit_code = 2
    kind = "usage"


class CatalogueError(FaultlabError):
    """A failure mode is declared incorrectly, or twice."""

    exit_code = 2
    kind = "catalogue"


class BaselineError(FaultlabError):
    """The clean run fails, so faulted runs would prove nothing. ``log`` is the file with its output."""

    exit_code = 3
    kind = "clean-run"

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\n    Its output is in {log}." if log else message)


class InconclusiveError(FaultlabError):
    """The evidence proves nothing, neither that the gate passes nor that it fails."""

    exit_code = 4
    kind = "inconclusive"


@dataclass(frozen=True)
class Problem:
    """One error in a scenario file, with its place (line and column from 1) and a remedy."""

    file: str
    line: int
    column: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}\n    {self.remedy}" if self.remedy else text


class ScenarioError(FaultlabError):
    """All errors of a scenario file."""

    exit_code = 2
    kind = "scenario"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "problems": [asdict(problem) for problem in self.problems]}


class UsageError(FaultlabError):
    """The command was called incorrectly."""

    exit_code = 2
    kind = "usage"


class TargetError(Exception):
    """The scenario names something that can't be imported or called; ``where`` is the key's path in the file.

    Users see a ScenarioError instead, which the code that knows the file makes of it.
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
