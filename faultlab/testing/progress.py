"""The progress of ``pytest --faultlab`` after the clean suite: a bar on a terminal, lines at intervals elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.campaign.heartbeat import Heartbeat, duration

_WIDTH = 24
# Seconds beside the tests that a fault takes, for the estimate: forking and judging.
_OVERHEAD = 0.1


class Progress:
    """Says what runs and about how long it takes.

    Args:
        write: Takes a line.
        rewrite: Takes a text that replaces the one before it; None if the output is not a terminal.
    """

    def __init__(self, write: Callable[[str], None], rewrite: Callable[[str], None] | None = None) -> None:
        self._write = write
        self._rewrite = rewrite
        self._heartbeat = Heartbeat(rewrite or write)
        self._done = self._total = 0

    def learning(self) -> None:
        """Announce the clean passes that follow the plain one."""
        self._write("faultlab: running the tests again, to learn what they train")

    def planned(self, faults: int, tests: int, seconds: float, jobs: int) -> None:
        """Announce the faults; ``seconds`` is the time of all their tests."""
        about = duration((seconds + faults * _OVERHEAD) / jobs)
        self._write(f"faultlab: {_counted(faults, 'fault')} for {_counted(tests, 'test')}, at most about {about}")

    def begin(self, total: int) -> None:
        """Count from zero."""
        self._done, self._total = 0, total
        self._heartbeat.begin("faultlab", "faults", total)

    def judged(self) -> None:
        """Count one more fault."""
        self._heartbeat.advance()
        self._done += 1
        if self._rewrite is not None:
            full = _WIDTH * self._done // max(1, self._total)
            bar = "#" * full + "." * (_WIDTH - full)
            self._rewrite(f"[{bar}] {self._heartbeat.now()}")

    def stop(self) -> None:
        """Print no more."""
        self._heartbeat.stop()


def to_terminal(terminal: Any, quiet: bool) -> Progress:
    """Return the progress that pytest's terminal reporter shows; without one, or if ``quiet``, nothing is shown."""
    if terminal is None or quiet:
        return Progress(lambda text: None)

    def write(text: str) -> None:
        terminal.ensure_newline()
        terminal.write_line(text)
        terminal.flush()

    def rewrite(text: str) -> None:
        terminal.rewrite(text, erase=True)
        terminal.flush()

    return Progress(write, rewrite if terminal.isatty else None)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
