"""The guard that checks that optimizers hold all trainable parameters of the module, and only those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import (
    Finding,
    automatic,
    is_shared,
    local,
    names_of,
    optimizers_of,
    parameters_of,
    some,
)
from faultlab.guards.support.training_view import TrainingView

_MANY_NODES = 100_000


class OptimizerCoverage(Guard):
    """A guard against parameters that no optimizer holds, and against optimizers that hold none or foreign ones.

    A parameter without requires_grad counts as frozen on purpose, unless ``all_train`` is set, and so do the parameters
    of submodules in eval mode. A parameter is left out if the loss gives it a gradient but nothing changes it while
    optimizers are stepped. Target networks get no gradient, and parameters that the module updates itself change.
    Normalization layers that a finetuning callback of Lightning keeps trainable until their turn are allowed.

    The guard looks when training starts and at each epoch, and once at the graph of the first loss for parameters that
    are not registered. If FSDP2 shares the parameters among the ranks, it looks after the first batch of each epoch,
    and not at the graph. Under manual optimization, where a module may learn without one, a missing optimizer is
    allowed.

    Args:
        all_train: Whether all parameters have to be trainable.
        apart: Prefixes of parameter names that are ignored.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "none": "there is no optimizer",
        "empty": "an optimizer holds no parameter",
        "foreign": "an optimizer holds parameters that are not the module's",
        "twice": "a parameter is in an optimizer twice",
        "left-out": "a parameter that requires a gradient is in no optimizer",
        "unregistered": "a parameter takes part in the loss but is not registered in the module",
        "frozen": "a parameter is frozen, though all should be trained",
    }
    causes = {
        "none": "optimizer, no parameter, change, return",
        "empty": "optimizer, empty, no parameter, change",
        "foreign": "optimizer, foreign, replaced, copy, layer, parameters",
        "twice": "optimizer, twice, parameter, list",
        "left-out": "optimizer, missing, frozen, trainable, freeze, requires_grad, parameters",
        "unregistered": "registered, untrained, optimizer, layer, list, dict, loss, parameters",
        "frozen": "frozen, no gradient, requires_grad",
    }

    def __init__(
        self,
        all_train: bool = False,
        apart: Sequence[str] = (),
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.all_train = all_train
        self.apart = tuple(apart)
        self._forget()

    def _forget(self) -> None:
        self._walked = False
        self._steps = 0
        self._unheld: list[tuple[Any, int]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_unheld": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if not trainer.is_sharded:
            self._findings.say(self, self._look(trainer, pl_module))

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # At the first batch and not at the start of the epoch, where a module or a callback may unfreeze parameters.
        if batch_idx == 0 and not trainer.is_sharded:
            self._begin(trainer, pl_module)

    def _begin(self, trainer: TrainingView, module: Any) -> None:
        self._findings.say(self, self._look(trainer, module))
        self._unheld = [(p, local(p)._version) for p in self._candidates(trainer, module)]
        self._steps = trainer.global_step

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0 and trainer.is_sharded:
            # Before a forward pass FSDP2 may have gathered the parameters; after the backward pass it has not.
            self._begin(trainer, pl_module)
        elif self._unheld and trainer.global_step > self._steps:
            self._findings.say(self, self._left_out(pl_module))

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        if self._walked or not isinstance(loss, torch.Tensor):
            return
        self._walked = True
        # A graph of sharded parameters has copies of them, which are gathered for the pass.
        if trainer.optimizers is None or trainer.is_sharded:
            return
        known = {id(p) for p in pl_module.parameters()}
        known.update(id(p) for optimizer in optimizers_of(trainer) for p in parameters_of(optimizer))
        strange = [p for p in _leaves(loss.grad_fn) if id(p) not in known]
        if strange:
            shapes = some(str(tuple(p.shape)) for p in strange)
            self._findings.say(
                self,
                [
                    (
                        "unregistered",
                        f"{len(strange)} parameters that the loss depends on are neither registered in the module nor "
                        f"in an optimizer, so that they stay untrained (shapes: {shapes})",
                        "Keep layers in nn.ModuleList or nn.ModuleDict, not in a plain list or dict.",
                    )
                ],
            )

    def _look(self, trainer: TrainingView, module: Any) -> list[Finding]:
        if trainer.optimizers is None:
            self.skip("the optimizers are not known")
            return []
        if trainer.is_flattened:
            self.skip("the optimizers hold flattened parameters")
            return []
        self.looked += 1
        named = names_of(module)
        trainable = [p for p in module.parameters() if p.requires_grad]
        optimizers = optimizers_of(trainer)
        findings: list[Finding] = []
        if self.all_train and (frozen := [named[id(p)] for p in module.parameters() if not p.requires_grad]):
            findings.append(
                (
                    "frozen",
                    f"{some(frozen)} is frozen: it requires no gradient",
                    "Unfreeze it with requires_grad_(True).",
                )
            )
        if not optimizers:
            if trainable and automatic(module):
                findings.append(
                    (
                        "none",
                        "there is no optimizer, so that no parameter changes",
                        self.terms.either("Return one from configure_optimizers.", "Create one."),
                    )
                )
            return findings
        held = [p for optimizer in optimizers for p in parameters_of(optimizer)]
        if empty := [type(optimizer).__name__ for optimizer in optimizers if not parameters_of(optimizer)]:
            findings.append(
                (
                    "empty",
                    f"{some(empty)}, an optimizer, is empty: it holds no parameter, so that its steps change nothing",
                    "Look at how its list of parameters is built, and whether a generator was exhausted before.",
                )
            )
        # A single number is a placeholder so that the Trainer has an optimizer; the module learns without it.
        real = [o for o in optimizers if sum(p.numel() for p in parameters_of(o)) != 1]
        # While FSDP2 has gathered a layer, its shards are not registered.
        foreign = [
            p
            for optimizer in real
            for p in parameters_of(optimizer)
            if id(p) not in named and not (trainer.is_sharded and is_shared(p))
        ]
        if foreign:
            findings.append(
                (
                    "foreign",
                    f"{len(foreign)} of the {len(held)} parameters in the optimizer are foreign: not the module's, "
                    "but those of a copy or of a layer that was replaced",
                    f"Create the optimizer last, from {self.terms.parameters}, and replace no layer after that.",
                )
            )
        for optimizer in optimizers:
            own = [id(p) for p in parameters_of(optimizer)]
            if len(own) > len(set(own)):
                findings.append(
                    (
                        "twice",
                        f"{type(optimizer).__name__} holds a parameter twice",
                        "Put each parameter into one group only.",
                    )
                )
        return findings

    def _candidates(self, trainer: TrainingView, module: Any) -> list[Any]:
        """Return the trainable parameters that no optimizer holds, without those that rest on purpose."""
        optimizers = optimizers_of(trainer)
        if not optimizers or trainer.is_flattened:
            return []
        held = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
        unheld = [(name, p) for name, p in module.named_parameters() if p.requires_grad and id(p) not in held]
        if trainer.is_sharded:
            # What FSDP2 has gathered is not what optimizers are to hold.
            unheld = [(name, p) for name, p in unheld if is_shared(p)]
        if not unheld:
            return []
        thawing = _is_thawing(trainer)
        resting = {
            id(p)
            for part in module.modules()
            # If the module itself is in eval mode, the mode of its parts has no meaning.
            if (module.training and part is not module and not part.training)
            or (thawing and isinstance(part, torch.nn.modules.batchnorm._BatchNorm))
            for p in part.parameters(recurse=False)
        }
        apart = [p for name, p in unheld if self.apart and name.startswith(self.apart)]
        resting.update(map(id, apart))
        return [p for _, p in unheld if id(p) not in resting]

    def _left_out(self, module: Any) -> list[Finding]:
        named = names_of(module)
        names = [
            named[id(p)]
            for p, version in self._unheld
            if p.grad is not None and local(p)._version == version and id(p) in named and _is_alive(local(p.grad))
        ]
        if not names:
            return []
        trainable = sum(p.requires_grad for p in module.parameters())
        return [
            (
                "left-out",
                f"{len(names)} of {trainable} trainable parameters are missing in every optimizer and will not be "
                f"trained: {some(names)}",
                f"Pass {self.terms.parameters} to the optimizer, or freeze parameters on purpose with "
                "requires_grad_(False).",
            )
        ]


def _is_alive(gradient: torch.Tensor) -> bool:
    """Return whether a gradient is informative, since a module that steps by itself may have set it to zero."""
    return gradient.is_sparse or bool(gradient.any())


def _is_thawing(trainer: TrainingView) -> bool:
    """Return whether a callback adds parameters to the optimizers as it unfreezes them."""
    callbacks = trainer.callbacks
    return any(cls.__name__ == "BaseFinetuning" for one in callbacks for cls in type(one).__mro__)


def _leaves(node: Any) -> list[Any]:
    """Return the parameters at the leaves of a graph."""
    waiting, seen, found = [node] if node is not None else [], {node}, []
    while waiting and len(seen) < _MANY_NODES:
        current = waiting.pop()
        variable = getattr(current, "variable", None)
        if isinstance(variable, torch.nn.Parameter):
            found.append(variable)
        for parent, _ in current.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return found
