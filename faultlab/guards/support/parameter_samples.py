"""Functions that several guards share: optimizers and their parameters, the training's length, samples of values.

All of it only reads. The sample of a parameter is a view that is made once, since parameters stay in place. Gradients
are allocated at each step, so that their sample has to be taken from their current address.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from faultlab.guards.support import packages
from faultlab.guards.support.training_view import TrainingView

Finding = tuple[str, str, str]
"""The name of a check, what was found, and the remedy."""

_PER_TENSOR = 64
_LOOKS: weakref.WeakKeyDictionary[Any, Weights] = weakref.WeakKeyDictionary()


def optimizers_of(trainer: TrainingView) -> list[Any]:
    """Return the optimizers with parameter groups. Lightning's mock for none has one with a dummy, and is left out."""
    found = trainer.optimizers or []
    return [
        optimizer
        for optimizer in found
        if isinstance(getattr(optimizer, "param_groups", None), list) and "Mock" not in type(optimizer).__name__
    ]


def searches(optimizer: Any) -> bool:
    """Return whether the optimizer stops by itself if its line search finds no better point, as L-BFGS does."""
    return any("tolerance_change" in group for group in optimizer.param_groups)


def parameters_of(optimizer: Any) -> list[Any]:
    """Return the parameters of an optimizer, in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def local(tensor: Any) -> Any:
    """Return the part of a sharded tensor that this rank holds, which shares its memory; any other tensor as it is.

    Each read of a sharded tensor as a whole would be a collective, for which another rank may never come.
    """
    return tensor._local_tensor if is_shared(tensor) else tensor


def is_shared(tensor: Any) -> bool:
    """Return whether the ranks hold a tensor together, as FSDP2 and tensor parallelism let them."""
    return hasattr(tensor, "placements")


def names_of(module: Any) -> dict[int, str]:
    """Return the names of a module's parameters by identity, also by that of this rank's part of a sharded one."""
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    parts = {id(local(parameter)): name for name, parameter in module.named_parameters()}
    return {**parts, **named}


def some(names: Iterable[str]) -> str:
    """Return the first three names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - 3
    return ", ".join(listed[:3]) + (f" and {rest} more" if rest > 0 else "")


def automatic(module: Any) -> bool:
    """Return whether Lightning, and not the module, calls backward and step."""
    return bool(getattr(module, "automatic_optimization", True))


def overrides_stock(owner: Any, method: str) -> bool:
    """Return whether a module or a datamodule overrides a method of Lightning."""
    holder = next((cls for cls in type(owner).__mro__ if method in vars(cls)), object)
    return holder is not object and not packages.stock(holder)


def has_own_way(module: Any) -> bool:
    """Return whether the module's class overrides backward or the optimizer step, and may do both elsewhere."""
    return overrides_stock(module, "backward") or overrides_stock(module, "optimizer_step")


def writes(module: Any) -> int:
    """Return how often the module's parameters were written in place, by torch's own count."""
    return sum(local(parameter)._version for parameter in module.parameters() if not is_lazy(parameter))


def planned_steps(trainer: TrainingView) -> float:
    """Return how many steps each optimizer is planned to take, infinity if unknown."""
    found = [math.inf]
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if isinstance(batches, (int, float)) and isinstance(epochs, int) and epochs > 0:
        found.append(batches * epochs / max(1, trainer.accumulate_grad_batches))
    steps = trainer.max_steps
    if isinstance(steps, int) and steps > 0:
        found.append(steps / max(1, len(optimizers_of(trainer))))
    return min(found)


def counted(loaders: Any) -> bool:
    """Return whether every loader knows its number of batches. If not, a Trainer's count of batches is only a limit."""
    if isinstance(loaders, dict):
        return all(map(counted, loaders.values()))
    if isinstance(loaders, (list, tuple)):
        return all(map(counted, loaders))
    try:
        len(loaders)
    except (TypeError, NotImplementedError):
        return False
    return True


def plain(tensor: Any) -> bool:
    """Return whether the tensor holds floating-point numbers in ordinary memory, so that its values can be read."""
    return (
        isinstance(tensor, Tensor)
        and not is_lazy(tensor)
        and tensor.layout is torch.strided
        and tensor.is_floating_point()
        and tensor.device.type != "meta"
        and tensor.numel() > 0
        and type(tensor.detach()) is Tensor
    )


def flat(tensor: Tensor) -> Tensor | None:
    """Return the tensor's values as one row that shares its memory, None if they are not contiguous."""
    detached = tensor.detach()
    if not detached.is_contiguous():
        detached = detached.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    return detached.view(-1) if detached.is_contiguous() else None


def joined(rows: Sequence[Tensor]) -> Tensor:
    """Return rows concatenated, in main memory."""
    row = torch.cat(rows) if len(rows) > 1 else rows[0].clone()  # type: ignore[arg-type]
    return (row if row.dtype in (torch.float32, torch.float64) else row.float()).cpu()


class Sample:
    """Some values of each of many tensors, taken together repeatedly. ``spans`` holds the slice of each tensor."""

    def __init__(self, tensors: Sequence[Tensor], extra: Sequence[Tensor] = ()) -> None:
        self.tensors: list[Tensor] = []
        self.extra: list[Tensor] = []
        self._views: list[Tensor] = []
        self.spans: list[slice] = []
        device = next((tensor.device for tensor in tensors if plain(tensor)), None)
        self.length = end = 0
        for kept, among in ((self.tensors, tensors), (self.extra, extra)):
            for tensor in among:
                if plain(tensor) and tensor.device == device and (row := flat(tensor)) is not None:
                    kept.append(tensor)
                    self._views.append(row[:: -(-len(row) // _PER_TENSOR)])
                    self.spans.append(slice(end, end + len(self._views[-1])))
                    end = self.spans[-1].stop
            self.length = self.length or end
        self._places = self._addresses()

    def take(self) -> Tensor:
        """Return the current values in one row: first ``length`` values of ``tensors``, then those of ``extra``."""
        return joined(self._views) if self._views else torch.empty(0)

    def versions(self) -> list[int]:
        """Return how often each tensor was written in place, by torch's own count."""
        return [tensor._version for tensor in self.tensors]

    def moved_house(self) -> bool:
        """Return whether a tensor's address has changed since the sample was set up."""
        return self._addresses() != self._places

    def norms(self, values: Tensor) -> list[float]:
        """Return the norm of each tensor's part of such a row."""
        return [float(values[span].norm()) for span in self.spans]

    def _addresses(self) -> list[int]:
        return [tensor.data_ptr() for tensor in self.tensors]


class Weights:
    """Samples of the optimizers' parameters and of buffers, which the guards of one Trainer share.

    ``jumped`` is the sample after a change that no optimizer made, so that no optimizer is blamed for it.
    """

    def __init__(self, trainer: TrainingView, module: Any) -> None:
        held = {id(p): p for optimizer in optimizers_of(trainer) for p in parameters_of(optimizer)}
        learning = [p for p in held.values() if isinstance(p, Tensor) and p.requires_grad]
        # Masks hold infinities on purpose.
        running = [b for b in module.buffers() if plain(b) and bool(torch.isfinite(b).all())]
        self.identities = [*map(id, learning), *map(id, running)]
        self.sample = Sample([local(parameter) for parameter in learning], running)
        self.jumped: Tensor | None = None
        self._moment: Any = None
        self._taken = torch.empty(0)
        self._energy = 0.0

    @classmethod
    def of(cls, trainer: TrainingView, module: Any, *, renew: bool = False) -> Weights:
        """Return the samples of the Trainer, with ``renew`` made again if its optimizers hold others."""
        found = _LOOKS.get(trainer)
        if found is None or renew:
            fresh = cls(trainer, module)
            if found is None or found.identities != fresh.identities or found.sample.moved_house():
                _LOOKS[trainer] = found = fresh
        return found

    def at(self, batch_idx: int, versions: list[int]) -> tuple[Tensor, float]:
        """Return the sample at the end of a batch and the sum of its squares, computed once for all guards."""
        moment = batch_idx, versions
        if self._moment != moment:
            self._moment = moment
            self._taken = self.sample.take()
            self._energy = torch.dot(self._taken, self._taken).item()
        return self._taken, self._energy
