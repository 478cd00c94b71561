"""The reports of a loop: its numbers, the calls of its loggers, and the resets of its metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import LoggerCall, Logging, MetricReset
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Logged

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

RESET = "Metric.reset"


@hooks(Logging, framework=NAME)
def logging(point: Logging, patches: Patches, armed: Armed, site: Site) -> None:
    def mapped(report: Logged, stage: str) -> Logged | None:
        new: Logged | None = armed.map(report) if armed.due(stage) else report
        return new

    listening(patches, armed.clock.trainer.reports.maps, mapped)


@hooks(LoggerCall, framework=NAME)
def logger_call(point: LoggerCall, patches: Patches, armed: Armed, site: Site) -> None:
    def around(call: Callable[[], Any]) -> Any:
        return armed.around(call) if armed.due(turns="late") else call()

    listening(patches, armed.clock.trainer.reports.around_logger, around)


@hooks(MetricReset, framework=NAME)
def metric_reset(point: MetricReset, patches: Patches, armed: Armed, site: Site) -> None:
    def make(reset: Callable[..., Any]) -> Callable[..., Any]:
        def around(metric: Any) -> Any:
            return armed.around(lambda: reset(metric)) if armed.due() else reset(metric)

        return around

    wrap_resets(patches, make)


def wrap_resets(patches: Patches, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace the reset of torchmetrics' metrics, if the loop uses them, where it forgets what was counted."""
    torchmetrics = sys.modules.get("torchmetrics")
    if torchmetrics is None:
        return
    inside: list[Any] = []

    def calling(forward: Callable[..., Any]) -> Callable[..., Any]:
        def followed(*args: Any, **kwargs: Any) -> Any:
            # A metric that is called resets itself for the batch and puts its state back.
            inside.append(None)
            try:
                return forward(*args, **kwargs)
            finally:
                inside.pop()

        return followed

    def resetting(reset: Callable[..., Any]) -> Callable[..., Any]:
        changed = make(reset)

        def around(metric: Any) -> Any:
            return changed(metric) if metric.update_count and not inside else reset(metric)

        return around

    patches.wrap(torchmetrics.Metric, "forward", calling)
    patches.wrap(torchmetrics.Metric, "reset", resetting)
