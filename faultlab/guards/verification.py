"""What `verify` has found: one result for each check, shown as text and in notebooks."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]
_MARKS: dict[Outcome, str] = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


@dataclass(frozen=True)
class Checked:
    """The result of one check.

    Attributes:
        check: The name of the check.
        outcome: ``passed``, ``failed`` or ``skipped``.
        found: What was found, or the reason why the check was skipped, as a clause.
        remedy: What to do about a failure; empty otherwise.
    """

    check: str
    outcome: Outcome
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.found}. {self.remedy}".rstrip()


@dataclass(frozen=True)
class Verification:
    """The results of `verify`. It is true if no check failed.

    Args:
        model: The name of the model's class.
        results: The result of each check, in order.
        trainable: The names of the trainable parameters.
        frozen: The names of the frozen parameters.
    """

    model: str
    results: tuple[Checked, ...]
    trainable: tuple[str, ...]
    frozen: tuple[str, ...]

    @property
    def failed(self) -> list[Checked]:
        """The results of the checks that failed."""
        return [result for result in self.results if result.outcome == "failed"]

    @property
    def skipped(self) -> list[Checked]:
        """The results of the checks that were skipped."""
        return [result for result in self.results if result.outcome == "skipped"]

    def __bool__(self) -> bool:
        return not self.failed

    def __getitem__(self, check: str) -> Checked:
        return next(result for result in self.results if result.check == check)

    def __repr__(self) -> str:
        width = max((len(result.check) for result in self.results), default=0)
        lines = [f"{self.model}: {self._summary}"]
        for result in self.results:
            text = f"{result.found}. {result.remedy}".rstrip() if result.outcome == "failed" else result.found
            lines.append(f"  {_MARKS[result.outcome]:<7}  {result.check:<{width}}  {text}")
        return "\n".join([*lines, f"  {self._frozen}"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_MARKS[one.outcome]}</td><td>{html.escape(one.check)}</td><td style='text-align:left'>"
            f"{html.escape(one.found)}{f'<br><b>{html.escape(one.remedy)}</b>' if one.remedy else ''}</td></tr>"
            for one in self.results
        )
        return (
            f"<p><b>{html.escape(self.model)}</b>: {html.escape(self._summary)}</p>"
            f"<table>{rows}</table><p>{html.escape(self._frozen)}</p>"
        )

    @property
    def _summary(self) -> str:
        if self.failed:
            return f"{len(self.failed)} of {len(self.results)} checks failed"
        done = len(self.results) - len(self.skipped)
        return f"{done} checks passed" + (f", {len(self.skipped)} skipped" if self.skipped else "")

    @property
    def _frozen(self) -> str:
        total = len(self.trainable) + len(self.frozen)
        if not self.frozen:
            return f"none of {total} parameters is frozen"
        return f"{len(self.frozen)} of {total} parameters are frozen: {', '.join(self.frozen)}"
