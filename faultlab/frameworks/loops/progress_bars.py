"""The progress bars of a loop."""

from __future__ import annotations

import sys

from faultlab.core.patching import Patches


def without_monitor(patches: Patches) -> None:
    """Keep tqdm from starting its thread, which only refreshes slow bars, and would prevent forks of the training."""
    if (tqdm := getattr(sys.modules.get("tqdm"), "tqdm", None)) is not None:
        patches.set(tqdm, "monitor_interval", 0)
