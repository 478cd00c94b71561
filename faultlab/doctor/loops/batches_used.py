"""In the victim: how many of the batches since the last backward pass a loss comes from."""

from __future__ import annotations

from typing import Any

import torch

_MOST_NODES, _MOST_CALLS, _LOOKED_AT = 100_000, 256, 6


class BatchesUsed:
    """Follows the outputs of the first model, one for each batch, to the loss that is learnt from.

    Attributes:
        found: For each of the first backward passes, the number of batches that were delivered for it, that of calls of
            the model, and that of those which the loss depends on.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, int, int]] = []
        self._outputs: list[Any] = []
        self._batches = 0

    def delivered(self) -> None:
        """Take in a batch of a loader that is learnt from."""
        self._batches += torch.is_grad_enabled()

    def called(self, output: Any) -> None:
        """Take in an output of the model."""
        if len(self.found) < _LOOKED_AT and len(self._outputs) < _MOST_CALLS:
            node = getattr(next(_with_graph(output), None), "grad_fn", None)
            if node is not None:
                self._outputs.append(node)

    def learnt(self, loss: Any) -> None:
        """Take in a loss whose backward pass begins."""
        if len(self.found) < _LOOKED_AT and self._batches > 1:
            known = _nodes(loss.grad_fn)
            used = sum(one in known for one in self._outputs)
            self.found.append((self._batches, len(self._outputs), used))
        self._outputs, self._batches = [], 0


def _with_graph(value: Any) -> Any:
    parts = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else [value]
    return (one for one in parts if isinstance(one, torch.Tensor) and one.grad_fn is not None)


def _nodes(start: Any) -> set[Any]:
    known, waiting = {start}, [start] if start is not None else []
    while waiting and len(known) < _MOST_NODES:
        for following, _ in waiting.pop().next_functions:
            if following is not None and following not in known:
                known.add(following)
                waiting.append(following)
    return known
