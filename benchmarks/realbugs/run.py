"""One training under one detector: what the detector may do, and what it reported."""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import dataloader

from benchmarks.realbugs import training


@dataclass
class Alert:
    """One thing that a detector reported: the check, its text, and the number of optimizer steps taken by then.

    It is a warning if the tool has a level above it that fails, as its own exit code or exception shows.
    """

    check: str
    text: str
    step: int
    warning: bool = False


@dataclass
class Outcome:
    """What became of a run: alerts, new warnings, the measure, CPU seconds, and an error of the detector itself."""

    alerts: list[Alert] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    measure: float | None = None
    raised: str = ""
    seconds: float = 0.0
    steps: int = 0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Outcome:
        return cls(**{**content, "alerts": [Alert(**one) for one in content["alerts"]]})


class Run:
    """A training that has been built and not begun, for a detector to watch.

    Attributes:
        parts: The parts of the training.
        file: The script as a file, with an entry that trains.
        baseline: The script of the fixed version, for detectors that compare with a run known to be good.
        folder: An empty folder.
        shared: A folder that all runs of a bug share, for what is recorded once of its fixed version.
        apart: CPU seconds of such records, which are not a cost of watching a training.
        seed: The seed.
        steps: The number of optimizer steps taken so far.
        last_loss: The last value that backward was called on.
        last_batch: The last batch that a DataLoader of the training yielded.
    """

    def __init__(self, file: Path, baseline: Path, folder: Path, seed: int, shared: Path | None = None) -> None:
        self.file, self.baseline, self.folder, self.seed = file, baseline, folder, seed
        self.shared, self.apart = shared or folder, 0.0
        self.outcome = Outcome()
        self.steps = 0
        self.last_loss: torch.Tensor | None = None
        self.last_batch: Any = None
        self._before_steps: list[Callable[[Any], None]] = []
        training.seed_all(seed)
        self.script = module(file)
        self.parts: Any = self.script.build()

    @property
    def framework(self) -> str:
        return {training.Loop: "torch", training.Fit: "lightning", training.Tuning: "transformers"}[type(self.parts)]

    def alert(self, check: str, text: str, step: int | None = None, warning: bool = False) -> None:
        """Report that a check failed, or only warned."""
        at = self.steps if step is None else step
        self.outcome.alerts.append(Alert(check, " ".join(text.split())[:2000], at, warning))

    def before_step(self, call: Callable[[Any], None]) -> None:
        """Have a function called with the optimizer before each of its steps in `train`, after backward."""
        self._before_steps.append(call)

    def recorded(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return a file about the fixed version, which is made if no earlier run of the bug has made it."""
        file = self.shared / name
        if not file.exists():
            began, new = cpu_seconds(), self.folder / f"new-{name}"
            make(new)
            # Two workers may make it at the same time: both make the same.
            new.replace(file)
            self.apart += cpu_seconds() - began
        return file

    def _look(self, optimizer: Any) -> None:
        for call in self._before_steps:
            call(optimizer)

    def batch(self) -> Any:
        """Return the first batch of the training loader; random numbers are drawn as if it had not been asked for."""
        state = torch.get_rng_state()
        batch = next(iter(self.parts.loader))
        torch.set_rng_state(state)
        return batch

    def train(self, callbacks: Any = (), **more: Any) -> None:
        """Run the training to its end; callbacks and further arguments are those of a Trainer."""
        with self._counted(), warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            try:
                looks = [training.before_steps(self._look)] if self.framework == "lightning" else []
                training.run(self.script, self.parts, [*callbacks, *looks], **more)
            finally:
                self.outcome.warnings = sorted({str(one.message) for one in shown})
                self.outcome.steps = self.steps

    def measure(self) -> float:
        """Return the script's measure of the training, which grows as it gets worse."""
        return float(self.script.measure(self.parts))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        def before(optimizer: Any, *_: Any) -> None:
            # Lightning's step calls backward itself.
            if self.framework != "lightning":
                self._look(optimizer)

        def after(*_: Any) -> None:
            self.steps += 1

        backward, advance = torch.Tensor.backward, dataloader._BaseDataLoaderIter.__next__

        def noted_backward(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.last_loss = tensor.detach()
            return backward(tensor, *args, **kwargs)

        def noted_next(iterator: Any) -> Any:
            batch = advance(iterator)
            if torch.is_grad_enabled():
                self.last_batch = batch
            return batch

        hooks = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
        torch.Tensor.backward = noted_backward  # type: ignore[method-assign]
        dataloader._BaseDataLoaderIter.__next__ = noted_next  # type: ignore[method-assign]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            torch.Tensor.backward = backward  # type: ignore[method-assign]
            dataloader._BaseDataLoaderIter.__next__ = advance  # type: ignore[method-assign]


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def module(file: Path) -> Any:
    """Return a script as a module that classes can be pickled from."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded
