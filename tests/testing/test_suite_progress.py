"""`pytest --faultlab` says how much there is to do and how far it is, and SIGTERM costs no results."""

from __future__ import annotations

import signal
import time

import pytest

from faultlab.campaign import heartbeat
from faultlab.testing.progress import Progress
from faultlab.testing.termination import Termination


def test_the_number_of_faults_and_the_time_are_announced() -> None:
    lines: list[str] = []
    Progress(lines.append).planned(349, 4, seconds=900.0, jobs=2)
    assert lines == ["faultlab: 349 faults for 4 tests, at most about 8 min"]


def test_lines_follow_at_intervals_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    lines: list[str] = []
    progress = Progress(lines.append)
    progress.begin(3)
    progress.judged()
    deadline = time.monotonic() + 120
    while not any("1 of 3 faults" in line for line in lines) and time.monotonic() < deadline:
        time.sleep(0.01)
    progress.stop()
    assert any(line.startswith("faultlab: 1 of 3 faults, ") for line in lines)
    assert not any("[" in line for line in lines), "a bar is for terminals"


def test_a_terminal_shows_a_bar_that_grows() -> None:
    shown: list[str] = []
    progress = Progress(lambda text: None, shown.append)
    progress.begin(2)
    progress.judged()
    progress.judged()
    progress.stop()
    bars = [text for text in shown if text.startswith("[")]
    assert bars[0].startswith(f"[{'#' * 12}{'.' * 12}] faultlab: 1 of 2 faults")
    assert bars[1].startswith(f"[{'#' * 24}] faultlab: 2 of 2 faults")


def test_sigterm_interrupts_and_its_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Termination():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    with Termination() as termination:
        termination.restore()
        assert signal.getsignal(signal.SIGTERM) == before, "a copy of the process has the handlers from before"
