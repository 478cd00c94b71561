"""The second attempt of a run that missed its deadline: alone and with a longer deadline."""

from __future__ import annotations

from dataclasses import replace

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.collectives import is_deadlock
from faultlab.core.orders import Order
from faultlab.core.results import Outcome

_LONGER = 3.0


def is_late(mode: FailureMode, outcome: Outcome) -> bool:
    """Return True if a run only missed its deadline: the machine may have been busy."""
    is_certain = mode.hangs or is_deadlock(outcome.collectives)
    return outcome.timed_out and not (is_certain and outcome.acting is not None)


def longer(order: Order, asked: float | None) -> Order:
    """Return the order with a longer deadline, unless the user has given one."""
    return replace(order, deadline=asked or _LONGER * order.deadline)
