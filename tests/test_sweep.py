"""Sweeps: scales of doses, the bisection that detectors share, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faultlab import index
from faultlab.catalogue import Dose
from faultlab.errors import UsageError
from faultlab.harness.bisection import Scale, first_parts, next_parts, next_steps
from faultlab.harness.sweeping import dose_of, mode_of

ROOT = Path(__file__).parents[1]
NUMBERS = [
    (mode.id, dose) for mode in index.modes().values() for dose in mode.doses if not isinstance(dose.default, str)
]


@pytest.mark.parametrize(("mode", "dose"), NUMBERS, ids=[f"{mode}:{dose.name}" for mode, dose in NUMBERS])
def test_every_dose_has_a_scale_that_keeps_to_its_bounds_and_moves_away_from_harmless(mode: str, dose: Dose) -> None:
    scale = Scale.of(dose)
    values = [scale.value(part) for part in first_parts()]
    for value in values:
        dose.check(value)
    distances = [abs(value - scale.harmless) for value in values]
    assert distances == sorted(distances)
    assert distances[-1] > 0


def test_a_share_is_spaced_evenly_and_a_factor_by_factors() -> None:
    assert [Scale.of(Dose("fraction", 0.3, 0.01, 1.0)).value(part) for part in (0.25, 0.5, 1.0)] == [0.25, 0.5, 1.0]
    factor = Scale.of(Dose("factor", 100.0, 1e-12, 1e12, harmless=1.0))
    assert [factor.value(part) for part in (0.25, 0.5, 1.0)] == [10.0, 100.0, 10000.0]


def test_a_bisection_looks_below_the_least_part_that_each_detector_notices() -> None:
    assert next_parts({0.25: {}, 0.5: {"A"}, 1.0: {"A", "B"}}) == [0.375, 0.75]
    assert next_parts({0.5: {}, 1.0: {}}) == []
    assert next_parts({0.5: {}, 0.51: {"A"}}) == []


def test_a_bisection_ends_at_the_border_of_each_detector() -> None:
    borders = {"A": 0.1, "B": 0.62}
    noticed = {part: {name for name, border in borders.items() if part >= border} for part in first_parts()}
    while wanted := next_parts(noticed):
        noticed |= {part: {name for name, border in borders.items() if part >= border} for part in wanted}
    for name, border in borders.items():
        least = min(part for part, names in noticed.items() if name in names)
        assert border <= least <= border + 1 / 32
    assert len(noticed) < 16


def test_steps_are_bisected_from_both_ends() -> None:
    noticed = {step: {"A"} if 5 <= step <= 13 else set() for step in (0, 8, 16)}
    while wanted := next_steps(noticed):
        noticed |= {step: {"A"} if 5 <= step <= 13 else set() for step in wanted}
    seen = [step for step, names in noticed.items() if names]
    assert (min(seen), max(seen)) == (5, 13)


def test_what_can_not_be_swept_is_said() -> None:
    with pytest.raises(UsageError, match="no dose 'frac'"):
        dose_of(index.modes()["label.noisy"], "frac")
    with pytest.raises(UsageError, match=r"name the failure mode alone, label\.noisy"):
        mode_of("label.noisy:fraction=0.3")
    with pytest.raises(UsageError, match=r"label\.noisy"):
        mode_of("label.nosy")
    assert dose_of(index.modes()["return.none"], "") is None


def _sweep(mode: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faultlab", "sweep", mode, "--scenario", "scenarios/digits/scenario.yaml"]
    env = {**os.environ, "COLUMNS": "160"}
    return subprocess.run([*command, "--out", str(out), *more], cwd=ROOT, env=env, capture_output=True, text=True)


def test_a_sweep_finds_the_least_dose_and_the_steps_and_draws_them(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "faultlab", "run", "scenarios/digits/scenario.yaml", "--select", "gradient.exploding"]
    subprocess.run([*run, "--out", str(tmp_path), "-q"], cwd=ROOT, check=True, capture_output=True)
    done = _sweep("gradient.exploding", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    gradients = found["detectors"]["Gradients"]
    assert 1 < gradients["smallest"] < 1e4
    assert gradients["largest_missed"] is None or gradients["largest_missed"] < gradients["smallest"]
    assert gradients["first_notice"] <= gradients["last_notice"]
    tried = [point["value"] for point in found["doses"]]
    assert tried == sorted(tried)
    assert found["steps"]
    page = (tmp_path / "digits" / "index.html").read_text(encoding="utf-8")
    assert "gradient.exploding" in page
    assert 'class="sweep"' in page


def test_what_does_not_apply_is_not_swept(tmp_path: Path) -> None:
    done = _sweep("label.nan", tmp_path)
    assert done.returncode == 4
    assert "label.nan could not be swept on digits: not_applicable" in done.stderr
