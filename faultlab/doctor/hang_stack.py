"""The stack of a run that hangs, printed by the run itself before it is killed."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LEAST, _MOST = 1.0, 10.0
"""How long before the deadline the stack is printed, s: half of a short deadline."""


@contextmanager
def printed(deadline: float) -> Iterator[None]:
    """Print the stacks of all threads shortly before the deadline, unless the block ends earlier.

    Args:
        deadline: The run's deadline, s. It counts from the order, so a busy machine uses up a part of it before the
            block begins.
    """
    margin = max(_LEAST, min(_MOST, deadline / 2))
    faulthandler.dump_traceback_later(max(0.5, deadline - margin), file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
