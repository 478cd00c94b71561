"""In the victim: the plain loss of a classifier's outputs and the labels of the same batch, beside the training's own.

It is measured in each step, and an experiment trains with it in place of the training's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import dataloader

from faultlab.core.patching import Patches
from faultlab.doctor.experiments.changes import Applied, change
from faultlab.doctor.guesses import constant

_MOST_LABELS = 20_000


class PlainLoss:
    """Measures the cross-entropy of the last output and the last batch's labels, at each backward pass.

    Args:
        replaces: Whether to train with it.

    Attributes:
        losses: Its values; none where outputs and labels are not those of a classifier.
    """

    def __init__(self, replaces: bool = False) -> None:
        self.replaces = replaces
        self.losses: list[float] = []
        self._labels: Any = None
        self._output: Any = None
        self._all_labels: list[Any] = []
        self._columns: set[int] = set()
        self._depth = 0

    def attach(self, patches: Patches) -> None:
        """Measure until the patches are removed."""
        patches.wrap(dataloader._BaseDataLoaderIter, "__next__", self._delivering)
        patches.wrap(nn.Module, "__call__", self._calling)
        patches.wrap(torch.autograd, "backward", self._backward)

    def found(self) -> dict[str, Any]:
        """Return the losses, and that of the best constant prediction; none if outputs are more than classes."""
        labels = torch.cat(self._all_labels) if self._all_labels else None
        # Embeddings and codes have more.
        if labels is None or self._columns != {int(labels.max()) + 1}:
            return {"losses": [], "guess": None}
        return {"losses": self.losses, "guess": constant(labels, "classes")}

    def _delivering(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        def around(stream: Any) -> Any:
            batch = advance(stream)
            if torch.is_grad_enabled():
                self._labels = next((one for one in _tensors(batch) if _are_classes(one)), None)
                self._output = None
            return batch

        return around

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(module: Any, *args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            try:
                result = call(module, *args, **kwargs)
            finally:
                self._depth -= 1
            if not self._depth and isinstance(result, torch.Tensor) and result.requires_grad and result.dim() == 2:
                self._output = result
            return result

        return around

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def around(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            plain = self._measured(tensors)
            if plain is not None and self.replaces:
                return backward(plain)
            return backward(tensors, *args, **kwargs)

        return around

    def _measured(self, loss: Any) -> Any:
        output, labels = self._output, self._labels
        alone = isinstance(loss, torch.Tensor) and loss.numel() == 1
        if (
            not alone
            or output is None
            or labels is None
            or len(output) != len(labels)
            or output.device != labels.device
        ):
            return None
        if int(labels.max()) >= output.shape[1] or int(labels.min()) < 0:
            return None
        self._columns.add(output.shape[1])
        if sum(map(len, self._all_labels)) < _MOST_LABELS:
            self._all_labels.append(labels.detach().cpu())
        # Nobody who watches the training's own losses may take it for one of them.
        with torch._C.DisableTorchFunction():
            plain = nn.functional.cross_entropy(output.float(), labels)
            self.losses.append(float(plain.detach()))
        return plain


@change("plain loss")
def _plain(applied: Applied, patches: Patches, on: bool) -> None:
    """Train a classifier with the cross-entropy of its outputs and the batch's labels."""
    applied.plain.replaces = True
    applied.acted["plain loss"] = 1


def _tensors(batch: Any) -> Iterator[Any]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _tensors(part)


def _are_classes(value: Any) -> bool:
    return value.dim() == 1 and len(value) > 1 and value.dtype == torch.int64
