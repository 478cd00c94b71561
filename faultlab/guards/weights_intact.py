"""The guard that checks that only optimizer steps change weights, and that weights and buffers stay finite."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, Weights, automatic, names_of, optimizers_of, some
from faultlab.guards.support.training_view import TrainingView

_CHANGE_WEIGHTS = ("averag", "ema", "swa", "prun", "quant")
_STATES = 32


class WeightsIntact(Guard):
    """A guard against changes of weights and optimizer states outside of steps, and against invalid values.

    Writes are detected by torch's own count, and their effect by a sample of 64 values of each parameter. Between two
    batches modules may keep weights normalized or clipped, and callbacks may average or prune them. Parameters that no
    optimizer holds, and embeddings that normalize their rows themselves, are ignored.

    Args:
        within: The allowed change of a parameter within a batch before its first backward pass, as a share of its size.
        between: The allowed change of a parameter between two batches, as a share of its size.
        absurd: The smallest absolute value that is too large for a parameter.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-finite": "a parameter is NaN, infinite or far too large",
        "buffer-not-finite": "a buffer is NaN",
        "changed": "parameters changed without an optimizer step",
        "state-changed": "an optimizer's state changed without a step",
    }
    causes = {
        "not-finite": "nan, inf, not finite, huge, bit, gradients, update, checkpoint",
        "buffer-not-finite": "buffer, nan, not finite, running statistics, single, batch, update",
        "changed": "jumped, weights, initialized, scaled, decayed, shuffled, noise, optimizer step, outside, "
        "training_step, size, changed",
        "state-changed": "optimizer state, moment, corrupt, changed, two steps",
    }

    def __init__(
        self,
        within: float = 0.01,
        between: float = 0.2,
        absurd: float = 1e6,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.within = within
        self.between = between
        self.absurd = absurd
        self._forget()

    def _forget(self) -> None:
        self._weights: Weights | None = None
        self._values = torch.empty(0)
        self._versions: list[int] = []
        self._at_start: list[int] = []
        self._states: list[torch.Tensor] = []
        self._state_versions: list[int] = []
        self._batches = 0
        self._open = False
        self._looking = False
        self._swaps = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        looked, self._looking = self._looking, pace.due(trainer)
        if not self._looking:
            return
        if not looked and self._weights is not None:
            self._values, self._versions = self._weights.sample.take(), self._weights.sample.versions()
            self._state_versions = [state._version for state in self._states]
        if batch_idx == 0 or self._weights is None:
            weights = Weights.of(trainer, pl_module, renew=True)
            self._swaps = _swapped(trainer)
            if weights is not self._weights:
                self._weights = weights
                self._values, self._versions = weights.sample.take(), weights.sample.versions()
        self._at_start = self._weights.sample.versions()
        self._open = True

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        if self._open:
            self._open = False
            self._compare(trainer, pl_module)

    @pace.sparse
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        self._open = False

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        weights = self._weights
        if weights is None or not self._looking:
            return
        if self._open:
            # Without a backward pass the training step may still have changed weights. Under manual optimization it may
            # have stepped an optimizer that Lightning does not know.
            self._open = False
            if automatic(pl_module):
                self._compare(trainer, pl_module)
        self._versions = weights.sample.versions()
        self._values, energy = weights.at(batch_idx, self._versions)
        if len(self._values):
            self.looked += 1
        else:
            self.skip("no optimizer holds a parameter whose values can be read")
        self._batches += 1
        if batch_idx == 0 or self._batches < 3:
            # The first step creates the states, and a restored one may replace them.
            self._states = _states(trainer)
        self._state_versions = [state._version for state in self._states]
        if not energy < self.absurd**2:
            self._findings.say(self, self._absurd(weights, pl_module, batch_idx))

    def _compare(self, trainer: TrainingView, module: Any) -> None:
        weights = self._weights
        findings: list[Finding] = []
        if self._state_versions != [state._version for state in self._states]:
            findings.append(
                (
                    "state-changed",
                    "the optimizer state (its momenta and moments) was changed between two steps: it is corrupt",
                    "Look for code that writes into optimizer.state, and check whether the state was loaded from "
                    "another run.",
                )
            )
        versions = weights.sample.versions() if weights is not None else []
        if weights is not None and versions != self._versions:
            findings = self._changes(trainer, module, weights, versions) + findings
        self._findings.say(self, findings)

    def _changes(self, trainer: TrainingView, module: Any, weights: Weights, versions: list[int]) -> list[Finding]:
        within = versions != self._at_start
        if not within and self._swaps:
            return []
        now, before, sample = weights.sample.take(), self._values, weights.sample
        if len(now) != len(before):
            return []
        touched = [new != old for new, old in zip(versions, self._versions)]
        # A single changed value is missed by a sample.
        wrong = [t for t, told in zip(sample.tensors, touched) if told and not self._is_sane(t)]
        if wrong:
            return [self._not_finite(wrong, module, "before the step")]
        allowed = self.within if within else self.between
        weights.jumped = now[: sample.length]
        change, size = sample.norms(now - before), sample.norms(before)
        pairs = [*zip(sample.tensors, change, size)]
        far = [t for t, moved, own in pairs if not (moved <= allowed * own or moved <= 1e-6)]
        renormed = _renormed(module) if far else set()
        far = [t for t in far if id(t) not in renormed]
        if not far:
            return []
        names = [names_of(module).get(id(t), "?") for t in far]
        ratio = math.hypot(*change[: len(pairs)]) / (math.hypot(*size[: len(pairs)]) or 1.0)
        return [
            (
                "changed",
                f"weights jumped by {ratio:.1%} of their size outside of any optimizer step: {some(names)} changed "
                + (f"within {self.terms.training_step}" if within else "between two batches"),
                "Look for code that initializes, loads, scales, decays or shuffles weights there, or adds noise.",
            )
        ]

    def _is_sane(self, tensor: torch.Tensor) -> bool:
        return float(tensor.detach().abs().max()) < self.absurd

    def _absurd(self, weights: Weights, module: Any, batch_idx: int) -> list[Finding]:
        findings: list[Finding] = []
        if wrong := [tensor for tensor in weights.sample.tensors if not self._is_sane(tensor)]:
            findings.append(self._not_finite(wrong, module, f"after {self.batch_name(batch_idx)}"))
        named = {id(buffer): name for name, buffer in module.named_buffers()}
        names = [named.get(id(buffer), "?") for buffer in weights.sample.extra if bool(torch.isnan(buffer).any())]
        if names:
            findings.append(
                (
                    "buffer-not-finite",
                    f"{some(names)}, a buffer of the module such as running statistics, is NaN and thus not finite",
                    "Look at the batch that it was updated with, and at batches of a single sample.",
                )
            )
        return findings

    def _not_finite(self, wrong: list[torch.Tensor], module: Any, when: str) -> Finding:
        named = names_of(module)
        return (
            "not-finite",
            f"{some(named.get(id(t), '?') for t in wrong)} holds NaN, inf or a huge value {when}: it is not finite, "
            "or a bit has flipped",
            "Look at the last gradients and updates, and return to an earlier checkpoint.",
        )


def _renormed(module: Any) -> set[int]:
    """Return the weights of layers that normalize rows on lookup, such as embeddings with ``max_norm``."""
    layers = [part for part in module.modules() if getattr(part, "max_norm", None) is not None]
    return {id(parameter) for part in layers for parameter in part.parameters(recurse=False)}


def _swapped(trainer: TrainingView) -> bool:
    """Return whether a callback changes weights on purpose, by its name; BatchSchema contains "ema" but does not."""
    callbacks = [one for one in trainer.callbacks if not isinstance(one, Guard)]
    return any(word in type(one).__name__.lower() for one in callbacks for word in _CHANGE_WEIGHTS)


def _states(trainer: TrainingView) -> list[torch.Tensor]:
    """Return the optimizers' states of their first parameters, without the counts of steps."""
    found: list[torch.Tensor] = []
    for optimizer in optimizers_of(trainer):
        for index, state in enumerate(optimizer.state.values()):
            if index == _STATES or not isinstance(state, dict):
                break
            found += [value for name, value in state.items() if name != "step" and isinstance(value, torch.Tensor)]
    return found
