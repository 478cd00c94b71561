"""The loss of guessing: the entropy of the labels that a loss is the cross-entropy of."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import batch_view, trainer_state

_FEW_NODES = 24
_OVER_CLASSES = ("LogSoftmax", "Softmax")
_OVER_TWO = ("BinaryCrossEntropyWithLogits", "Sigmoid", "LogSigmoid")


def integers(batch: Any) -> list[Tensor]:
    """Return the tensors that may be labels. If the batch names its labels, other integers are inputs."""
    among = batch_view.look(batch).called_labels or trainer_state.tensors(batch)
    return [tensor for tensor in among if _whole(tensor)]


def entropy(labels: list[Tensor]) -> float | None:
    """Return the entropy of labels in nats, None if they are not classes or hardly ever repeat."""
    values = torch.cat([tensor.reshape(-1)[:65536].cpu() for tensor in labels])
    # Negative labels are padding or are ignored by the loss.
    values = values[values >= 0]
    _, counts = torch.unique(values, return_counts=True)
    if not 2 <= len(counts) <= len(values) / 4:
        return None
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())


def explained(loss: Any, labels: list[Tensor]) -> set[int]:
    """Return the indices of the labels that a loss may be the cross-entropy of, by the shapes in its graph.

    A loss that contrasts the samples of a batch has another number of rows than there are labels, or a class for each
    row. One that compares numbers or adds several terms has no such shapes.
    """
    form = _form(loss)
    return set() if form is None else {i for i, tensor in enumerate(labels) if _fits(tensor, *form)}


def of_uniform(loss: Any, labels: list[Tensor]) -> float | None:
    """Return the cross-entropy of guessing all classes alike, None if the loss is not a cross-entropy of the labels."""
    form = _form(loss)
    if form is None:
        return None
    shape, classes = form
    if not any(_fits(tensor, shape, classes) for tensor in labels):
        return None
    return math.log(shape[1] if classes else 2)


def _form(loss: Any) -> tuple[tuple[int, ...], bool] | None:
    """Return the shape of the only scores in a loss's graph, and whether they have an entry for each class."""
    waiting = [getattr(loss, "grad_fn", None)]
    found: dict[Any, bool] = {}
    for _ in range(_FEW_NODES):
        if not waiting:
            break
        node = waiting.pop()
        if node is None:
            return None
        name = node.name()
        if name.startswith(_OVER_CLASSES):
            found[node] = True
        elif name.startswith(_OVER_TWO):
            found[node] = False
        else:
            parents = [parent for parent, _ in node.next_functions if parent is not None]
            if not parents:
                return None  # a penalty on weights, or scores of unknown origin
            waiting += parents
    if waiting or len(found) != 1:
        return None
    node, classes = next(iter(found.items()))
    metadata = node._input_metadata if classes or not node.next_functions else _parent(node)._input_metadata
    return tuple(metadata[0].shape), classes


def _parent(node: Any) -> Any:
    return next((parent for parent, _ in node.next_functions if parent is not None), node)


def _fits(labels: Tensor, shape: tuple[int, ...], classes: bool) -> bool:
    count, scores = labels.numel(), torch.Size(shape).numel()
    if not classes:
        return scores == count
    highest = int(labels.max()) if count else 0
    for width in {shape[1], shape[-1]} if len(shape) > 1 else ():
        if width > highest and scores == count * width and (width != count or width == highest + 1):
            return True
    return False


def _whole(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.int32, torch.uint8, torch.int16) and tensor.dim() in (1, 2, 3)
