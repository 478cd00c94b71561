"""What is logged: the values that a module reports, and what the loggers are handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Number
from typing import TYPE_CHECKING, Any

import torch

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed

LOGGER_CONNECTOR = "trainer.connectors.logger_connector.logger_connector:_LoggerConnector"


@dataclass
class Logged:
    """One call of ``self.log``: the name, the value (a number, a tensor or a torchmetrics Metric) and the options."""

    name: str
    value: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the value is a number or a tensor: a torchmetrics Metric can't give way to one half-way."""
        return is_plain(self.value)

    def number(self) -> torch.Tensor:
        """The plain value as a tensor of floating point."""
        value = torch.as_tensor(self.value).detach()
        return value if value.is_floating_point() else value.float()


def is_plain(value: Any) -> bool:
    """Whether a logged value is a number or a tensor."""
    return isinstance(value, (Number, torch.Tensor))


@dataclass(frozen=True)
class Logging(Seam):
    """What the module logs with ``log`` and ``log_dict``. The injector maps Logged -> Logged, or None for nothing."""

    leaves = frozenset({"backward", "batches", "forward"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(log: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(module: Any, name: str, value: Any, *args: Any, **options: Any) -> Any:
                if not armed.due():
                    return log(module, name, value, *args, **options)
                new = armed.map(Logged(name, value, options))
                return None if new is None else log(module, new.name, new.value, *args, **new.options)

            return mapped

        patches.wrap(namespaces.base_module(site.cls), "log", make)

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.logged else "the module logs nothing"


@dataclass(frozen=True)
class MetricReset(Seam):
    """What clears a logged metric between epochs. The injector is around the reset."""

    leaves = frozenset({"backward", "batches", "forward"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(reset: Callable[..., Any]) -> Callable[..., Any]:
            def around(metric: Any) -> Any:
                # Lightning also has empty ones reset, which leaves no trace whether it is done or not.
                used = getattr(metric, "update_count", 0) or getattr(metric, "_update_count", 0)
                return armed.around(lambda: reset(metric)) if used and armed.due() else reset(metric)

            return around

        for namespace in namespaces.loaded():
            results = "trainer.connectors.logger_connector.result:_ResultMetric"
            patches.wrap(namespaces.part(namespace, results), "reset", make)

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.logged else "the module logs nothing"


@dataclass(frozen=True)
class LoggerCall(Seam):
    """What Lightning hands the loggers. The injector is around the call."""

    leaves = frozenset({"backward", "batches", "forward"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(log_metrics: Callable[..., Any]) -> Callable[..., Any]:
            def around(connector: Any, metrics: Any, *args: Any, **kwargs: Any) -> Any:
                def call() -> Any:
                    return log_metrics(connector, metrics, *args, **kwargs)

                return (
                    armed.around(call) if metrics and connector.trainer.loggers and armed.due(turns="late") else call()
                )

            return around

        for namespace in namespaces.loaded():
            patches.wrap(namespaces.part(namespace, LOGGER_CONNECTOR), "log_metrics", make)

    def inapplicable(self, recon: Recon) -> str:
        if not recon.loggers:
            return "the Trainer has no logger"
        return "nothing that is logged reaches the logger" if recon.last_logged is None else ""
