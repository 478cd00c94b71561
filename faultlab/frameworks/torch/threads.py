"""One thread for torch: after a multi-threaded operation, a fork of the process would hang."""

from __future__ import annotations

import contextlib

import torch


def use_one() -> None:
    """Let torch compute on one thread from now on; call this before its first operation."""
    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):  # its threads have been started already
        torch.set_num_interop_threads(1)
