"""What a loss would be by guessing: the entropy of the labels that it is the cross-entropy of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import batch_view, trainer_state

_FEW_NODES = 24
_OVER_CLASSES = ("LogSoftmax", "Softmax")
_OVER_TWO = ("BinaryCrossEntropyWithLogits", "Sigmoid", "LogSigmoid")


def integers(batch: Any) -> list[Tensor]:
    """What may be labels. Where the batch says what they are, other integers are inputs, whose entropy is no loss."""
    among = batch_view.look(batch).called_labels or trainer_state.tensors(batch)
    return [tensor for tensor in among if _whole(tensor)]


def entropy(labels: list[Tensor]) -> float | None:
    """The entropy of labels in nats; None for what is no class, or hardly ever the same twice."""
    values = torch.cat([tensor.reshape(-1)[:65536].cpu() for tensor in labels])
    # Negative ones are padding, or what a loss is told to ignore.
    values = values[values >= 0]
    _, counts = torch.unique(values, return_counts=True)
    if not 2 <= len(counts) <= len(values) / 4:
        return None
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())


def explained(loss: Any, labels: list[Tensor]) -> set[int]:
    """Which of a batch's integers a loss may be the cross-entropy of, by the form of what it is made of.

    A loss that contrasts the samples of a batch has another number of rows than there are labels, or a class for each
    row; one that compares numbers, or adds up several terms, has no such form at all.
    """
    form = _form(loss)
    return set() if form is None else {i for i, tensor in enumerate(labels) if _fits(tensor, *form)}


def _form(loss: Any) -> tuple[tuple[int, ...], bool] | None:
    """The shape of the only scores that a loss is made of, and whether there is one for each class."""
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
                return None  # a penalty on weights, or a score that nothing was made of
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
