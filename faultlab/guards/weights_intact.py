"""Between optimizer steps nothing changes the weights, the buffers stay numbers, and so do the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from faultlab.guards.findings import Findings
from faultlab.guards.guard import Action, Guard
from faultlab.guards.looks import Finding, Sample, Weights, automatic, names_of, optimizers_of, some

_CHANGE_WEIGHTS = ("averag", "ema", "swa", "prun", "quant")
_STATES = 32


class WeightsIntact(Guard):
    """Notices parameters and optimizer states that something else than an optimizer changes, and values that are none.

    Writes are seen by torch's own count of them, and what was written by a sample of 64 values of each parameter.
    Within a batch, before its first backward, a parameter may change by ``within`` of its size; between two
    batches, where modules keep weights normalised or clipped, by ``between``. It keeps quiet about the latter where
    a callback averages or prunes weights, and about parameters that no optimizer holds.
    """

    checks = {
        "not-finite": "a parameter is NaN, infinite or absurdly large",
        "buffer-not-finite": "a buffer is NaN",
        "changed": "parameters changed though no optimizer was stepped",
        "state-changed": "an optimizer's state changed though it was not stepped",
    }

    def __init__(
        self, within: float = 0.01, between: float = 0.2, absurd: float = 1e6, *, action: Action = "raise"
    ) -> None:
        super().__init__(action=action)
        self._findings = Findings()
        self.within = within
        self.between = between
        self.absurd = absurd
        self._forget()

    def _forget(self) -> None:
        self._weights: Weights | None = None
        self._buffers: Sample | None = None
        self._values: Any = None
        self._versions: list[int] = []
        self._at_start: list[int] = []
        self._states: list[tuple[torch.Tensor, int]] = []
        self._open = False
        self._swaps = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 or self._weights is None:
            weights = Weights.of(trainer, anew=True)
            callbacks = [type(callback).__name__.lower() for callback in getattr(trainer, "callbacks", None) or []]
            self._swaps = any(word in name for name in callbacks for word in _CHANGE_WEIGHTS)
            running = [b for b in pl_module.buffers() if b.is_floating_point() and b.numel() and not b.isnan().any()]
            self._buffers = Sample(running, per_tensor=16)
            if weights is not self._weights:
                self._weights = weights
                self._values = weights.at(("start", trainer.current_epoch, trainer.global_step))
                self._versions = weights.sample.versions()
        self._at_start = self._weights.sample.versions()
        self._open = True

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if self._open:
            self._open = False
            self._compare(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._open = False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        weights = self._weights
        if weights is None:
            return
        if self._open:
            # No backward went by: the training step may have changed weights all the same. Under manual optimisation it
            # may have stepped an optimizer that Lightning has no part in.
            self._open = False
            if automatic(pl_module):
                self._compare(trainer, pl_module)
        self._values = weights.at(("end", trainer.current_epoch, batch_idx, trainer.global_step))
        self._versions = weights.sample.versions()
        self._states = [(tensor, tensor._version) for tensor in _states(trainer)]
        findings: list[Finding] = []
        if self._values is not None and not float(np.abs(self._values).max()) < self.absurd:
            bad = ~(np.maximum.reduceat(np.abs(self._values), weights.sample.starts) < self.absurd)
            findings.append(self._not_finite(weights, bad, pl_module, f"after batch {batch_idx}"))
        findings += self._running(pl_module)
        self._findings.say(self, findings)

    def _compare(self, trainer: Any, module: Any) -> None:
        weights = self._weights
        findings: list[Finding] = []
        if any(tensor._version != version for tensor, version in self._states):
            findings.append(
                (
                    "state-changed",
                    "the optimizer state (its momenta and moments) was changed between two steps: it is corrupt",
                    "What else writes into optimizer.state, and was it loaded from another run?",
                )
            )
        versions = weights.sample.versions() if weights is not None else []
        if weights is not None and self._values is not None and versions != self._versions:
            findings = self._changes(trainer, module, weights, versions) + findings
        self._findings.say(self, findings)

    def _changes(self, trainer: Any, module: Any, weights: Weights, versions: list[int]) -> list[Finding]:
        within = versions != self._at_start
        if not within and self._swaps:
            return []
        now, before, sample = weights.sample.take(), self._values, weights.sample
        if len(now) != len(before):
            return []
        touched = [new != old for new, old in zip(versions, self._versions)]
        highest = [float(t.detach().abs().max()) if told else 0.0 for t, told in zip(sample.tensors, touched)]
        absurd = ~(np.array(highest) < self.absurd)
        if absurd.any():
            return [self._not_finite(weights, absurd, module, "before the step")]
        allowed = self.within if within else self.between
        weights.jumped = now
        with np.errstate(all="ignore"):
            change, size = sample.norms(now - before), sample.norms(before)
        far = (change > allowed * size) & (change > 1e-6)
        if not far.any():
            return []
        names = [names_of(module).get(id(t), "?") for t, is_far in zip(sample.tensors, far) if is_far]
        ratio = float(np.linalg.norm(change) / (np.linalg.norm(size) or 1.0))
        return [
            (
                "changed",
                f"weights jumped by {ratio:.1%} of their size outside of any optimizer step: {some(names)} changed "
                + ("within training_step" if within else "between two batches"),
                "Is something initialised anew, loaded, scaled, decayed or shuffled there, or noise added?",
            )
        ]

    def _not_finite(self, weights: Weights, bad: Any, module: Any, when: str) -> Finding:
        named = names_of(module)
        tensors = [tensor for tensor, is_bad in zip(weights.sample.tensors, bad) if is_bad]
        return (
            "not-finite",
            f"{some(named.get(id(t), '?') for t in tensors)} holds NaN, inf or a huge value {when}: not finite, or "
            "as if a bit had flipped",
            "Stop here: look at the last gradients and updates, and go back to a checkpoint from before.",
        )

    def _running(self, module: Any) -> list[Finding]:
        sample = self._buffers
        values = sample.take() if sample is not None else None
        # The sum is NaN for infinities of both signs too, so it only says where to look.
        if sample is None or values is None or values.sum() == values.sum():
            return []
        named = {id(buffer): name for name, buffer in module.named_buffers()}
        bad = np.add.reduceat(np.isnan(values), sample.starts) > 0
        names = [named.get(id(t), "?") for t, is_bad in zip(sample.tensors, bad) if is_bad]
        if not names:
            return []
        return [
            (
                "buffer-not-finite",
                f"{some(names)}, a buffer of the module such as running statistics, is NaN and not finite",
                "Look at the batch that it was updated with, and at batches of a single sample.",
            )
        ]


def _states(trainer: Any) -> list[torch.Tensor]:
    """What the optimizers remember of their first parameters, but for their own counts of steps."""
    found: list[torch.Tensor] = []
    for optimizer in optimizers_of(trainer):
        for index, state in enumerate(optimizer.state.values()):
            if index == _STATES or not isinstance(state, dict):
                break
            found += [value for name, value in state.items() if name != "step" and isinstance(value, torch.Tensor)]
    return found
