"""The seed of a run, which also shifts the seeds that the user's own code sets while it builds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches

_NUMPYS = 2**32


def seed(number: int) -> None:
    """Seed Python, NumPy and torch."""
    # Lightning's seed_everything would print, and sets environment variables that a user's clean run does not have.
    import numpy
    import torch

    random.seed(number)
    numpy.random.seed(number % _NUMPYS)
    if torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available():
        torch.manual_seed(number)
    else:
        # For each absent kind of device it would format the whole stack.
        torch.default_generator.manual_seed(number)


@contextmanager
def shifted(by: int) -> Iterator[None]:
    """Shift seeds that are set inside: if unshifted, the clean runs of several seeds would all be the same run."""
    if not by:
        yield
        return
    import numpy
    import torch

    def shifting(original: Callable[..., Any]) -> Callable[..., Any]:
        def seeded(*args: Any, **kwargs: Any) -> Any:
            given, *others = args or (None,)
            if isinstance(given, int) and not others and not kwargs:
                return original((given + by) % _NUMPYS)
            return original(*args, **kwargs)

        return seeded

    with Patches() as patches:
        for owner, name in ((random, "seed"), (numpy.random, "seed"), (torch, "manual_seed")):
            patches.wrap(owner, name, shifting)
        yield
