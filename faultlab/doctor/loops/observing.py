"""In the victim: observes a training loop while it runs. The observations go to the driver as plain data.

``seen`` has: ``modules``, ``loaders``, ``optimizers``, ``schedulers``, ``gradients`` (see `Gradients`), ``losses``,
``rates`` (step, rate), ``graph`` and ``nodes`` (of the first losses), ``parameters``, ``modes``, ``evaluated``,
``places`` of the first call of each kind, what `Calls` records, ``relation`` and ``order`` (see `relation`),
``samples``, ``swallowed``, ``error``, ``cut`` (whether the doctor has ended it), and ``unread`` (failed inspections).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.core.orders import Examine, Order
from faultlab.core.patching import Patches
from faultlab.core.results import ExaminedRun, Result
from faultlab.doctor import hang_stack, whole_files
from faultlab.doctor.experiments import KEY
from faultlab.doctor.experiments.changes import Applied
from faultlab.doctor.experiments.presence import Presence
from faultlab.doctor.loops import relation
from faultlab.doctor.loops.following import Enough, Following
from faultlab.doctor.swallowing import Swallowing
from faultlab.frameworks.loops.target import LoopTarget
from faultlab.frameworks.loops.training import LoopTraining
from faultlab.ranks.gang import Gang
from faultlab.sandbox.overlay import Overlay
from faultlab.worker.session import Send, Session

_HABITS = ("unused", "made", "unordered", "repeated", "reseeded", "roots")
_SHARE = 0.5
"""The share of the deadline after which a training is ended, and judged by what it has shown."""


def examine(target: LoopTarget, order: Order, send: Send) -> None:
    """Execute an order to examine a training loop."""
    ExaminedLoop(target, order, send).run()


def habits(texts: dict[str, str]) -> dict[str, Any]:
    """Return the facts about a loop's files that do not depend on a Trainer."""
    return {kind: found for kind, found in whole_files.facts(texts, lambda name: True).items() if kind in _HABITS}


class _Run(LoopTraining):
    """One call of the function that trains, which nothing but the doctor follows."""

    def __init__(self, train: Callable[[], Any], evaluate: Callable[[Any], Any] | None, following: Following) -> None:
        self._train, self._evaluate, self._following = train, evaluate, following

    @property
    def module(self) -> Any:
        """None: what the loop has trained is neither evaluated nor compared."""
        return None

    @module.setter
    def module(self, fresh: Any) -> None:
        raise NotImplementedError("the doctor puts no other module into a loop")

    @property
    def guards(self) -> Mapping[str, Any]:
        return {}

    def run(self) -> None:
        with self._following.watching():
            try:
                self._train()
                root = self._following.models.root
                if self._evaluate is not None and root is not None:
                    self._evaluate(root.module)
            except Enough:
                self._following.seen["cut"] = True

    def step(self) -> tuple[Any, str] | None:
        return None

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """Do nothing: whatever the loop writes goes through Python's own calls."""

    def named_folders(self) -> Iterable[str]:
        return ()

    def watch_loggers(self, patches: Patches) -> None:
        """Do nothing: the doctor compares no metrics."""


class ExaminedLoop(Session):
    """A clean session with an observer of the user's loop.

    The order's variation may have changes, see `faultlab.doctor.experiments.changes`.
    """

    def __init__(self, target: LoopTarget, order: Order, send: Send) -> None:
        super().__init__(target, replace(order, meeting=f"{order.root}-meeting"), send)
        if target.ranks > 1:
            # Here it is the only rank, whatever its script says.
            self._gang = Gang(0, 1, lambda: self._following.step, joins=True, strict=False)
        assert isinstance(order.task, Examine)
        self._loop_target = target
        self._applied = Applied((order.task.train.variation or {}).get(KEY, {}))
        self._presence = Presence()
        self._following = Following(target.code, time.perf_counter() + _SHARE * order.deadline)
        self._swallowing = Swallowing(target.code, lambda: self._clock.tried)
        self._following.beside = self._clock.beside
        self._following.between = lambda step: self._swallowing.settle("the loop", step, None)
        self._seen = self._following.seen

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> _Run:
        return _Run(*self._loop_target.functions, self._following)

    def _fit(self) -> BaseException | None:
        # No windows, and no reports over the network.
        for variable, value in {"MPLBACKEND": "Agg", "WANDB_MODE": "disabled"}.items():
            os.environ.setdefault(variable, value)
        with self._swallowing.watching():
            ended = super()._fit()
        self._swallowing.settle("the loop", self._following.step, ended)
        return ended

    def _run(self) -> Result:
        with hang_stack.printed(self._order.deadline), Patches() as patches:
            self._presence.attach(patches)
            self._applied.attach(patches)
            return super()._run()

    def _ended_by(self, error: BaseException) -> None:
        super()._ended_by(error)
        own = raised = ""
        trace = error.__traceback__
        while trace is not None:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            if self._target.code.holds(trace.tb_frame):
                own = place
            if not str(trace.tb_frame.f_globals.get("__name__", "")).startswith("faultlab."):
                raised = place
            trace = trace.tb_next
        exited = isinstance(error, SystemExit) and error.code in (None, 0)
        if not exited:
            message = f"{type(error).__name__}: {safe_text(error)}"
            self._seen["error"] = {"message": message, "own": own, "raised": raised}

    def _evaluate(self) -> None:
        """Do nothing: the examination does not evaluate the weights."""

    def _result(self) -> Result:
        seen = self._seen
        following = self._following
        following.calls.active = False
        following.finish()
        with following.looking("the samples"):
            seen["samples"] = following.loaders.samples()
        with following.looking("the inputs"):
            seen["relation"] = relation.of_pairs(following.calls.pairs)
        with following.looking("the dataset"):
            seen["order"] = following.loaders.order()
        seen["swallowed"] = self._swallowing.found
        with following.looking("the whole script"):
            lines, unsure = self._swallowing.lines, self._swallowing.files
            seen["files"] = habits(following.chronicle.sources(self._swallowing.lines))
            seen["whole"] = following.chronicle.facts(following.loaders.known, lines, unsure)
        seen.update(present=sorted(self._presence.parts), settings=self._presence.settings)
        seen["momenta"] = self._presence.momenta
        seen.update(acted=self._applied.acted, plain=self._applied.plain.found())
        return ExaminedRun(self._run_result(), seen)
