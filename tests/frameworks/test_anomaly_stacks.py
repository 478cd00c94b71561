"""Stacks of torch's anomaly mode that are formatted only if one is printed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator

import pytest
import torch
from torch.fx import traceback as stacks

from faultlab.frameworks.torch import anomaly_stacks


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stacks are formatted late; the list gets an entry for each that is."""
    monkeypatch.setattr(stacks, "format_stack", stacks.format_stack)
    found: list[int] = []
    iterate = anomaly_stacks.Stack.__iter__

    def noted(stack: anomaly_stacks.Stack) -> Iterator[str]:
        found.append(1)
        return iterate(stack)

    monkeypatch.setattr(anomaly_stacks.Stack, "__iter__", noted)
    anomaly_stacks.format_late()
    return found


def test_a_stack_reads_as_python_formats_it() -> None:
    late, now = anomaly_stacks.Stack(sys._getframe()), traceback.format_stack()
    assert list(late) == now


def test_a_healthy_backward_formats_no_stack(formatted: list[int]) -> None:
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly():
        (torch.ones(2, requires_grad=True) * 2).sum().backward()
    assert formatted == []


def test_a_gradient_that_is_nan_still_tells_the_line_of_its_forward_pass(formatted: list[int]) -> None:
    with (
        pytest.warns(UserWarning, match="Error detected in SqrtBackward0") as warned,
        torch.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="SqrtBackward0"),
    ):
        torch.sqrt(torch.tensor([-1.0], requires_grad=True)).sum().backward()  # the line that is told
    told = "\n".join(str(warning.message) for warning in warned)
    assert "the line that is told" in told
    assert formatted


def test_code_that_asks_by_name_gets_a_list(formatted: list[int]) -> None:
    found = stacks.format_stack()
    assert type(found) is list
    assert any("test_code_that_asks_by_name_gets_a_list" in line for line in found)
