"""What hooks hand to injectors where no type of torch's says it: a stream of batches, a loader, a log call, weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

import torch


@dataclass
class Stream:
    """The batches of one epoch as the training takes them, and the number that it was promised (or None).

    The iterator yields (batch, index, loader index).
    """

    iterator: Iterator[Any]
    length: int | None


@dataclass(frozen=True)
class Loading:
    """The arguments of one DataLoader. ``batch_size`` is None where the loader does not batch.

    ``length`` is the number of batches that it promises, or None where it promises none. ``training`` gives the
    arguments of the (first) training DataLoader, whichever this one is.
    """

    dataset: Any
    shuffled: bool
    batch_size: int | None
    drop_last: bool
    num_workers: int
    worker_init_fn: Callable[[int], Any] | None
    length: int | None = None
    training: Callable[[], Loading] | None = None


@dataclass
class Logged:
    """One call of ``self.log``: the name, the value (a number, a tensor or a torchmetrics Metric) and the options."""

    name: str
    value: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the value is a number or a tensor: a torchmetrics Metric can't give way to one half-way."""
        return is_plain(self.value)

    def number(self) -> torch.Tensor:
        """The plain value as a tensor of floating point."""
        value = torch.as_tensor(self.value).detach()
        return value if value.is_floating_point() else value.float()


def is_plain(value: Any) -> bool:
    """Whether a logged value is a number or a tensor."""
    return isinstance(value, (Number, torch.Tensor))


@dataclass
class Restored:
    """The weights that a module is about to load: the state dict, and whether every key has to match."""

    state: dict[str, Any]
    strict: bool
