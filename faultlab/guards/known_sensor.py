"""The sensor that measures a training at chosen moments and passes facts and numbers to a sink.

The names that it passes are keys of recorded files: a rewording makes the records useless.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from faultlab.guards import known_measures as measure
from faultlab.guards.support import listening
from faultlab.guards.support.training_view import TrainingView


class Sink(Protocol):
    """The receiver of measurements. ``check`` is the name of the check that a measurement belongs to."""

    def fact(self, check: str, name: str, value: Any) -> None:
        """Receive a fact, which a healthy run repeats exactly."""

    def number(self, check: str, name: str, cell: int, value: float, chance: float = 0.0) -> None:
        """Receive a number, which it repeats approximately, for the moment ``cell``.

        ``chance`` is the deviation by chance alone.
        """

    def numbers(self, check: str, names: Sequence[str], cell: int, values: Sequence[float]) -> None:
        """Receive several numbers at once."""


class Sensor:
    """Measures one training from start to end. Positions are batches since the training started.

    Args:
        sink: The receiver of the measurements.
        failed: Called with the exception if observing a part of the module fails.
    """

    def __init__(self, sink: Sink, failed: Callable[[Exception], None]) -> None:
        self.sink = sink
        self.ears = listening.Ears(failed)
        self.batches = self.validations = self.validated = self.in_epoch = 0
        self.start: int | None = None
        self._of_training: set[str] = set()
        self._last_metrics: dict[str, float] = {}
        self._standing = 0
        self._backwards = 0
        self._steps: Counter[int] = Counter()
        self._sizes: dict[str, int] = {}
        self._layouts: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._moments: dict[tuple[str, ...], _Moments] = {}
        self._epoch: dict[str, list[float]] = {}
        self._last: dict[str, list[float]] = {}
        self._before: dict[str, torch.Tensor] = {}

    @property
    def position(self) -> int:
        """The current batch, or the last one."""
        return (self.start or 0) + max(0, self.batches - 1)

    def on_fit_start(self, trainer: TrainingView, module: Any) -> None:
        for name, value in measure.settings(trainer).items():
            self.sink.fact("settings", name, value)
        for name, value in measure.hyperparameters(trainer, module).items():
            self.sink.fact("hyperparameters", name, value)

    def on_train_start(self, trainer: TrainingView, module: Any) -> None:
        for name, lines in measure.structure(trainer, module).items():
            self.sink.fact("structure", name, lines)
        for name, value in measure.loading(trainer.train_dataloader).items():
            self.sink.fact("data", f"{name} in training", value)
        for name, value in measure.loading(trainer.val_dataloaders).items():
            self.sink.fact("data", f"{name} in validation", value)
        batches = trainer.num_training_batches
        self.start = 0
        if trainer.global_step:
            known = batches if isinstance(batches, int) else 0
            self.start = trainer.current_epoch * known or trainer.global_step * trainer.accumulate_grad_batches
            self.validations = trainer.current_epoch
        else:
            self._weights(module, "initialisation", "at the beginning", 0)
        self._modes(module, "in training")

    def on_train_epoch_start(self, trainer: TrainingView, module: Any) -> None:
        self.in_epoch = 0
        if trainer.current_epoch:
            self._weights(module, "weights", "between epochs", trainer.current_epoch)
            self._optimizer_states(trainer, trainer.current_epoch)

    def on_train_batch_start(self, trainer: TrainingView, module: Any, batch: Any, batch_idx: int) -> None:
        self.batches += 1
        self.in_epoch += 1
        self._backwards = 0
        self._batch(batch, "in training")
        cell, _ = measure.fine(self.position)
        for number, optimizer in enumerate(trainer.optimizers or ()):
            for group_number, group in enumerate(optimizer.param_groups[:8]):
                name = f"the learning rate of optimizer {number}, group {group_number}"
                self.sink.number("learning-rate", name, cell, float(group["lr"]))
        if (coarse := measure.coarse(self.position)) is not None:
            self._modes(module, "in training")
            self._before = {name: _values(p).clone() for name, p in measure.moving(module.named_parameters()).items()}
            if coarse < 4:
                self._listen(module, coarse)

    def on_before_backward(self, trainer: TrainingView, module: Any, loss: Any) -> None:
        if isinstance(loss, torch.Tensor) and loss.numel() == 1 and self._backwards < 4:
            name = "the loss" if not self._backwards else f"the loss of backward pass {self._backwards + 1}"
            self._series("loss", name, float(loss.detach()))
        self._backwards += 1

    def on_before_optimizer_step(self, trainer: TrainingView, module: Any, optimizer: Any) -> None:
        number = next((n for n, known in enumerate(trainer.optimizers or ()) if known is optimizer), 0)
        start = (self.start or 0) // max(1, trainer.accumulate_grad_batches)
        cell = measure.coarse(start + self._steps[number])
        self._steps[number] += 1
        if cell is None:
            return
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        mine = measure.moving((name, p) for name, p in module.named_parameters() if id(p) in held)
        found = {name: p.grad for name, p in mine.items() if p.grad is not None}
        sizes = dict(zip(found, measure.norms(list(found.values()))))
        # A norm so much smaller than the others is rounding, such as that of a bias before normalization.
        rounding = 1e-5 * max(sizes.values(), default=0.0)
        for name in mine:
            size = sizes.get(name, 0.0)
            self.sink.number("gradients", f"the gradient norm of {name}", cell, 0.0 if size < rounding else size)

    def on_train_batch_end(self, trainer: TrainingView, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.batches == 1:
            self._of_training = set(trainer.callback_metrics or ())
        self.sink.number("gradients", "the number of backward passes of a batch", 0, self._backwards)
        self.ears.rest()
        if not self._before or (cell := measure.coarse(self.position)) is None:
            return
        after = {name: _values(p) for name, p in module.named_parameters() if name in self._before}
        same = [name for name, value in after.items() if value.shape == self._before[name].shape]
        moved = measure.norms([after[name] - self._before[name] for name in same])
        for name, size in zip(same, moved):
            self.sink.number("updates", f"the update of {name}", cell, size)
        self._before = {}

    def on_validation_batch_start(
        self, trainer: TrainingView, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:
            self.validated += 1
            self._batch(batch, "in validation")
            if self.validated == 1:
                self._modes(module, "in validation")

    def on_validation_end(self, trainer: TrainingView, module: Any) -> None:
        if not trainer.sanity_checking:
            self.sink.number("length", "the number of validation batches", 0, self.validated)
            self._metrics(trainer, "at a validation", self.validations)
            self._relations({name: float(value) for name, value in (trainer.callback_metrics or {}).items()})
            self.validations += 1
            self.validated = 0

    def on_train_epoch_end(self, trainer: TrainingView, module: Any) -> None:
        self.sink.number("length", "the number of batches of an epoch", 0, self.in_epoch)
        for name, seen in self._epoch.items():
            self.sink.number("loss", f"the mean over the epoch of {name}", trainer.current_epoch, sum(seen) / len(seen))
        self._epoch = {}

    def on_train_end(self, trainer: TrainingView, module: Any) -> None:
        if self.batches:
            self._weights(module, "weights", "between epochs", trainer.current_epoch)
            self._metrics(trainer, "at the end", 0)

    def on_fit_end(self, trainer: TrainingView, module: Any) -> None:
        self.ended(trainer)

    def ended(self, trainer: TrainingView) -> None:
        """Report the length of the training."""
        total = self.batches + (self.start or 0)
        self.sink.number("length", "the number of training batches in all", 0, total)
        self.sink.number("length", "the number of optimizer steps in all", 0, trainer.global_step)
        self.sink.number("length", "the number of validations in all", 0, self.validations)

    def _batch(self, batch: Any, where: str) -> None:
        found = list(measure.leaves(batch))
        if not found:
            return
        size = measure.batch_size(found)
        usual = self._sizes.setdefault(where, size)
        self.sink.number("data", f"the size of a batch {where}", 0, size)
        self.sink.fact("data", f"a batch's size {where}", size)
        for place, leaf in found[:16]:
            layout = leaf.dtype, leaf.shape[1:]
            if self._layouts.get((place, where)) != layout:
                self._layouts[place, where] = layout
                self.sink.fact("data", f"the layout of {place} {where}", f"{str(leaf.dtype)[6:]}{list(leaf.shape[1:])}")
            if size == usual and (seen := measure.of_batch(leaf)):
                kinds = place, where, *seen
                moments = self._moments.get(kinds)
                if moments is None:
                    moments = self._moments[kinds] = _Moments([f"the {kind} of {place} {where}" for kind in seen])
                values = [*seen.values()]
                self.sink.numbers("data", moments.names, 0, values)
                self._cumulated(moments, values)

    def _cumulated(self, moments: _Moments, values: list[float]) -> None:
        n = moments.add(values)
        if n >= 4 and not n & (n - 1):
            for name, mean, squares in zip(moments.names, moments.means, moments.squares):
                chance = math.sqrt(squares / (n - 1) / n)
                self.sink.number("data", f"{name}, over its first batches,", n.bit_length() - 1, mean, chance)

    def _series(self, check: str, name: str, value: float) -> None:
        cell, _ = measure.fine(self.position)
        self.sink.number(check, name, cell, value)
        self._epoch.setdefault(name, []).append(value)
        last = self._last.setdefault(name, [])
        last.append(value)
        if len(last) == 8:
            if not (self.position + 1) % 8:
                self.sink.number(check, f"the mean over eight batches of {name}", cell // 8, sum(last) / 8)
            last.clear()

    def _weights(self, module: Any, check: str, when: str, cell: int) -> None:
        buffers = ((name, b) for name, b in module.named_buffers() if b.is_floating_point())
        for name, tensor in {**measure.moving(module.named_parameters()), **measure.moving(buffers)}.items():
            found = measure.of_weights(tensor)
            for kind, (value, chance) in found.items() if check == "initialisation" else list(found.items())[:3]:
                self.sink.number(check, f"the {kind} of {name} {when}", cell, value, chance)

    def _optimizer_states(self, trainer: TrainingView, epoch: int) -> None:
        for number, optimizer in enumerate(trainer.optimizers or ()):
            sizes: dict[str, float] = {}
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    for key, value in optimizer.state.get(parameter, {}).items():
                        if isinstance(value, torch.Tensor) and value.is_floating_point():
                            sizes[key] = sizes.get(key, 0.0) + float(_values(value).float().norm()) ** 2
            self.sink.fact("optimizer-state", f"what optimizer {number} remembers", sorted(sizes))
            for key, size in sizes.items():
                self.sink.number("optimizer-state", f"the norm of optimizer {number}'s {key}", epoch, math.sqrt(size))

    def _modes(self, module: Any, where: str) -> None:
        self.sink.fact("mode", f"what is in eval mode {where}", measure.evaluating(module))

    def _metrics(self, trainer: TrainingView, when: str, cell: int) -> None:
        found = {name: float(value) for name, value in (trainer.callback_metrics or {}).items()}
        self.sink.fact("metrics", f"what is logged {when}", sorted(found))
        for name, value in found.items():
            # A metric logged for training batches varies as much as a single batch, and the losses are compared anyway.
            if name not in self._of_training:
                self.sink.number("metrics", f"the metric {name} {when}", cell, value)

    def _relations(self, metrics: dict[str, float]) -> None:
        """Report metrics that are equal in every digit to others or to their last values, which is not by chance."""
        broken = {name: value for name, value in metrics.items() if value != round(value)}
        own = {name: value for name, value in broken.items() if name not in self._of_training}
        pairs = [(name, other) for name in own for other in broken if other != name]
        alike = [
            f"{name} is {other}" for name, other in pairs if math.isclose(broken[name], broken[other], rel_tol=1e-6)
        ]
        self.sink.fact("metrics", "what is the same at a validation", alike)
        same = bool(own) and own == self._last_metrics
        self._standing = self._standing + 1 if same else 0
        self.sink.fact("metrics", "whether metrics stand still", same and (len(own) > 1 or self._standing > 1))
        self._last_metrics = own

    def _listen(self, module: Any, cell: int) -> None:
        leaves = ((n, p) for n, p in listening.parts(module) if n and (listening.is_closed(p) or not any(p.children())))
        parts = measure.chosen(leaves)
        seen = set()

        def heard(name: str) -> Any:
            def hook(part: Any, inputs: Any, output: Any) -> None:
                if name not in seen:
                    seen.add(name)
                    for kind, value in measure.of_activation(output).items():
                        self.sink.number("activations", f"the {kind} of the output of {name}", cell, value)

            return hook

        for name, part in parts.items():
            if not hasattr(part, "_c"):
                self.ears.after(part, heard(name))


class _Moments:
    """The running means of several numbers, and the sums of their squared deviations."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.count = 0
        self.means = [0.0] * len(names)
        self.squares = [0.0] * len(names)

    def add(self, values: list[float]) -> int:
        self.count = n = self.count + 1
        before = self.means
        self.means = [mean + (value - mean) / n for mean, value in zip(before, values)]
        self.squares = [
            squares + (value - old) * (value - new)
            for squares, value, old, new in zip(self.squares, values, before, self.means)
        ]
        return n


def _values(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().flatten()
    return flat[:: -(-len(flat) // measure.SAMPLED)] if len(flat) > measure.SAMPLED else flat
