"""Fabric, Accelerate and the Trainer of transformers on two ranks, all as `framework: torch`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.report import Status

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
PACKAGES = {"fabric": "lightning", "accelerate": "accelerate", "transformers": "transformers"}
FAULTS = {
    "distributed.gradients-unsynchronised": (Status.SILENT, "the ranks end with different parameters"),
    "distributed.parameters-diverge@step=6,rank=1": (Status.SILENT, "the ranks end with different parameters"),
    "distributed.rank-killed@step=6,rank=1": (Status.DETECTED, ""),
}


@pytest.mark.parametrize("name", list(PACKAGES))
@pytest.mark.nightly(reason="campaigns of two ranks by three packages; the quick ring has loops by hand on two ranks")
def test_trainings_by_other_packages_are_broken_on_two_ranks(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    scenario = tmp_path / "ranked.yaml"
    train = f"train: {{class_path: tests.frameworks.ranked_written.{name}}}"
    scenario.write_text(f"schema: 1\nname: ranked\nframework: torch\nranks: 2\n{train}\n")
    report = api.run(load(scenario), select=list(FAULTS), out=tmp_path / "out", advice=False)
    # Among them that a fork midway which is not broken ends as the training it was forked from.
    assert report.reasons == []
    assert report.baseline.deterministic
    assert "unevaluated" not in {finding["kind"] for finding in report.baseline.findings}
    for fault in report.faults:
        status, reason = FAULTS[fault.id.removesuffix("@always")]
        assert fault.status is status, fault
        assert reason in fault.reason
