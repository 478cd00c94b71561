"""Tests that train on several ranks: their ranks are copies of the process of the test, with whatever is attached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faultlab.core.patching import Patches
from faultlab.frameworks.registry import default_framework
from faultlab.ranks import copies, joining


@contextmanager
def copied_ranks() -> Iterator[None]:
    """Start copies of this process as ranks inside the context, wherever a Trainer or a test would start processes."""
    with Patches() as patches:
        foreign = default_framework().foreign
        if foreign.imported():
            foreign.copy_ranks(patches)
        joining.take_spawn(
            patches,
            lambda function, args, size: copies.together(size, lambda rank: function(rank, *args), joins=True),
        )
        yield
