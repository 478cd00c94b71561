"""Values that hooks pass to injectors and that have no torch type: a stream, a loader, a log call, weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

import torch


@dataclass
class Stream:
    """The batches of one epoch as the training takes them.

    Attributes:
        iterator: Yields (batch, batch index, loader index).
        length: The number of batches that the training expects, or None.
    """

    iterator: Iterator[Any]
    length: int | None


@dataclass(frozen=True)
class Loading:
    """The arguments of one DataLoader.

    Attributes:
        dataset: Its dataset.
        shuffled: It shuffles the samples.
        batch_size: The batch size; None if the loader does not batch.
        drop_last: It drops a last batch that is not full.
        num_workers: The number of worker processes.
        worker_init_fn: The user's function to initialize a worker.
        length: The number of batches that it declares, or None.
        training: Returns the arguments of the (first) training DataLoader, whichever this one is.
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
    """One call of ``self.log``.

    Attributes:
        name: The logged name.
        value: A number, a tensor or a torchmetrics Metric.
        options: The other arguments.
    """

    name: str
    value: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """True if the value is a number or a tensor; a torchmetrics Metric can't be replaced by one midway."""
        return is_plain(self.value)

    def number(self) -> torch.Tensor:
        """Return the plain value as a floating-point tensor."""
        value = torch.as_tensor(self.value).detach()
        return value if value.is_floating_point() else value.float()


def is_plain(value: Any) -> bool:
    """Return True if a logged value is a number or a tensor."""
    return isinstance(value, (Number, torch.Tensor))


@dataclass
class Restored:
    """The weights that a module is about to load.

    Attributes:
        state: The state dict.
        strict: Every key has to match.
    """

    state: dict[str, Any]
    strict: bool
