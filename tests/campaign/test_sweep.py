"""Sweeps: what can be swept, and the command."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from faultlab.campaign.sweeping import dose_of, mode_of
from faultlab.catalogue import index
from faultlab.errors import UsageError
from tests import warm
from tests.support import small

ROOT = Path(__file__).parents[2]


def test_what_can_not_be_swept_is_said() -> None:
    with pytest.raises(UsageError, match="no dose 'frac'"):
        dose_of(index.modes()["label.noisy"], "frac")
    with pytest.raises(UsageError, match=r"name the failure mode alone, label\.noisy"):
        mode_of("label.noisy:fraction=0.3")
    with pytest.raises(UsageError, match=r"label\.noisy"):
        mode_of("label.nosy")
    assert dose_of(index.modes()["return.none"], "") is None


def _sweep(mode: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "faultlab", "sweep", mode, "--scenario", small(out), "--out", out, *more]
    return warm.run(command, cwd=ROOT, env={**os.environ, "COLUMNS": "160"})


def test_a_sweep_finds_the_least_dose_and_the_steps_and_draws_them(tmp_path: Path) -> None:
    run = ["-m", "faultlab", "run", small(tmp_path), "--select", "gradient.exploding"]
    warm.run([*run, "--out", tmp_path, "-q"], cwd=ROOT).check_returncode()
    done = _sweep("gradient.exploding", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    gradients = found["detectors"]["Gradients"]
    assert 1 < gradients["smallest"] < 1e4
    assert gradients["largest_missed"] is None or gradients["largest_missed"] < gradients["smallest"]
    assert gradients["first_detection"] <= gradients["last_detection"]
    tried = [point["value"] for point in found["doses"]]
    assert tried == sorted(tried)
    assert found["steps"]
    page = (tmp_path / "small" / "selected" / "index.html").read_text(encoding="utf-8")
    assert "gradient.exploding" in page
    assert 'class="sweep"' in page


@pytest.mark.nightly(reason="a clean run for its reason; the quick ring has a sweep, test_list.py what does not apply")
def test_what_does_not_apply_is_not_swept(tmp_path: Path) -> None:
    done = _sweep("label.nan", tmp_path)
    assert done.returncode == 4
    assert "small: can't sweep label.nan: not_applicable" in done.stderr
