"""What should learn is in an optimizer, and what is in an optimizer is the module's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from faultlab.guards.findings import Findings
from faultlab.guards.guard import Action, Guard
from faultlab.guards.looks import Finding, automatic, names_of, optimizers_of, parameters_of, some

_MANY_NODES = 100_000


class OptimizerCoverage(Guard):
    """Notices parameters that no optimizer holds, and optimizers that hold nothing or what is not the module's.

    Parameters that require no gradient are taken for frozen on purpose, unless ``all_train`` is set, and so are
    those of submodules in eval mode. ``leave_out`` lists beginnings of names that are no concern of it. It looks
    when training starts and at each epoch, and once at the graph of the first loss, for parameters that the module
    does not know. It keeps quiet about a missing optimizer under manual optimisation, where a module may have its
    own way to learn.
    """

    checks = {
        "none": "there is no optimizer",
        "empty": "an optimizer holds no parameter",
        "foreign": "an optimizer holds parameters that are not the module's",
        "twice": "a parameter is in an optimizer twice",
        "left-out": "a parameter that requires a gradient is in no optimizer",
        "unregistered": "a parameter takes part in the loss and is not registered in the module",
        "frozen": "a parameter requires no gradient, though all should learn",
    }

    def __init__(self, all_train: bool = False, leave_out: Sequence[str] = (), *, action: Action = "raise") -> None:
        super().__init__(action=action)
        self._findings = Findings()
        self.all_train = all_train
        self.leave_out = tuple(leave_out)
        self._walked = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._findings.clear()
        self._walked = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._findings.say(self, self._look(trainer, pl_module))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # At an epoch's first batch and not at its start, by which a module or a callback may unfreeze what is next.
        if batch_idx == 0:
            self._findings.say(self, self._look(trainer, pl_module))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if self._walked or not isinstance(loss, torch.Tensor):
            return
        self._walked = True
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
                        f"{len(strange)} parameters that the loss depends on are not registered in the module and in "
                        f"no optimizer, so that they stay untrained (shapes: {shapes})",
                        "Keep layers in nn.ModuleList or nn.ModuleDict, not in a plain list or dict.",
                    )
                ],
            )

    def _look(self, trainer: Any, module: Any) -> list[Finding]:
        named = names_of(module)
        trainable = [p for p in module.parameters() if p.requires_grad]
        optimizers = optimizers_of(trainer)
        findings: list[Finding] = []
        if self.all_train and (frozen := [named[id(p)] for p in module.parameters() if not p.requires_grad]):
            findings.append(("frozen", f"{some(frozen)} is frozen: it requires no gradient", "Unfreeze it."))
        if not optimizers:
            if trainable and automatic(module):
                findings.append(
                    (
                        "none",
                        "there is no optimizer, so that no parameter changes",
                        "Does configure_optimizers return it?",
                    )
                )
            return findings
        held = [p for optimizer in optimizers for p in parameters_of(optimizer)]
        if empty := [type(optimizer).__name__ for optimizer in optimizers if not parameters_of(optimizer)]:
            findings.append(
                (
                    "empty",
                    f"{some(empty)}, an optimizer, is empty: it holds no parameter, so that its steps change nothing",
                    "Look at how its list of parameters is made, and whether a generator was used up before.",
                )
            )
        foreign = [p for p in held if id(p) not in named]
        # Under strategies that flatten or shard parameters the optimizer rightly holds none of the module's own.
        if foreign and not _flattened(trainer):
            findings.append(
                (
                    "foreign",
                    f"{len(foreign)} of the {len(held)} parameters in the optimizer are foreign: not the module's, but "
                    "of a copy or of a layer that was replaced",
                    "Make the optimizer last, from self.parameters(), and replace no layer after it.",
                )
            )
        for optimizer in optimizers:
            own = [id(p) for p in parameters_of(optimizer)]
            if len(own) > len(set(own)):
                findings.append(
                    (
                        "twice",
                        f"{type(optimizer).__name__} holds a parameter twice",
                        "List each parameter in one group.",
                    )
                )
        findings += self._left_out(module, trainable, {id(p) for p in held}, named)
        return [] if _flattened(trainer) else findings

    def _left_out(self, module: Any, trainable: list[Any], held: set[int], named: dict[int, str]) -> list[Finding]:
        candidates = [p for p in trainable if id(p) not in held]
        if not candidates:
            return []
        resting = {
            id(p)
            for part in module.modules()
            if part is not module and not part.training
            for p in part.parameters(recurse=False)
        }
        # Where the module itself is in eval mode, its parts are for no reason of their own.
        resting = resting if module.training else set()
        names = [named[id(p)] for p in candidates if id(p) not in resting]
        names = [name for name in names if not (self.leave_out and name.startswith(self.leave_out))]
        if not names:
            return []
        return [
            (
                "left-out",
                f"{len(names)} of {len(trainable)} trainable parameters are missing in every optimizer and will not be "
                f"trained: {some(names)}",
                "Hand self.parameters() to the optimizer, or freeze with requires_grad_(False) what should stay.",
            )
        ]


def _flattened(trainer: Any) -> bool:
    name = type(getattr(trainer, "strategy", None)).__name__
    return any(part in name for part in ("FSDP", "DeepSpeed", "ModelParallel", "XLA"))


def _leaves(node: Any) -> list[Any]:
    """The parameters at the leaves of a graph."""
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
