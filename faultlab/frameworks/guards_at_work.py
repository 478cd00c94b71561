"""The ready-made guards as observers of trainings, whichever framework runs these.

Nothing here imports the guards: the first import of them decides which framework their callbacks belong to, so it is
left to the user's code and to the runs that have guards.
"""

from __future__ import annotations

import sys

from faultlab.core import observing


def register() -> None:
    """Register the guards' own runs and collectives, so that no fault counts what it does in them."""
    observing.TRIALS.register(_try)
    observing.EXCHANGES.register(_exchange)


def _try() -> bool:
    module = sys.modules.get("faultlab.guards.support.trials")
    return module is not None and module.trying()


def _exchange() -> bool:
    module = sys.modules.get("faultlab.guards.support.exchange")
    return module is not None and module.exchanging()
