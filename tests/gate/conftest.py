"""The command that the tests of the gate call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate.reports import Gate
from tests.support import call


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gate:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, monkeypatch, "gate", *arguments)
