"""The numbers that a loop reports: what its evaluation returns, what it prints or writes, and what it logs."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from faultlab.core.patching import Patches
from faultlab.frameworks.loops import progress_bars, sinks
from faultlab.frameworks.loops.calls import plainly
from faultlab.frameworks.loops.lines import Lines, of_files
from faultlab.injection.values import Logged, is_plain

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop

Reported = Callable[[Logged, str], "Logged | None"]
_VALIDATION = re.compile(r"(^|[^a-z])(val|valid|validation|dev|eval|test)([^a-z]|$)")


class Reports:
    """Follows the reports of a loop, records them in its trajectory, and lets faults change them.

    Args:
        loop: The loop.
        evaluation: The function of the scenario that evaluates, None without one.
        declared: The scenario's ``metrics``: where else numbers are reported.

    Attributes:
        maps: What a fault adds: it maps a report and its stage to another report, or to None to drop it.
        around_logger: What a fault adds: it is called with the call of a logger.
        by_stage: The names that were reported in each stage.
        counts: How often a name was reported in validation.
        loggers: The loggers that were called.
        last_logged: The step of the last call.
        before_validation: A number of training was reported before one of validation.
    """

    def __init__(self, loop: Loop, evaluation: Callable[..., Any] | None, declared: Mapping[str, Any]) -> None:
        self._loop, self._evaluation, self._declared = loop, evaluation, declared
        self._sources: dict[str, str] = {}
        self._evaluated = False
        self.maps: list[Reported] = []
        self.around_logger: list[Callable[[Callable[[], Any]], Any]] = []
        self.by_stage: dict[str, dict[str, None]] = {"train": {}, "validate": {}}
        self.counts: dict[str, int] = {}
        self.loggers: dict[str, None] = {}
        self.last_logged: int | None = None
        self.before_validation = False

    def attach(self, patches: Patches) -> None:
        """Follow the process until the patches are closed."""
        progress_bars.without_monitor(patches)
        if self._evaluation is not None:
            patches.wrap_imported([self._evaluation], self._evaluating, _looks_at)
        sinks.replace(patches, self._logging)
        if pattern := self._declared.get("stdout"):
            of_files(patches, None, lambda stream: Lines(stream, lambda line: self._printed(re.compile(pattern), line)))
        if file := self._declared.get("jsonl"):
            of_files(patches, str(file), lambda stream: Lines(stream, self._written))

    def returned(self, numbers: Mapping[str, float]) -> None:
        """Record the numbers that the function that trains has returned, unless they are reported already."""
        series = self._loop.trajectory.metrics
        for name, number in numbers.items():
            if name not in series or series[name][-1][1] != number:
                series.setdefault(name, []).append((self._loop.step, number))

    def logged(self, name: str, value: Any, stage: str) -> Logged | None:
        """Return what a Trainer logs in place of a number; None if it is to log nothing."""
        return self._report(name, value, "trainer", stage)

    def _stage(self, name: str) -> str:
        """Return the stage in a name; else that of the latest batch."""
        if _VALIDATION.search(name):
            return "validate"
        return "train" if "train" in name or "loss" in name else self._loop.latest

    def _report(self, name: str, value: Any, source: str, stage: str = "") -> Logged | None:
        """Return what is reported in place of a number."""
        stage = stage or self._stage(name.lower())
        loop, report = self._loop, Logged(name, value)
        new: Logged | None = report
        # A fault of what the evaluation returns is in all that is reported of it.
        if source == "evaluation" or stage == "train" or not self._evaluated:
            before, loop.stage = loop.stage, stage
            try:
                for mapped in list(self.maps):
                    new = mapped(new, stage) if new is not None else None
            finally:
                loop.stage = before
        if stage == "validate":
            self.counts[name] = self.counts.get(name, 0) + 1
            self.before_validation |= bool(self.by_stage["train"])
        self.by_stage[stage][name] = None
        if new is not None and self._sources.setdefault(new.name, source) == source:
            loop.trajectory.metrics.setdefault(new.name, []).append((loop.step, _float(new)))
        return new

    def _evaluating(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        def evaluating(*args: Any, **kwargs: Any) -> Any:
            loop = self._loop
            if not loop.steps_begun or loop.evaluating:
                return evaluate(*args, **kwargs)
            self._evaluated = loop.evaluating = True
            loop.stage = "validate"
            try:
                return self._through(evaluate(*args, **kwargs))
            finally:
                loop.evaluating, loop.stage = False, "train"

        return evaluating

    def _through(self, found: Any) -> Any:
        """Return the result of an evaluation as it is reported."""
        if isinstance(found, tuple):
            # The metrics are in a mapping, or the first number is one.
            place = next((n for n, one in enumerate(found) if isinstance(one, Mapping)), None)
            if place is None:
                place = next((n for n, one in enumerate(found) if _single(one)), None)
            if place is None:
                return found
            new = (*found[:place], self._through(found[place]), *found[place + 1 :])
            return type(found)(*new) if hasattr(found, "_fields") else new
        if isinstance(found, Mapping):
            changed = {}
            for name, value in found.items():
                report = self._report(str(name), value, "evaluation", "validate") if _single(value) else None
                if report is not None:
                    changed[name if report.name == str(name) else report.name] = _like(value, report.value)
                elif not _single(value):
                    changed[name] = value
            return changed
        report = self._report("metric", found, "evaluation", "validate") if _single(found) else None
        return found if not _single(found) else None if report is None else _like(found, report.value)

    def _logging(self, sink: sinks.Sink, log: Callable[..., Any]) -> Callable[..., Any]:
        def logging(*args: Any, **kwargs: Any) -> Any:
            if self._loop.within_logger:
                return log(*args, **kwargs)
            self.loggers[sink.title], self.last_logged = None, self._loop.step
            self._loop.within_logger = True
            try:
                for own, others in sink.mapped(args, kwargs, self._single_report):
                    around = self.around_logger[-1] if self.around_logger else plainly
                    around(functools.partial(self._counting, log, *own, **others))
            finally:
                self._loop.within_logger = False

        return logging

    def _counting(self, log: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._loop.trajectory.logger_calls += 1
        return log(*args, **kwargs)

    def _single_report(self, name: str, value: Any) -> tuple[str, Any] | None:
        if not _single(value):
            return name, value
        new = self._report(name, value, "logger")
        return None if new is None else (new.name, _like(value, new.value))

    def _printed(self, pattern: re.Pattern[str], line: str) -> str:
        found = pattern.search(line)
        if found is None:
            return line
        for name in sorted(pattern.groupindex, key=lambda name: -found.start(name)):
            text, (start, end) = found[name], found.span(name)
            if text is None or (value := _number(text)) is None:
                continue
            new = self._report(name, value, "stdout")
            if new is None or new.name != name:
                line = line[:start].rstrip() + line[end:]
            elif new.value is not value:
                line = f"{line[:start]}{_float(new):.6g}{line[end:]}"
        return line

    def _written(self, line: str) -> str:
        try:
            record = json.loads(line)
        except ValueError:
            return line
        if not isinstance(record, dict):
            return line
        changed: dict[str, Any] = {}
        for name, value in record.items():
            if not _single(value) or name in ("step", "epoch"):
                changed[name] = value
            elif (new := self._report(name, value, "file")) is not None:
                changed[new.name] = _like(value, new.value)
        return line if changed == record else json.dumps(changed)


def _single(value: Any) -> bool:
    return (
        is_plain(value)
        and not isinstance(value, (bool, complex))
        and (not isinstance(value, torch.Tensor) or value.numel() == 1)
    )


def _like(before: Any, value: Any) -> Any:
    """Return a value as a plain number if the one before it was one."""
    return value if isinstance(before, torch.Tensor) or not isinstance(value, torch.Tensor) else float(value)


def _float(report: Logged) -> float:
    return float(report.number() if isinstance(report.value, torch.Tensor) else report.value)


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%,;"))
    except ValueError:
        return None


def _looks_at(module: ModuleType) -> bool:
    return not module.__name__.startswith(("torch.", "faultlab."))
