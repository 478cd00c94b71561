"""The statuses of faults: one verdict each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum


class Status(str, Enum):
    """The verdict on a fault.

    Attributes:
        DETECTED: At least one detector raised or signaled that is quiet on clean runs.
        WARNED: No detector did, but there are warnings that the clean run does not have.
        SILENT: The fault acted and changed the run, and no detector detected it.
        NO_EFFECT: The fault acted, and the run equals the clean one bit for bit.
        NOT_APPLICABLE: The failure mode can't happen to this target.
        NOT_ACTIVATED: The fault should have acted and never did. Proves nothing.
        TIMEOUT: The run passed its deadline. Proves nothing, unless the failure mode is a hang.
        ERROR: faultlab itself failed. Proves nothing.
        IGNORED: The scenario exempts it, with a reason and a date.
    """

    DETECTED = "detected"
    WARNED = "warned"
    SILENT = "silent"
    NO_EFFECT = "no_effect"
    NOT_APPLICABLE = "not_applicable"
    NOT_ACTIVATED = "not_activated"
    TIMEOUT = "timeout"
    ERROR = "error"
    IGNORED = "ignored"


# A failure mode is as bad as its worst fault; inconclusive faults must not hide behind detected ones.
WORST_FIRST = [Status.SILENT, Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT, Status.WARNED, Status.DETECTED,
               Status.NO_EFFECT, Status.NOT_APPLICABLE, Status.IGNORED]  # fmt: skip
INCONCLUSIVE = (Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT)


def counts_of(statuses: Iterable[Status]) -> dict[str, int]:
    """Return how many there are of each status, including 0."""
    counted = Counter(statuses)
    return {status.value: counted[status] for status in Status}
