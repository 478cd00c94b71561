"""Whatever a victim does costs its own verdict alone: nothing is lost, nothing hangs, no process stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
DEADLINE = 3.0

# Each at the first step and half-way: fifty faults, among which honest ones must come through unharmed.
EXPECTED = {
    "torture.hang-busy": ("timeout", "still running"),
    "torture.hang-asleep": ("timeout", "still running"),
    "torture.hang-locked": ("detected", ""),
    "torture.stopped": ("timeout", "still running"),
    "torture.segfault": ("detected", ""),
    "torture.abort": ("detected", ""),
    "torture.killed": ("detected", ""),
    "torture.exits-0": ("silent", "status 0"),
    "torture.exits-3": ("detected", ""),
    "torture.kills-parent": ("error", "kills the process that supervises it"),
    "torture.floods": ("warned", ""),
    "torture.floods-for-ever": ("timeout", "still running"),
    "torture.leaves-child": ("warned", ""),
    "torture.leaves-daemon": ("warned", ""),
    "torture.leaves-many": ("timeout", "still running"),
    "torture.closes-pipes": ("detected", ""),
    "torture.scribbles": ("warned", ""),
    "torture.mute-error": ("detected", ""),
    "torture.huge-error": ("detected", ""),
    "torture.surrogate-error": ("detected", ""),
    "torture.breaks-json": ("detected", ""),
    "torture.leaves-thread": ("warned", ""),
    "torture.vandalises": ("warned", ""),
    "torture.broken-injector": ("error", "the injector failed"),
    "torture.does-nothing": ("not_activated", ""),
}
HONEST = ["return.none@step=1", "input.nan@step=6", "loss.negated@always", "label.shuffled@always",
          "gradient.zero@step=6"]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scenario, and the tortures installed as a third party's distribution would be."""
    folder = tmp_path_factory.mktemp("torture")
    info = folder / "site" / "faultlab_torture-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faultlab-torture\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[faultlab.injectors]\ntorture = tests.torture.injectors\n")
    (folder / "scenario.yaml").write_text(
        "schema: 1\nname: torture\nbuild: {class_path: tests.zoo.models.classifier}\ntrainer: {max_epochs: 2}\n"
    )
    return folder


STEPS = {"half-way": (6,), "twice": (0, 6)}
ENDLESS = ("torture.hang-busy", "torture.floods-for-ever")
BUSY = pytest.mark.nightly(
    reason="busy until the deadline, twice; the quick ring has a hang that sleeps and a flood that ends"
)
TWICE = pytest.mark.nightly(reason="all tortures at the first step too; the quick ring has each half-way")
AGAIN = pytest.mark.nightly(reason="campaigns that are ended up to a dozen times, each begun in a fresh interpreter")
SPAWN = pytest.mark.nightly(reason="a fresh interpreter for each tortured run")
SOME = ["return.*", "step.*", "loss.*", "gradient.*", "input.*", "torture.hang-asleep@step=0",
        "torture.leaves-daemon@step=0", "torture.segfault@step=6", "torture.kills-parent@step=0"]  # fmt: skip


def _command(bench: Path, out: str, selected: list[str], *more: str) -> list[str]:
    options = [word for fault in selected for word in ("--select", fault)]
    return [sys.executable, "-m", "faultlab", "run", str(bench / "scenario.yaml"), "--out", str(bench / out),
            "--timeout", str(DEADLINE), *options, *more]  # fmt: skip


def _environment(bench: Path) -> dict[str, str]:
    path = os.pathsep.join([str(bench / "site"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "FAULTLAB_BENCH": str(bench)}


def _statuses(bench: Path, out: str) -> dict[str, dict[str, Any]]:
    report = json.loads((bench / out / "torture" / "selected" / "report.json").read_text())
    return {fault["id"]: fault for fault in report["faults"]}


def _left_behind(bench: Path) -> list[str]:
    """The processes that descend from this test's drivers, told by the environment that they were started with."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        if environment.get("FAULTLAB_BENCH") == str(bench):
            found.append(f"{process.pid} {' '.join(process.info['cmdline'] or [])[:80]}")
    return found


def _none_left(bench: Path) -> bool:
    for _ in range(100):
        if not _left_behind(bench):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module", params=["half-way", pytest.param("twice", marks=TWICE)])
def steps(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """The steps at which each torture is tried."""
    return STEPS[request.param]


@pytest.fixture(scope="module")
def tortured(request: pytest.FixtureRequest, bench: Path, steps: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """What became of the honest faults, and of the tortures that this session asks about."""
    asked = {item.callspec.params.get("mode") for item in request.session.items if hasattr(item, "callspec")}
    faults = [f"{mode}@step={step}" for mode in EXPECTED if mode in asked for step in steps] + HONEST
    done = subprocess.run(
        _command(bench, "whole", faults), cwd=ROOT, env=_environment(bench), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 4, done.stdout[-3000:] + done.stderr[-3000:]
    return _statuses(bench, "whole")


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=BUSY if mode in ENDLESS else ()) for mode in sorted(EXPECTED)]
)
def test_a_tortured_run_costs_its_own_verdict_alone(
    tortured: dict[str, dict[str, Any]], steps: tuple[int, ...], mode: str
) -> None:
    status, reason = EXPECTED[mode]
    for step in steps:
        fault = tortured[f"{mode}@step={step}"]
        assert (fault["status"], reason in fault["reason"]) == (status, True), fault
        if status == "detected" and mode in ("torture.segfault", "torture.abort", "torture.killed", "torture.exits-3"):
            assert [found["kind"] for found in fault["detected_by"]] == ["process"]


def test_honest_faults_among_them_are_judged_as_ever(tortured: dict[str, dict[str, Any]]) -> None:
    statuses = {fault: tortured[fault]["status"] for fault in HONEST}
    assert statuses == dict(zip(HONEST, ["warned", "silent", "silent", "silent", "silent"]))


def test_no_process_stays_behind(bench: Path, tortured: dict[str, dict[str, Any]]) -> None:
    assert _none_left(bench), _left_behind(bench)


def test_a_flood_fills_no_disk(bench: Path, tortured: dict[str, dict[str, Any]]) -> None:
    logs = list((bench / "whole" / "torture" / "selected" / "logs").iterdir())
    assert logs
    assert max(log.stat().st_size for log in logs) < 100_000


def _lines(bench: Path, out: str) -> dict[str, str]:
    """The conclusive verdicts on disk; a last line that was cut short is none."""
    file = bench / out / "torture" / "selected" / "outcomes.jsonl"
    found = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        with contextlib.suppress(ValueError):
            verdict = json.loads(line)
            if verdict["status"] not in ("error", "timeout", "not_activated"):
                found[verdict["id"]] = verdict["status"]
    return found


@AGAIN
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_ended_at_random_moments_resumes_and_loses_nothing(bench: Path, kill: signal.Signals) -> None:
    out = f"ended-{kill.name}"
    moments = random.Random(kill)
    before: dict[str, str] = {}
    for attempt in range(12):
        with (bench / "ended.log").open("w") as log:
            command = _command(bench, out, SOME, "--resume")
            driver = subprocess.Popen(command, cwd=ROOT, env=_environment(bench), stdout=log, stderr=log)
            try:
                status = driver.wait(moments.uniform(5, 9) + 5 * attempt)
            except subprocess.TimeoutExpired:
                driver.send_signal(kill)
                status = driver.wait(20)
        assert _none_left(bench), _left_behind(bench)
        now = _lines(bench, out)
        assert before.items() <= now.items()
        before = now
        if status == 4:
            break
        assert status == (130 if kill == signal.SIGINT else -kill), (bench / "ended.log").read_text()[-2000:]
    else:
        pytest.fail("the campaign never came to its end")
    ids = {
        fault["id"] for fault in json.loads((bench / out / "torture" / "selected" / "plan.json").read_text())["faults"]
    }
    assert set(_statuses(bench, out)) == ids


@SPAWN
@pytest.mark.parametrize("steps", ["half-way"], indirect=True)
def test_the_spawn_engine_survives_as_well(bench: Path, tortured: dict[str, dict[str, Any]]) -> None:
    tried = ["torture.segfault@step=6", "torture.exits-0@step=6", "torture.leaves-child@step=6",
             "torture.floods@step=6", "torture.mute-error@step=6", "return.none@step=1"]  # fmt: skip
    command = _command(bench, "spawned", tried, "--engine", "spawn")
    done = subprocess.run(command, cwd=ROOT, env=_environment(bench), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    statuses = {id: fault["status"] for id, fault in _statuses(bench, "spawned").items()}
    assert statuses == {id: tortured[id]["status"] for id in tried}
    assert _none_left(bench), _left_behind(bench)
