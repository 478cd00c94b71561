"""Logging: the values that a module reports, and the calls of the loggers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import LoggerCall, Logging, MetricReset
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Logged

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Logging, framework=NAME)
def logging(point: Logging, patches: Patches, armed: Armed, site: Site) -> None:
    def make(log: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(module: Any, name: str, value: Any, *args: Any, **options: Any) -> Any:
            if not armed.due():
                return log(module, name, value, *args, **options)
            new = armed.map(Logged(name, value, options))
            return None if new is None else log(module, new.name, new.value, *args, **new.options)

        return mapped

    patches.wrap(namespaces.base_module(site.cls), "log", make)


@hooks(MetricReset, framework=NAME)
def metric_reset(point: MetricReset, patches: Patches, armed: Armed, site: Site) -> None:
    def make(reset: Callable[..., Any]) -> Callable[..., Any]:
        def around(metric: Any) -> Any:
            # Lightning also resets unused metrics, which has no effect.
            used = getattr(metric, "update_count", 0) or getattr(metric, "_update_count", 0)
            return armed.around(lambda: reset(metric)) if used and armed.due() else reset(metric)

        return around

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.RESULT_METRIC), "reset", make)


@hooks(LoggerCall, framework=NAME)
def logger_call(point: LoggerCall, patches: Patches, armed: Armed, site: Site) -> None:
    def make(log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        def around(connector: Any, metrics: Any, *args: Any, **kwargs: Any) -> Any:
            def call() -> Any:
                return log_metrics(connector, metrics, *args, **kwargs)

            return armed.around(call) if metrics and connector.trainer.loggers and armed.due(turns="late") else call()

        return around

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.LOGGER_CONNECTOR), "log_metrics", make)
