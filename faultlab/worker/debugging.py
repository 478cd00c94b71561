"""A faulted run in the current process, under pdb: no fork, no deadline, the terminal's own input and output.

It stops in the user's training step when the fault first acts, again right after it has acted, and where an
exception ends the run. Guards are observed as in a campaign, so that the course is the same. This imports torch: it is
for the process of a command that was asked to debug.
"""

from __future__ import annotations

import bdb
import os
import pdb  # noqa: T100
import sys
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from faultlab.core.fault import Fault
from faultlab.core.orders import Order
from faultlab.core.patching import Patches
from faultlab.core.results import Outcome, Result, read_result
from faultlab.core.threads import one_thread_environment
from faultlab.frameworks.base import Target, Training
from faultlab.injection.armed_fault import Armed
from faultlab.worker.bootstrap import import_target
from faultlab.worker.session import Session

_MACHINERY = (
    "faultlab.injection.armed_fault",
    "faultlab.injection.activation_counter",
    "faultlab.injection.tree",
    __name__,
)
_HARNESS = "faultlab.worker.session"

Show = Callable[[str], None]


class QuitError(Exception):
    """The user left the debugger before the run was over."""


class Debugged(Session):
    """A session that stops in pdb; ``step`` is the first step of the fault, None to run through."""

    def __init__(
        self, target: Target, order: Order, step: int | None, show: Show, messages: list[dict[str, Any]]
    ) -> None:
        super().__init__(target, order, messages.append)
        self._stop_at = step
        self._show = show
        self._held = Patches()

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> Training:
        training = super()._build_target(changed, interrupted)
        # Before the hooks of the steps attach: this wrapper has to be the innermost, next to the user's code.
        if self._stop_at is not None and (step := training.step()) is not None:
            self._held.wrap(*step, self._stopping)
        return training

    def _run(self) -> Result:
        with self._held:
            return super()._run()

    def _stopping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(*args: Any, **kwargs: Any) -> Any:
            if self._clock.step != self._stop_at or self._clock.tried:
                return step(*args, **kwargs)
            self._stop_at = None
            acts = f"in which {self._task.fault} acts" if self._task.fault else "in which the fault would act"
            self._show(f"stopped in training_step at step {self._clock.step}, {acts}")
            self._show("    p batch  shows the batch, n steps, u and d move in the stack, c continues, q quits")
            return _under(pdb.Pdb(), step, *args, **kwargs)

        return stopping

    def _armed_with(self, fault: Fault) -> Armed:
        armed = super()._armed_with(fault)
        if fault == self._task.fault:
            acted = armed._acted

            def stop_after() -> None:
                first = not armed.activations
                acted()
                if first and armed.activations:
                    self._show_activation(armed)

            armed._acted = stop_after  # type: ignore[method-assign]
        return armed

    def _show_activation(self, armed: Armed) -> None:
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_globals.get("__name__") in _MACHINERY:
            frame = frame.f_back
        own = self._nearest_own(frame)
        where = f"{own.f_code.co_filename}:{own.f_lineno}" if own else f"the seam {armed.mode.seam}, not in your code"
        self._show(f"the fault acted for the first time, at step {self._clock.step}, in {where}")
        self._show("    w shows the stack, u moves up to the callers, c continues, q quits")
        debugger = pdb.Pdb(skip=[*_MACHINERY, "bdb", "pdb"])
        debugger.set_trace(own or frame)
        # Not in the next function called: at the next line of that frame.
        debugger.set_next(own or frame)

    def _nearest_own(self, frame: FrameType | None) -> FrameType | None:
        """Return the nearest frame of the user's code, below the code that started the training."""
        while frame is not None and frame.f_globals.get("__name__") != _HARNESS:
            if self._target.code.holds(frame):
                return frame
            frame = frame.f_back
        return None

    def _ended_by(self, error: BaseException) -> None:
        if isinstance(error, bdb.BdbQuit):
            raise QuitError from None
        if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        super()._ended_by(error)
        if error.__traceback__ is not None and not isinstance(error, SystemExit):
            self._show("an exception ended the run; this is the nearest frame of your code")
            self._show("    w shows the stack, d moves down to where it was raised, q ends the replay")
            _post_mortem(error.__traceback__, self._target.code.holds)


def _under(debugger: pdb.Pdb, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function and stop at its first line; unlike pdb's own runcall, this lets the user quit the training."""
    debugger.reset()
    sys.settrace(debugger.trace_dispatch)
    try:
        return step(*args, **kwargs)
    finally:
        if sys.gettrace() == debugger.trace_dispatch:
            sys.settrace(None)


def _post_mortem(traceback: TracebackType, own: Callable[[FrameType], bool]) -> None:
    """Start post-mortem debugging in the innermost frame of the user's own code."""
    frames: list[FrameType] = []
    last: TracebackType | None = traceback
    while last is not None:
        frames.append(last.tb_frame)
        last = last.tb_next
    above = next((n for n, frame in enumerate(reversed(frames)) if own(frame)), 0)
    debugger = pdb.Pdb()
    debugger.reset()
    if above:
        debugger.cmdqueue.append(f"up {above}")
    debugger.interaction(None, traceback)


def debug(scenario: Mapping[str, Any], order: Order, step: int | None, show: Show) -> Outcome:
    """Run the order in this process; raise QuitError if the user quits, KeyboardInterrupt on Ctrl-C."""
    os.environ.update(one_thread_environment())
    messages: list[dict[str, Any]] = []
    Debugged(import_target(scenario, f"{order.root}-import"), order, step, show, messages).run()
    outcome = Outcome(order.id)
    for message in messages:
        outcome.acting = message.get("acting", outcome.acting)
        if "result" in message:
            outcome.results = [read_result(message["result"])]
    return outcome
