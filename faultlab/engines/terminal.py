"""The terminal that a watched command may type to and read from, and who holds it."""

from __future__ import annotations

import contextlib
import os
import signal


def channel(stream: int) -> tuple[int, int]:
    """Both ends of what the command writes to: a terminal where ours is one, since programs write otherwise there."""
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
    """Whether the user types to this process."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def take(group: int) -> None:
    """Gives the terminal to a process group."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, before)
