"""Facts about the parts of a target: a tensor of its batch, a submodule, a loader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Leaf:
    """One tensor of the batch as the loader yields it.

    ``kind`` is floating or integer; ``low`` and ``high`` are its smallest and largest value. ``repeats`` is the path of
    an earlier tensor of the batch with the same values; empty if it has its own. ``binary`` means that it is of floats
    that are all 0 or 1, and that both occur.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    repeats: str = ""
    binary: bool = False


def is_binary_column(leaf: Leaf, samples: int | None) -> bool:
    """Return whether a tensor holds a float that is 0 or 1 for each sample, as binary cross-entropy takes labels."""
    return leaf.binary and samples is not None and leaf.shape in ((samples,), (samples, 1))


@dataclass(frozen=True)
class Part:
    """One submodule that the first training step calls.

    ``kind`` is one of ``faultlab.frameworks.torch.layers``; ``steady`` means that its output has the shape of its
    input, ``biased`` that it has a bias of its own; ``width`` is the first dimension of its own weight (0 without one).
    """

    kind: str
    steady: bool = False
    biased: bool = False
    width: int = 0


@dataclass(frozen=True)
class LoaderFacts:
    """A DataLoader.

    ``samples`` is None if its dataset has no length, ``batch_size`` if it does not batch. ``batches`` is the number in
    a training epoch, None if unknown; ``length`` is the loader's own ``len``. ``own_sampling`` means that its samples
    are not drawn by one of torch's plain samplers, ``arrays`` that its items hold an array with at least one dimension.
    """

    samples: int | None = None
    batches: int | None = None
    length: int | None = None
    batch_size: int | None = None
    shuffled: bool = False
    drop_last: bool = False
    workers: int = 0
    own_sampling: bool = False
    arrays: bool = False
    whole_batches: bool = False

    @property
    def uneven(self) -> bool:
        """True if its last batch is smaller than the others."""
        sized = self.samples is not None and self.batch_size is not None and not self.drop_last
        return sized and (self.samples or 0) % (self.batch_size or 1) > 0
