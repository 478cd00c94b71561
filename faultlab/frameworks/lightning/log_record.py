"""The log calls of a module in a clean run: names by stage, metric objects, and the last call of a logger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.core import directions
from faultlab.injection.clock import Clock
from faultlab.injection.values import is_plain


class LogRecord:
    """Records what the module logs and which metrics reach a logger, through the wrappers that it makes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_stage: dict[str, dict[str, None]] = {"train": {}, "validate": {}}
        self.objects: dict[str, None] = {}
        self.before_validation = False
        self.directions: list[tuple[str, dict[str, str]]] = []
        self.last_step: int | None = None
        self.synced = False

    def logging_value(self, log: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``LightningModule.log``."""

        def logging(module: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
            stage = self._clock.stage
            self.synced = self.synced or bool(kwargs.get("sync_dist"))
            if not is_plain(value):
                if name not in self.objects:
                    self.directions.append((name, directions.of_metric(value)))
                self.objects[name] = None
            elif stage == "validate" and set(self.by_stage["train"]) - set(self.objects):
                self.before_validation = True
            self.by_stage.get(stage, {})[name] = None
            return log(module, name, value, *args, **kwargs)

        return logging

    def writing_metrics(self, log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function that passes metrics to the loggers."""

        def writing(connector: Any, metrics: Any, *args: Any, **kwargs: Any) -> Any:
            if metrics and connector.trainer.loggers:
                self.last_step = self._clock.step
            return log_metrics(connector, metrics, *args, **kwargs)

        return writing
