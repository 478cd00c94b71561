"""The lines of progress: how many there are, and when they are printed."""

from __future__ import annotations

import sys

import pytest

from faultlab.campaign import progress_lines
from faultlab.campaign.progress_lines import ProgressLines, chosen
from tests.support import result


def test_a_line_comes_at_every_tenth_of_the_faults() -> None:
    lines: list[str] = []
    listener = ProgressLines(lines.append)
    listener.started("digits")
    listener.planned(95)
    for number in range(95):
        listener.judged(result("loss.nan", "silent" if number % 2 else "detected"))
    assert lines[1] == "digits: 95 faults"
    assert len(lines) == 12
    assert lines[-1] == "digits: 95 of 95 faults, 47 silent"


def test_mutants_are_counted_apart_from_faults() -> None:
    lines: list[str] = []
    listener = ProgressLines(lines.append)
    listener.mutating("digits")
    listener.judging("tests", 2)
    listener.mutant_judged()
    listener.mutant_judged()
    assert lines[-2:] == ["digits: 1 of 2 mutants", "digits: 2 of 2 mutants"]


@pytest.mark.parametrize(("interactive", "asked", "printed"), [
    (True, None, True), (False, None, False), (True, False, False), (False, True, True),
])  # fmt: skip
def test_lines_are_printed_where_a_person_watches(
    interactive: bool, asked: bool | None, printed: bool, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(progress_lines, "is_interactive", lambda: interactive)
    chosen(asked)("a line")
    assert capsys.readouterr().out == ("a line\n" if printed else "")


def test_a_prompt_and_a_notebook_are_interactive_and_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert not progress_lines.is_interactive()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ipykernel", sys)
        assert progress_lines.is_interactive()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert progress_lines.is_interactive()
