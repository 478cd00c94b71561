"""The roles of a batch's parts, inputs or labels, found by tracing the data through one clean step.

Every tensor of the batch is traced through torch's functions. A part is an input if anything computed from it meets a
parameter of the model, masks and lengths included; it is a label if it reaches the loss without having done so. A part
that does neither has no role. If no part is a label by this rule, a part that does both is one if its name or its place
at a tuple's end suggests it: with teacher forcing the decoder receives the targets, and a CRF uses them to look up
transitions. If the data can't be traced (through NumPy, for example), names and types decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from faultlab.core.asking import has
from faultlab.core.leaf_names import SELECTORS, last_word, words
from faultlab.core.predictions import Call
from faultlab.frameworks.torch.step_calls import StepCalls, calling_line, stops_gradient
from faultlab.injection import loss_terms, tree

Item = TypeVar("Item")

_LABEL_NAMES = ("label", "labels", "target", "targets", "y", "gt", "class")
_WEIGHT_NAMES = ("mask", "weight", "weights", "length", "lengths", "scale", "index", "idx", "id")
# Functions that use only the shape, dtype or device of their second argument.
_TAKES_AFTER = ("to", "type_as", "expand_as", "view_as", "reshape_as")
_COMPARES = ("eq", "ne", "sub", "rsub")
_TARGET_WORDS = {*_LABEL_NAMES, "tgt", "trg", "decoder", "future", "output", "outputs", "next", "answer", "summary"}
_NO_CONTENT = {*SELECTORS, "position", "positions", "pos", "segment", "segments", "type", "time", "step", "id"}


class DataFlow(TorchFunctionMode):
    """While active, traces what is computed from the tensors given to ``watch``."""

    def __init__(self) -> None:
        super().__init__()
        self.met_parameter: set[str] = set()
        self.met_loss: set[str] = set()
        self.met_loss_apart: set[str] = set()
        # Parts that meet the model's outputs directly, and those that meet them only through comparisons with
        # themselves.
        self._met_outputs: set[str] = set()
        self._met_compared: set[str] = set()
        self._compared: set[int] = set()
        # The calls of the model's parts, and those whose outputs the loss is computed from with no call in between.
        self.calls: list[Call] = []
        self.met_loss_from: set[int] = set()
        self._origins: dict[int, frozenset[str]] = {}
        # The parts that each tensor was computed from along paths without a parameter.
        self._apart: dict[int, frozenset[str]] = {}
        # The calls that each tensor was computed from with no call in between.
        self._given_by: dict[int, frozenset[int]] = {}
        self.step_calls = StepCalls()
        self.loss_terms = 0
        # The lines that detached what the loss is computed from, and those that each tensor comes from.
        self.stops: set[str] = set()
        self._stopped_at: dict[int, frozenset[str]] = {}
        # Ids are unique only among living objects, so all traced tensors are kept until the step ends.
        self._alive: list[torch.Tensor] = []

    def watch(self, batch: Any) -> None:
        for path, tensor in tree.tensors(batch):
            self._mark(tensor, frozenset([path]), frozenset([path]))

    @property
    def names(self) -> set[str]:
        """The parts that are only ever compared with themselves: they identify samples that belong together."""
        return self._met_compared - self._met_outputs

    def called(self, path: str, part: nn.Module, given: Any, output: Any) -> None:
        """Record a call of one of the model's parts, unless it returns single numbers only: then it is a loss."""
        made = _all_tensors(output)
        if all(tensor.ndim == 0 for tensor in made):
            return
        taken = _all_tensors(given)
        known = {id(tensor) for tensor in taken}
        # Tensors that are passed on unchanged, as in a dict that each part adds to, were made elsewhere.
        # Neither is a loss that a model computes itself and returns beside its predictions.
        own = [one for one in made if id(one) not in known and (one.ndim or id(one) not in self._given_by)]
        largest = max(made, key=torch.Tensor.numel)
        call = Call(
            path,
            fed_by=_union(self._given_by, taken),
            within=_union(self._given_by, own),
            untouched=_union(self._apart, taken),
            learns=next(part.parameters(), None) is not None,
            looks_up=isinstance(part, (nn.Embedding, nn.EmbeddingBag)),
            graph=any(tensor.requires_grad for tensor in made),
            size=largest.numel(),
            width=largest.shape[-1] if largest.ndim > 1 else None,
        )
        number = frozenset([len(self.calls)])
        self.calls.append(call)
        self._given_by.update({id(tensor): number for tensor in own})
        self._alive += own

    def reached_loss(self, loss: Any) -> None:
        """Record a loss that does not go backward through ``Tensor.backward`` inside this context."""
        if isinstance(loss, Mapping) and "loss" in loss:
            loss = loss["loss"]
        self._reached([tensor for _, tensor in tree.tensors(loss)])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.step_calls.note(func, args, kwargs)
        result = func(*args, **kwargs)
        given = _sources(func, list(_tensors((args, kwargs))))
        self._follow_stops(func, given, result)
        if givers := _union(self._given_by, given):
            self._carry(func, given, result, givers)
        if getattr(func, "__name__", "") == "backward":
            self._reached(given[:1])
        origin, apart = _union(self._origins, given), _union(self._apart, given)
        if origin:
            self._compare(func, given, result)
            # A single number is already a loss: a learned weight of losses is not a model that takes the labels as
            # inputs.
            numbers = all(tensor.ndim == 0 for tensor in given if id(tensor) in self._origins)
            if not numbers and self._meets_model(given):
                self.met_parameter |= origin
                apart = frozenset()
            if _writes(func) and given:
                self._mark(given[0], origin, apart)
            for tensor in _tensors(result):
                self._mark(tensor, origin, apart)
        return result

    def _follow_stops(self, func: Any, given: list[torch.Tensor], result: Any) -> None:
        lines = _union(self._stopped_at, given)
        if stops_gradient(func, given):
            lines |= {calling_line()}
        if lines:
            for tensor in [*_tensors(result), *(given[:1] if _writes(func) else [])]:
                self._stopped_at[id(tensor)] = self._stopped_at.get(id(tensor), frozenset()) | lines
                self._alive.append(tensor)

    def _compare(self, func: Any, given: list[torch.Tensor], result: Any) -> None:
        raw = [tensor for tensor in given if self._apart.get(id(tensor)) and self._is_raw(tensor)]
        if any(tensor.requires_grad or not self._is_raw(tensor) for tensor in given):
            for tensor in raw:
                met = self._met_compared if id(tensor) in self._compared else self._met_outputs
                met |= self._apart[id(tensor)]
            return
        earlier = [id(tensor) in self._compared for tensor in raw]
        several = [self._apart[id(tensor)] for tensor in raw if tensor.numel() > 1]
        compares = getattr(func, "__name__", "").strip("_") in _COMPARES
        if all(earlier) or (compares and not any(earlier) and len(several) > 1 and len(set(several)) == 1):
            self._compared.update(map(id, _tensors(result)))

    def _is_raw(self, tensor: torch.Tensor) -> bool:
        """Return True if no parameter went into the tensor."""
        return self._origins.get(id(tensor)) == self._apart.get(id(tensor))

    def _meets_model(self, given: list[torch.Tensor]) -> bool:
        """Return True if one of these is a parameter of the model, rather than a scale that a loss has learned."""
        parameters = [tensor for tensor in given if isinstance(tensor, nn.Parameter)]
        judged = any(self._origins.get(id(tensor), set()) - self._apart.get(id(tensor), set()) for tensor in given)
        return any(not judged or parameter.numel() > 1 for parameter in parameters)

    def _reached(self, losses: list[torch.Tensor]) -> None:
        self.met_loss |= _union(self._origins, losses)
        self.met_loss_apart |= _union(self._apart, losses)
        self.met_loss_from |= _union(self._given_by, losses)
        self.stops |= _union(self._stopped_at, losses)
        self.loss_terms = max([self.loss_terms, *(len(loss_terms.terms(loss)) for loss in losses)])

    def _carry(self, func: Any, given: list[torch.Tensor], result: Any, givers: frozenset[int]) -> None:
        for tensor in [*_tensors(result), *(given[:1] if _writes(func) else [])]:
            self._given_by[id(tensor)] = self._given_by.get(id(tensor), frozenset()) | givers
            self._alive.append(tensor)

    def _mark(self, tensor: torch.Tensor, origin: frozenset[str], apart: frozenset[str]) -> None:
        self._origins[id(tensor)] = self._origins.get(id(tensor), frozenset()) | origin
        self._apart[id(tensor)] = self._apart.get(id(tensor), frozenset()) | apart
        self._alive.append(tensor)


def infer(
    batch: Any, flow: DataFlow, joins: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the paths of the inputs, of the labels, and of the inputs that are also labels, in a batch of the loader.

    The last are empty if there are separate labels. ``joins`` are the parts that define which rows belong to one
    sample: they are inputs, even if only the read-out after the model uses them.
    """
    paths = [path for path, _ in tree.tensors(batch)]
    if not flow.met_parameter:
        return (*_by_name(batch), ())
    # Parts that cut the model's outputs, and are passed to it for that purpose, are inputs like those that enter its
    # layers.
    given = set[str]().union(*(call.untouched for call in flow.calls if call.learns))
    cutting = {path for path in flow.met_loss if path in joins or (path in given and last_word(path) in SELECTORS)}
    inputs = tuple(path for path in paths if path in flow.met_parameter or path in cutting)
    reached = [path for path in paths if path in flow.met_loss and path not in inputs]
    # Weights, masks and scales of the loss take the same path as labels; an unusually named mask is all ones in most
    # data.
    named = [path for path in reached if last_word(path) not in _WEIGHT_NAMES]
    varied = [path for path in named if _varies(tree.get(batch, path))]
    both = [path for path in inputs if path in flow.met_loss_apart and path not in joins]
    labels = varied or _told_apart(batch, inputs, both, by_place=not reached)
    labels = labels or [path for path in named if last_word(path) in _LABEL_NAMES] or ([] if both else named or reached)
    if labels:
        return tuple(path for path in inputs if path not in labels), tuple(labels), ()
    return inputs, (), tuple(both)


def _told_apart(batch: Any, inputs: tuple[str, ...], both: list[str], by_place: bool) -> list[str]:
    """Return the label among parts that are also inputs: by its name, its place, or as the other half of a pair."""
    if not both or len(both) == len(inputs):
        return []
    if labels := [path for path in both if last_word(path) in _LABEL_NAMES]:
        return labels[-1:]
    if labels := [path for path in both if _TARGET_WORDS & set(words(path))]:
        return labels[-1:]
    at_end = by_place and isinstance(batch, (tuple, list)) and not has(batch, "_fields")
    if at_end and both[-1] == inputs[-1]:
        return both[-1:]
    others = [path for path in inputs if path not in both and not _NO_CONTENT & set(words(path))]
    paired = len(both) == 1 and any(_alike(tree.get(batch, path), tree.get(batch, both[0])) for path in others)
    return both if paired else []


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return True if two parts are of one kind, like a sentence and its translation, but not an image and its class."""
    if one.dtype != other.dtype or one.ndim != other.ndim or not one.numel() or not other.numel():
        return False
    small, large = sorted(float(part.abs().max()) for part in (one, other))
    return small > large / 4


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


def _sources(func: Any, given: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the tensors among a torch function's arguments whose values go into its result."""
    name = getattr(func, "__name__", "")
    if name.endswith("_like") or name.startswith("new_"):
        return []
    return given[:1] if name in _TAKES_AFTER else given


def _writes(func: Any) -> bool:
    """Return True if a torch function writes into its first argument."""
    name = getattr(func, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _union(known: Mapping[int, frozenset[Item]], tensors: Iterable[torch.Tensor]) -> frozenset[Item]:
    return frozenset().union(*(known.get(id(tensor), frozenset()) for tensor in tensors))


def _all_tensors(value: Any) -> list[torch.Tensor]:
    return [tensor for _, tensor in tree.tensors(value)]


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
