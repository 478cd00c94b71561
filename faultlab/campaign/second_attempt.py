"""The second attempt of a run that missed its deadline: alone, and for longer."""

from __future__ import annotations

from dataclasses import replace

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.orders import Order
from faultlab.core.results import Outcome

_LONGER = 3.0


def is_late(mode: FailureMode, outcome: Outcome) -> bool:
    """Whether all that is known of a run is that it was not done in time: the machine may have been busy."""
    return outcome.timed_out and not (mode.hangs and outcome.acting is not None)


def longer(order: Order, asked: float | None) -> Order:
    """The order with a longer deadline, unless the user has asked for one."""
    return replace(order, deadline=asked or _LONGER * order.deadline)
