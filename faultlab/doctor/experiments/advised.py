"""In the victim: one clean training under all guards, as whose alarms are what it shows."""

from __future__ import annotations

from faultlab.core.orders import Order
from faultlab.core.results import ExaminedRun, Result
from faultlab.frameworks.base import Target
from faultlab.worker.session import Send, Session


def examine(target: Target, order: Order, send: Send) -> None:
    """Execute an order to train under guards."""
    Advised(target, order, send).run()


class Advised(Session):
    """A clean session whose result has the alarms of its guards."""

    def _evaluate(self) -> None:
        """Do nothing: the guards have seen the training."""

    def _result(self) -> Result:
        said = self._advisers.said() if self._advisers is not None else []
        return ExaminedRun(self._run_result(), {"alarms": said})
