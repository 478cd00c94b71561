"""What ends a training midway. Not Exceptions, so that the loop doesn't treat them as its own."""

from __future__ import annotations


class Interruption(BaseException):
    """Ends a training as a signal does."""


class AnotherTraining(Interruption):
    """Ends a run where another training begins in the same call, as in the next fold."""
