"""The terminal that a watched command uses for input and output, and the process group that holds it."""

from __future__ import annotations

import contextlib
import os
import signal


def channel(stream: int) -> tuple[int, int]:
    """Return both ends of a channel for output: a terminal if ours is one, since programs print differently on one."""
    if not os.isatty(stream):
        return os.pipe()
    import pty
    import termios
    import tty

    reading, writing = pty.openpty()
    tty.setraw(writing)
    with contextlib.suppress(OSError, AttributeError):
        termios.tcsetwinsize(writing, termios.tcgetwinsize(stream))  # type: ignore[attr-defined, unused-ignore]
    return reading, writing


def is_held() -> bool:
    """Return True if this process receives the user's keyboard input."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def take(group: int) -> None:
    """Give the terminal to a process group."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, before)
