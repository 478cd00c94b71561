"""One thread for torch: after an operation on several, a copy of the process would hang."""

from __future__ import annotations

import contextlib

import torch


def use_one() -> None:
    """Have torch compute on one thread from now on; it has to come before its first operation."""
    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):  # they have been started already
        torch.set_num_interop_threads(1)
