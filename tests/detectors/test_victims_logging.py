"""What a victim logs is listened to without a change of how it logs."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from faultlab.detectors.warnings_shown import Warnings


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The root logger as a script finds it."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    return root


def test_a_victim_may_configure_its_log_while_its_warnings_are_noted(bare: logging.Logger) -> None:
    clock: Any = SimpleNamespace(step=3)
    warnings, shown = Warnings(clock), io.StringIO()
    # pytest has added its own since.
    bare.handlers.clear()
    with warnings.listening():
        logging.basicConfig(level=logging.INFO, stream=shown, format="%(message)s")
        logging.getLogger("mine").info("epoch 1")
        logging.getLogger("mine").warning("loss is %s", "odd")
    assert shown.getvalue() == "epoch 1\nloss is odd\n"
    assert [text for _, text in warnings.seen.values()] == ["mine: loss is odd"]
    logging.getLogger("mine").warning("after")
    assert len(warnings.seen) == 1


def test_a_log_that_the_user_never_sees_is_not_noted(bare: logging.Logger) -> None:
    clock: Any = SimpleNamespace(step=0)
    warnings, own = Warnings(clock), logging.getLogger("kept.apart")
    own.propagate = False
    own.addHandler(logging.NullHandler())
    with warnings.listening():
        own.warning("to itself")
    assert warnings.seen == {}
