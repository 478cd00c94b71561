"""The terms that a loss is the sum of, found in its graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

_SUMS = ("AddBackward0", "SubBackward0")
# What may stand between a loss and the sum that it is a multiple of. The result of all of them is a single number only
# if their arguments are.
_PASSES_ON = ("MulBackward0", "DivBackward0", "NegBackward0", "ViewBackward0", "ReshapeAliasBackward0",
              "SqueezeBackward0", "UnsqueezeBackward0", "AliasBackward0", "CloneBackward0",
              "ToCopyBackward0")  # fmt: skip


class Term(NamedTuple):
    """One summand: an argument of a sum.

    Attributes:
        sum: The sum's node in the graph.
        place: The number of the argument.
    """

    sum: Any
    place: int

    def detach(self) -> None:
        """Let no gradient of this graph flow into the term, as if it had been computed without gradients."""
        place = self.place

        def cut(gradients: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(None if number == place else one for number, one in enumerate(gradients))

        # Not on the term's own node, which other parts of the graph may share.
        self.sum.register_hook(cut)


def terms(loss: torch.Tensor) -> list[Term]:
    """Return the terms of a loss that have a gradient, in order; none if it is not a sum of two or more."""
    found = _terms(loss.grad_fn) if loss.numel() == 1 else []
    return found if len(found) > 1 else []


def _terms(node: Any) -> list[Term]:
    name = type(node).__name__
    following = [(place, one) for place, (one, _) in enumerate(node.next_functions) if one] if node is not None else []
    if name in _SUMS:
        return [term for place, one in following for term in (_terms(one) or [Term(node, place)])]
    if name in _PASSES_ON and len(following) == 1:
        return _terms(following[0][1])
    return []
