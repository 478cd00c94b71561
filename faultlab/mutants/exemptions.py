"""``# faultlab: ignore[reason]`` in the source: mutants that the author exempts, which stay in the report.

On a line it exempts the mutants that begin on that line, on the line of a ``def`` those of the whole function.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faultlab.errors import Problem, ScenarioError
from faultlab.mutants.location import Function
from faultlab.mutants.mutant import Mutant

_EXEMPTION = re.compile(r"#\s*faultlab:\s*ignore\b\s*(?:\[((?:[^\[\]]|\[[^\[\]]*\])*)\])?")
_LEAST = 3


@dataclass(frozen=True)
class Exemptions:
    """The reasons of one file, by line."""

    by_line: Mapping[int, str]

    def of(self, mutant: Mutant, function: Function | None) -> str:
        """Return the reason that exempts a mutant; empty if there is none."""
        own = self.by_line.get(mutant.line, "")
        return own or (self.by_line.get(function.line, "") if function is not None else "")


def read(file: Path, source: str) -> Exemptions:
    """Return the exemptions in a source.

    Raises:
        ScenarioError: Exemptions give no reason; the error has their places.
    """
    found: dict[int, str] = {}
    problems = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _EXEMPTION.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        line, column = token.start
        reason = (match.group(1) or "").strip()
        if len(reason) < _LEAST:
            remedy = "Write why its mutants may survive: # faultlab: ignore[the loader never has fewer]."
            problems.append(Problem(str(file), line, column + 1, "an exemption without a reason", remedy))
        found[line] = reason
    if problems:
        raise ScenarioError(problems)
    return Exemptions(found)
