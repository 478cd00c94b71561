"""Which parts of a batch are inputs and which are labels, found by following the data through one clean step.

Every tensor of the batch is followed through torch's functions. A part is an input if anything computed from it meets a
parameter of the model, masks and lengths included; it is a label if it reaches the loss without ever having done so.
What reaches neither plays no role. Where nothing is a label by that, a part that goes both ways is one if its name or
its place at a tuple's end says so: under teacher forcing the decoder is given the targets, and a CRF looks transitions
up by them. Where the data can't be followed (through NumPy, say) names and types decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from faultlab.recon import last_word
from faultlab.seams import tree

_LABEL_NAMES = ("label", "labels", "target", "targets", "y", "gt", "class")
_WEIGHT_NAMES = ("mask", "weight", "weights", "length", "lengths", "scale", "index", "idx", "id")


class DataFlow(TorchFunctionMode):
    """While active, follows what is computed from the tensors given to ``watch``."""

    def __init__(self) -> None:
        super().__init__()
        self.met_parameter: set[str] = set()
        self.met_loss: set[str] = set()
        self.met_loss_apart: set[str] = set()
        self._origins: dict[int, frozenset[str]] = {}
        # What each tensor was computed from by ways on which no parameter was met.
        self._apart: dict[int, frozenset[str]] = {}
        # Ids are only unique among living objects, so everything followed is kept until the step is over.
        self._alive: list[torch.Tensor] = []

    def watch(self, batch: Any) -> None:
        for path, tensor in tree.tensors(batch):
            self._mark(tensor, frozenset([path]), frozenset([path]))

    def reached_loss(self, loss: Any) -> None:
        """Notes a loss that goes backward by another way than ``Tensor.backward`` within this context."""
        self._reached([tensor for _, tensor in tree.tensors(loss)])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        origin, apart = _union(self._origins, given), _union(self._apart, given)
        if origin:
            # A single number is a loss already: a learnt weight of losses is no model that the labels go into.
            numbers = all(tensor.ndim == 0 for tensor in given if id(tensor) in self._origins)
            if not numbers and any(isinstance(tensor, nn.Parameter) for tensor in given):
                self.met_parameter |= origin
                apart = frozenset()
            name = getattr(func, "__name__", "")
            if name == "backward":
                self._reached(given)
            if (name.endswith("_") or name == "__setitem__") and given:
                self._mark(given[0], origin, apart)
            for tensor in _tensors(result):
                self._mark(tensor, origin, apart)
        return result

    def _reached(self, losses: list[torch.Tensor]) -> None:
        self.met_loss |= _union(self._origins, losses)
        self.met_loss_apart |= _union(self._apart, losses)

    def _mark(self, tensor: torch.Tensor, origin: frozenset[str], apart: frozenset[str]) -> None:
        self._origins[id(tensor)] = self._origins.get(id(tensor), frozenset()) | origin
        self._apart[id(tensor)] = self._apart.get(id(tensor), frozenset()) | apart
        self._alive.append(tensor)


def infer(batch: Any, flow: DataFlow) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths of the inputs and of the labels in a batch as the loader yields it."""
    paths = [path for path, _ in tree.tensors(batch)]
    if not flow.met_parameter:
        return _by_name(batch)
    inputs = tuple(path for path in paths if path in flow.met_parameter)
    reached = [path for path in paths if path in flow.met_loss and path not in flow.met_parameter]
    # Weights, masks and scales of the loss take the same way as labels; a mask of an odd name is all ones in most data.
    named = [path for path in reached if last_word(path) not in _WEIGHT_NAMES]
    varied = [path for path in named if _varies(tree.get(batch, path))]
    labels = varied or _both(batch, inputs, flow, by_place=not reached) or named or reached
    return tuple(path for path in inputs if path not in labels), tuple(labels)


def _both(batch: Any, inputs: tuple[str, ...], flow: DataFlow, by_place: bool) -> list[str]:
    """The label among parts that the model is given too. Where no other part is left, inputs are their own labels."""
    both = [path for path in inputs if path in flow.met_loss_apart]
    if not both or len(both) == len(inputs):
        return []
    if labels := [path for path in both if last_word(path) in _LABEL_NAMES]:
        return labels[-1:]
    at_end = by_place and isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields")
    return both[-1:] if at_end and both[-1] == inputs[-1] else []


def _varies(tensor: torch.Tensor) -> bool:
    if tensor.layout is not torch.strided or not tensor.numel():
        return True
    return bool((tensor != tensor.flatten()[0]).any())


def _by_name(batch: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tensors = tree.tensors(batch)
    labels = [path for path, _ in tensors if last_word(path) in _LABEL_NAMES]
    if not labels and len(tensors) > 1 and isinstance(batch, (tuple, list)):
        labels = [tensors[-1][0]]
    return tuple(path for path, _ in tensors if path not in labels), tuple(labels)


def _union(known: dict[int, frozenset[str]], tensors: Iterable[torch.Tensor]) -> frozenset[str]:
    return frozenset().union(*(known.get(id(tensor), frozenset()) for tensor in tensors))


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
