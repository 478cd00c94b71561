"""A framework is added by one file, and its trainings are broken at every point that torch itself has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faultlab.core.framework_names import ENTRY_POINT_GROUP
from faultlab.core.report import Report, Status
from tests.frameworks.contract import ROOT, FrameworkTester
from tests.installed import distribution


class TestToy(FrameworkTester):
    scenario = """\
schema: 1
name: toy
framework: toy
module: {class_path: tests.frameworks.toy.Line}
data: {class_path: tests.frameworks.toy.plane}
trainer: {epochs: 3}
guards: [{class_path: tests.frameworks.toy.FiniteLoss}]
"""
    tried = 30

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        folder = tmp_path_factory.mktemp("toy")
        distribution(folder, ENTRY_POINT_GROUP, {"toy": "tests.frameworks.toy:FRAMEWORK"})
        (folder / "trial.yaml").write_text(cls.scenario)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            patch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
            yield folder

    def test_what_it_has_no_hook_for_does_not_apply_and_is_told_so(self, report: Report) -> None:
        reasons = {fault.mode: fault.reason for fault in report.faults if fault.status is Status.NOT_APPLICABLE}
        assert reasons["return.none"] == "`framework: toy` has no step output that faultlab can break"
