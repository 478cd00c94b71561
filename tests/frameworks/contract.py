"""What every framework owes: a class of tests to derive from, with a scenario of the framework's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.report import Report, Status

ROOT = Path(__file__).parents[2]


class FrameworkTester:
    """Runs a campaign on ``scenario``; ``tried`` is how many failure modes have to apply to it at least."""

    scenario: ClassVar[str]
    tried: ClassVar[int]

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        """A folder with the scenario in it; those whose framework is another package's install it there."""
        folder = tmp_path_factory.mktemp("framework")
        (folder / "trial.yaml").write_text(cls.scenario)
        yield folder  # noqa: PT022

    @pytest.fixture(scope="class")
    @classmethod
    def report(cls, installed: Path) -> Report:
        return _run(installed, "first")

    def test_nothing_keeps_the_campaign_from_being_conclusive(self, report: Report) -> None:
        """Its clean run repeats, a break of every step is detected, and what never acts leaves the run to the bit."""
        assert report.baseline.deterministic
        assert report.reasons == []

    def test_failure_modes_act_in_it(self, report: Report) -> None:
        tried = [fault for fault in report.faults if fault.status is not Status.NOT_APPLICABLE]
        acted = [fault for fault in tried if fault.activations]
        assert len(tried) >= self.tried
        assert len(acted) >= 0.8 * len(tried)
        assert not [fault.id for fault in tried if fault.status is Status.ERROR]

    def test_a_loss_that_is_not_finite_is_detected_by_its_guard(self, report: Report) -> None:
        nan = next(fault for fault in report.faults if fault.mode == "loss.nan")
        assert nan.status is Status.DETECTED
        assert min(one.latency for one in nan.detected_by if one.kind == "guard") <= 1

    def test_a_constant_output_does_harm_in_silence(self, report: Report) -> None:
        constant = next(fault for fault in report.faults if fault.mode == "forward.constant")
        assert constant.status is Status.SILENT
        assert constant.harm is not None
        assert constant.harm.harmful

    def test_the_verdicts_repeat(self, report: Report, installed: Path) -> None:
        selected = ["loss.*", "gradient.*"]
        again = _run(installed, "second", select=selected)
        before = {fault.id: fault.status for fault in report.faults}
        assert {fault.id: fault.status for fault in again.faults} == {
            id: before[id] for id in (f.id for f in again.faults)
        }


def _run(folder: Path, name: str, **options: Any) -> Report:
    return api.run(load(folder / "trial.yaml"), out=folder / name, advice=False, **options)
