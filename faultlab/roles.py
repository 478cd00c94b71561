"""Which parts of a batch are inputs and which are labels, found by following the data through one clean step.

Every tensor of the batch is followed through torch's functions. A part is an input if anything computed from it meets a
parameter of the model, masks and lengths included; it is a label if it reaches the loss without ever having done so.
What reaches neither plays no role. Where the data can't be followed (through NumPy, say) names and types decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from faultlab.seams import tree

_LABEL_NAMES = ("label", "labels", "target", "targets", "y", "gt", "class")
_WEIGHT_NAMES = ("mask", "weight", "weights", "length", "lengths", "index", "idx", "id")


class DataFlow(TorchFunctionMode):
    """While active, follows what is computed from the tensors given to ``watch``."""

    def __init__(self) -> None:
        super().__init__()
        self.met_parameter: set[str] = set()
        self.met_loss: set[str] = set()
        self._origins: dict[int, frozenset[str]] = {}
        # Ids are only unique among living objects, so everything followed is kept until the step is over.
        self._alive: list[torch.Tensor] = []

    def watch(self, batch: Any) -> None:
        for path, tensor in tree.tensors(batch):
            self._mark(tensor, frozenset([path]))

    def reached_loss(self, loss: Any) -> None:
        """Notes a loss that goes backward by another way than ``Tensor.backward`` within this context."""
        self.met_loss |= self._origin(tensor for _, tensor in tree.tensors(loss))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        origin = self._origin(given)
        if origin:
            if any(isinstance(tensor, nn.Parameter) for tensor in given):
                self.met_parameter |= origin
            name = getattr(func, "__name__", "")
            if name == "backward":
                self.met_loss |= origin
            if (name.endswith("_") or name == "__setitem__") and given:
                self._mark(given[0], origin)
            for tensor in _tensors(result):
                self._mark(tensor, origin)
        return result

    def _origin(self, tensors: Iterable[torch.Tensor]) -> frozenset[str]:
        return frozenset().union(*(self._origins.get(id(tensor), frozenset()) for tensor in tensors))

    def _mark(self, tensor: torch.Tensor, origin: frozenset[str]) -> None:
        self._origins[id(tensor)] = self._origins.get(id(tensor), frozenset()) | origin
        self._alive.append(tensor)


def infer(batch: Any, flow: DataFlow) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths of the inputs and of the labels in a batch as the loader yields it."""
    paths = [path for path, _ in tree.tensors(batch)]
    if not flow.met_parameter:
        return _by_name(batch)
    inputs = tuple(path for path in paths if path in flow.met_parameter)
    reached = [path for path in paths if path in flow.met_loss and path not in flow.met_parameter]
    # Weights and masks of the loss take the same way as labels.
    named = [path for path in reached if _last(path) not in _WEIGHT_NAMES]
    return inputs, tuple(named or reached)


def _by_name(batch: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tensors = tree.tensors(batch)
    labels = [path for path, _ in tensors if _last(path) in _LABEL_NAMES]
    if not labels and len(tensors) > 1 and isinstance(batch, (tuple, list)):
        labels = [tensors[-1][0]]
    return tuple(path for path, _ in tensors if path not in labels), tuple(labels)


def _last(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
