"""Copies of a module that a training keeps beside it, such as averages of its weights."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import Tensor, nn

from faultlab.guards.support.parameter_samples import Sample, is_shared, plain

_MOST = 16
"""The number of parameters that are sampled, the largest ones."""
_NEAR = 0.7
"""The distance from the module, as a share of its size, within which a copy is one. Others are twice as far."""


class Lookalike:
    """A copy of a module, or of a part of it, whose parameters are not trained themselves.

    Both are sampled at the same places. It keeps neither of them alive.

    Args:
        trained: The parameters of the module that are trained.
        copied: Those of the copy, in the same order.
    """

    def __init__(self, trained: list[Tensor], copied: list[Tensor]) -> None:
        self.dtype = copied[0].dtype
        self._trained = [weakref.ref(parameter) for parameter in trained]
        self._copied = [weakref.ref(parameter) for parameter in copied]

    @property
    def is_alive(self) -> bool:
        """True if both still exist."""
        return all(one() is not None for one in (*self._trained, *self._copied))

    def writes(self) -> int:
        """Return how often the copy was written in place, by torch's own count."""
        return sum(parameter._version for one in self._copied if (parameter := one()) is not None)

    def take(self) -> tuple[Tensor, Tensor]:
        """Return samples of the module's values and of the copy's, each in one row."""
        rows = [
            Sample([value for one in part if (value := one()) is not None]) for part in (self._trained, self._copied)
        ]
        one, other = (row.take().float() for row in rows)
        return one, other


def of(module: nn.Module) -> list[Lookalike]:
    """Return the copies of a module and of its parts with most of its weights that exist in this process.

    A copy has the same class, the same parameters by shape, and similar values. It requires no gradient where the
    module does. If the process trains several modules of one class, their copies can't be told apart, and are left out.
    """
    wanted = {type(part): part for part in _whole(module)}
    # One look at all objects takes some hundredths of a second.
    found = [one for one in gc.get_objects() if type(one) in wanted and one is not wanted[type(one)]]
    # One that is just being made has no parameters yet.
    found = [one for one in found if "_parameters" in vars(one)]
    trained = {type(one) for one in found if _is_trained(one)}
    made = [_compared(wanted[type(one)], one) for one in found if type(one) not in trained]
    return [one for one in made if one is not None]


def _whole(module: nn.Module) -> list[nn.Module]:
    """Return the module and its direct parts that have at least half of its trained values, one of each class."""
    total = _size(module)
    large = [module, *(part for part in module.children() if total and 2 * _size(part) >= total)]
    classes = [type(part) for part in module.modules() if _size(part)]
    # Of several parts of one class, such as those of nested containers, each copy may be that of another one.
    return [part for part in large if classes.count(type(part)) == 1]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.grad is not None for parameter in module.parameters())


def _compared(module: nn.Module, other: nn.Module) -> Lookalike | None:
    one, two = [*module.parameters()], [*other.parameters()]
    if len(one) != len(two) or any(a.shape != b.shape for a, b in zip(one, two)):
        return None
    pairs = [(a, b) for a, b in zip(one, two) if a.requires_grad and plain(a) and plain(b) and not is_shared(a)]
    apart = all(not b.requires_grad and a.data_ptr() != b.data_ptr() and a.device == b.device for a, b in pairs)
    if not pairs or not apart or len({b.dtype for _, b in pairs}) > 1:
        return None
    pairs = sorted(pairs, key=lambda pair: -pair[0].numel())[:_MOST]
    copy = Lookalike([a for a, _ in pairs], [b for _, b in pairs])
    trained, copied = copy.take()
    return copy if float((trained - copied).norm()) < _NEAR * float(trained.norm()) else None


def spacing(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the distance of values from the next numbers that a type can represent."""
    return values.abs() * torch.finfo(dtype).eps
