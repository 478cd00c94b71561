"""What a long run prints meanwhile: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from faultlab.campaign import heartbeat
from faultlab.campaign.heartbeat import Heartbeat, duration
from faultlab.cli.progress import Progress
from faultlab.core.report import Baseline
from tests.support import result


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while time.monotonic() < end and not holds():
        time.sleep(0.01)
    return holds()


def test_the_line_has_what_is_done_and_about_how_long_the_rest_takes() -> None:
    beat = Heartbeat(lambda line: None)
    beat.begin("digits", "faults", 250)
    assert beat.line(3) == "digits: 0 of 250 faults, 3 s"
    for _ in range(57):
        beat.advance()
    assert beat.line(21) == "digits: 57 of 250 faults, 21 s, about 71 s left"
    beat.begin("digits", "training without faults")
    assert beat.line(21) == "digits: training without faults, 21 s"
    beat.stop()


def test_lines_come_until_it_is_stopped() -> None:
    lines: list[str] = []
    beat = Heartbeat(lines.append, interval=0.01)
    beat.begin("digits", "faults", 2)
    assert _soon(lambda: len(lines) > 1)
    beat.stop()
    time.sleep(0.05)
    count = len(lines)
    time.sleep(0.1)
    assert len(lines) == count


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (42, "42 s"), (150, "2 min"), (9000, "2.5 h")])
def test_a_duration_is_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_run_that_is_piped_prints_how_long_it_takes_and_a_sign_of_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    printed = ""

    def seen(text: str) -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return text in printed

    with Progress(jobs=2) as progress:
        progress.started("digits")
        assert _soon(lambda: seen("digits: training without faults, 0 s"))
        progress.measured(Baseline(seconds=9.9))
        progress.planned(60)
        assert _soon(lambda: seen("digits: 60 faults, about 5 min"))
        progress.judged(result("loss.nan@always", "silent"))
        assert _soon(lambda: seen("digits: 1 of 60 faults, 0 s, about"))


def test_the_estimate_counts_only_the_faults_that_need_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(jobs=2) as progress:
        progress.started("digits")
        progress.measured(Baseline(seconds=9.9))
        for number in range(40):
            progress.settled(result(f"layer.dropout-off@step={number}", "not_applicable" if number < 30 else "silent"))
        progress.planned(60)
        progress.planned(1)
    lines = capsys.readouterr().out.splitlines()
    assert "digits: 60 faults, about 5 min; 30 not applicable; 10 already done" in lines
    assert "digits: 1 fault, about 5 s" in lines


def test_the_first_estimate_says_what_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(jobs=2, then="then a second campaign") as progress:
        for name in ("digits", "digits-prescribed"):
            progress.started(name)
            progress.measured(Baseline(seconds=9.9))
            progress.planned(60)
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("digits: 60 faults, about 5 min") + 1] == "digits: then a second campaign"
    assert lines[-1] == "digits-prescribed: 60 faults, about 5 min", "nothing follows the second campaign"


def test_a_quiet_run_prints_no_sign_of_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    with Progress(quiet=True) as progress:
        progress.started("digits")
        progress.planned(60)
        time.sleep(0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_is_drawn_on_a_terminal_alone_whatever_colours_are_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    with Progress() as progress:
        progress.started("digits")
        progress.planned(2)
        progress.judged(result("loss.nan@always", "silent"))
    assert ("\x1b[2K" in capsys.readouterr().out) is terminal
