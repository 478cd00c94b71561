"""The page of a plain PyTorch loop says what such a loop does about a failure mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab.catalogue import index
from faultlab.core.report import Report
from faultlab.report.html.charts import Curves
from faultlab.report.html.lessons import lessons
from tests.support import result


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"framework": "torch"}, "In a plain PyTorch loop: reports nothing."),
        ({"framework": "another"}, ""),
        ({}, ""),
    ],
)
def test_a_lesson_has_the_effect_in_a_loop_if_the_target_is_one(
    tmp_path: Path, target: dict[str, str], said: str
) -> None:
    report = Report("digits", faults=[result("label.shuffled@always", "silent")], target=target)
    (lesson,) = lessons(report, index.modes(), Curves(tmp_path))
    assert lesson.in_loop == said
