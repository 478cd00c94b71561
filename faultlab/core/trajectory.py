"""What a run did, step by step: the record that a faulted run is compared by with its clean twin.

The recorder is a Lightning callback that only looks. It comes last in the list, after the guards.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the driver reads trajectories, and the seams import torch
    from faultlab.core.orders import Outcome
    from faultlab.core.patching import Patches

Series = list[tuple[int, float]]


@dataclass
class Trajectory:
    """The course of one run.

    ``losses`` and ``learning_rates`` hold (step, value), the latter where one changes; ``metrics`` holds for each name
    (step, value) as logged at the end of epochs and validations. ``digest`` is over all parameters and buffers at the
    end, ``final`` the metrics of an independent evaluation of the final weights with the fault taken off, ``reloaded``
    those of the best checkpoint where the run goes on to that. ``logger_calls`` counts the times that metrics reached a
    logger. ``not_finite`` names a parameter or buffer that holds NaN or an infinity at the end, and is empty where none
    does. ``end`` is finished, raised or exited.
    """

    steps: int = 0
    global_step: int = 0
    epochs: int = 0
    validation_batches: int = 0
    logger_calls: int = 0
    losses: Series = field(default_factory=list)
    learning_rates: Series = field(default_factory=list)
    metrics: dict[str, Series] = field(default_factory=dict)
    digest: str = ""
    final: dict[str, float] = field(default_factory=dict)
    reloaded: dict[str, float] = field(default_factory=dict)
    end: str = "finished"
    exit_code: int = 0
    not_finite: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as they are, of which the caller is not to change any."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trajectory:
        def series(pairs: Any) -> Series:
            return [(int(step), float(value)) for step, value in pairs]

        metrics = {name: series(pairs) for name, pairs in data["metrics"].items()}
        numbers = {"losses": series(data["losses"]), "learning_rates": series(data["learning_rates"])}
        return cls(**{**data, **numbers, "metrics": metrics})

    @classmethod
    def of(cls, outcome: Outcome) -> Trajectory | None:
        """What a run did; None where it did not live to say so."""
        found = (outcome.result or {}).get("trajectory")
        return None if found is None else cls.from_json(found)

    def same_as(self, other: Trajectory) -> bool:
        """Whether the two runs are the same to the bit."""
        # What tells most runs apart comes first: a campaign compares every one of its runs with the same twin.
        return self.digest == other.digest and self.parts() == other.parts()

    def parts(self) -> dict[str, str]:
        """Each thing that two runs may agree or differ in, by name; NaN agrees with NaN."""
        whole = self.to_json()
        nested = {
            f"{kind} {name}": value
            for kind in ("metrics", "final", "reloaded")
            for name, value in whole.pop(kind).items()
        }
        return {name: repr(value) for name, value in {**whole, **nested}.items()}

    def gaps(self, other: Trajectory) -> dict[str, float]:
        """How far apart the losses are, each logged metric, and each that an evaluation gave; infinite on other steps.

        In the numbers' own unit: relative to their size nothing that has grown is far from anything small.
        """
        found = {"losses": _apart(self.losses, other.losses)}
        for name in {**self.metrics, **other.metrics}:
            found[f"metrics {name}"] = _apart(self.metrics.get(name, []), other.metrics.get(name, []))
        for kind in ("final", "reloaded"):
            mine, others = getattr(self, kind), getattr(other, kind)
            for name in {**mine, **others}:
                values = [[(0, known[name])] if name in known else [] for known in (mine, others)]
                found[f"{kind} {name}"] = _apart(*values)
        return found

    def sizes(self) -> dict[str, float]:
        """How far from 0 each of these is."""
        nothing = replace(
            self,
            losses=_zeros(self.losses),
            metrics={name: _zeros(series) for name, series in self.metrics.items()},
            final=dict.fromkeys(self.final, 0.0),
            reloaded=dict.fromkeys(self.reloaded, 0.0),
        )
        return self.gaps(nothing)


def _zeros(series: Series) -> Series:
    return [(step, 0.0) for step, _ in series]


def _apart(one: Series, other: Series) -> float:
    """The root of the mean squared difference; NaN is as far from a number as infinity is."""
    if [step for step, _ in one] != [step for step, _ in other]:
        return math.inf
    gaps = [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b) for (_, a), (_, b) in zip(one, other)]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    largest = max(gaps, default=0.0)
    # Scaled, since the square of what has diverged may be no number any more.
    return largest * math.sqrt(sum((gap / largest) ** 2 for gap in gaps) / len(gaps)) if largest else 0.0


def digest(module: Any) -> str:
    """A hash of every parameter and buffer, to the bit."""
    import torch

    total = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        if not tensor.is_sparse and tensor.device.type != "meta":
            raw = tensor.detach().cpu().contiguous().reshape(-1)
            # Where it lies: a copy of a large model takes longer than its hash.
            total.update(raw.view(torch.uint8).numpy() if raw.numel() else b"")
    return total.hexdigest()


def not_finite(module: Any) -> str:
    """The first parameter, or buffer, that holds NaN or an infinity; empty where none does."""
    import torch

    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        known = tensor.is_floating_point() and not tensor.is_sparse and tensor.device.type != "meta"
        if known and not torch.isfinite(tensor).all():
            return str(name)
    return ""


def count_logger_calls(loggers: Iterable[Any], trajectory: Trajectory, patches: Patches) -> None:
    """Has ``trajectory`` count what reaches the loggers, which leaves no trace in the training itself."""

    def make(log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            trajectory.logger_calls += 1
            return log_metrics(*args, **kwargs)

        return counting

    for cls in {type(logger) for logger in loggers if hasattr(type(logger), "log_metrics")}:
        patches.wrap(cls, "log_metrics", make)


def recorder(namespace: Any, trajectory: Trajectory, clock: Any) -> Any:
    """A callback of the given Lightning namespace that writes into ``trajectory``."""
    seen: set[int] = set()
    rates: dict[int, float] = {}

    def loss_of(outputs: Any) -> float | None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        return _number(loss)

    class Recorder(namespace.Callback):  # type: ignore[misc]
        """Only looks: no random numbers, no gradients, no modes."""

        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
            if not pl_module.automatic_optimization and (value := _number(loss)) is not None:
                trajectory.losses.append((clock.step, value))
                seen.add(clock.step)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trajectory.steps += 1
            trajectory.global_step = int(trainer.global_step)
            if clock.step not in seen and (value := loss_of(outputs)) is not None:
                # Lightning shows callbacks the loss as divided by the number of batches that are accumulated.
                shares = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
                trajectory.losses.append((clock.step, value * shares))
            groups = [group for optimizer in trainer.optimizers for group in getattr(optimizer, "param_groups", [])]
            for index, group in enumerate(groups):
                rate = _number(group.get("lr"))
                if rate is not None and rate != rates.get(index):
                    rates[index] = rate
                    trajectory.learning_rates.append((clock.step, rate))

        def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
            if not trainer.sanity_checking:
                trajectory.validation_batches += 1

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                self._note(trainer)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trajectory.epochs += 1
            self._note(trainer)

        def _note(self, trainer: Any) -> None:
            for name, value in trainer.callback_metrics.items():
                if (number := _number(value)) is not None:
                    trajectory.metrics.setdefault(str(name), []).append((clock.step, number))

    return Recorder()


def _number(value: Any) -> float | None:
    try:
        # torch warns of a number made from a loss with its graph, once a process: the user's own warning, not ours.
        return float(value.detach() if hasattr(value, "detach") else value)
    except Exception:  # a missing, vector or odd-typed loss has no number to record
        return None
