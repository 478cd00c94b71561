"""The alarm of a guard, and its warning."""

from __future__ import annotations

from typing import Any

from faultlab.guards.support.exchange import ranks_named


class Alarm(RuntimeError):  # noqa: N818 - it is what a guard is for, not an error of its own
    """The alarm of a guard that has detected a failure. Its text is ``GUARD: FOUND. REMEDY RESCUED``.

    In a training of several ranks, all of them raise it, and the text of one that is not every rank's begins with
    ``GUARD on rank 1:``.

    Args:
        guard: The name of the guard's class.
        check: The name of the check that failed, a key of `Guard.checks`.
        found: What the guard found, as a clause without a period.
        remedy: What to do about it, as whole sentences.
        rescued: The checkpoint that the state before the failure was saved to, or the reason why none was saved. Empty
            unless the guard's action is "save".
        causes: Comma-separated words for the cause. faultlab compares them with those of a failure mode to decide
            whether the alarm names the cause; if empty, it searches the text.
        ranks: The ranks of the training that detected it; empty if all did, or if there is only one.
    """

    # By this a harness recognizes alarms without importing the guards.
    __faultlab_alarm__ = True

    saves: bool = False
    """True if the process that saves checkpoints has yet to save the state before the failure."""

    def __init__(
        self,
        guard: str,
        check: str,
        found: str,
        remedy: str,
        rescued: str = "",
        causes: str = "",
        ranks: tuple[int, ...] = (),
    ) -> None:
        self.guard = guard
        self.check = check
        self.found = found
        self.remedy = remedy
        self.rescued = rescued
        self.causes = causes
        self.ranks = ranks
        where = f" on {ranks_named(ranks)}" if ranks else ""
        super().__init__(f"{guard}{where}: {found}. {remedy}" + (f" {rescued}" if rescued else ""))

    def __reduce__(self) -> Any:
        arguments = (self.guard, self.check, self.found, self.remedy, self.rescued, self.causes, self.ranks)
        return type(self), arguments, {"saves": self.saves}

    @property
    def of(self) -> tuple[str, str]:
        """The guard and its check."""
        return self.guard, self.check

    def on_ranks(self, ranks: tuple[int, ...], rescued: str | None = None) -> Alarm:
        """Return the same alarm, as one that these ranks detected."""
        saved = self.rescued if rescued is None else rescued
        return Alarm(self.guard, self.check, self.found, self.remedy, saved, self.causes, ranks)


class GuardWarning(UserWarning):
    """The warning of a guard with ``action="warn"``, or its advice, with the text and the ``causes`` of an `Alarm`."""

    causes: str = ""
