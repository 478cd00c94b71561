"""The exit status of a process, in words."""

from __future__ import annotations

import signal


def in_words(status: int) -> str:
    """Return how a process ended, as the predicate of a sentence about it.

    Args:
        status: As `subprocess.Popen.returncode` has it: negative for the signal that killed the process.
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
