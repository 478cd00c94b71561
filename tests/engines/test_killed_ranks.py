"""Whatever process of a campaign on several ranks is killed, and whenever, nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from faultlab.engines.folder import Folder

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")
FAULTS = [
    "distributed.gradients-unsynchronised",
    "distributed.rank-hangs@step=3,rank=1",
    "distributed.rank-killed@step=3,rank=1",
    "loss.nan@step=2,rank=1",
    "loss.negated@always",
    "step.raises@step=4,rank=0",
    "weights.reinitialised@step=5,rank=1",
]
WHOLE = pytest.mark.nightly(reason="a hundred kills, and a fresh interpreter after each that ends a driver")
pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or not SHARED_MEMORY.exists(), reason="needs fork, and shared memory that can be listed"
)


class Campaigns:
    """One campaign after another in a folder of their own, each until it ends or its driver is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.ended = self.killed = 0
        self._log = folder / "log"
        (folder / "scenario.yaml").write_text(
            "schema: 1\nname: ranked\nbuild: {class_path: tests.zoo.ranked.ranked}\n"
            "trainer: {max_epochs: 2, strategy: ddp, devices: 2}\n"
        )
        self._start()

    def _start(self) -> None:
        out = self.folder / f"out-{self.ended}"
        command = [sys.executable, "-m", "faultlab", "run", str(self.folder / "scenario.yaml"), "--out", str(out)]
        command += [word for fault in FAULTS for word in ("--select", fault)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAULTLAB_BENCH": str(self.folder), "FAULTLAB_WARM": "0",
                       "TMPDIR": str(self.temporary)}  # fmt: skip
        with self._log.open("w") as log:
            command += ["--resume", "--timeout", "20"]
            self.driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def processes(self) -> list[int]:
        """The driver, and what descends from it, told by the environment that they were started with."""
        found = []
        for process in psutil.process_iter(["environ", "status"]):
            environment = process.info["environ"] or {}
            if environment.get("FAULTLAB_BENCH") == str(self.folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        return found

    def kill(self, of_driver: bool, chance: random.Random) -> bool:
        """Kill the driver or a random process below it; False if there is none yet."""
        others = [pid for pid in self.processes() if pid != self.driver.pid]
        if not others:
            return False
        try:
            os.kill(self.driver.pid if of_driver else chance.choice(others), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def go_on(self) -> None:
        """Start the next driver if this one has ended. A driver that was not killed has judged every fault."""
        status = self.driver.poll()
        if status is None:
            return
        self.check_no_process_left()
        if status == -signal.SIGKILL:
            self.killed += 1
        elif status == 2:
            # Without clean runs there is nothing to judge by.
            assert "was killed" in self._log.read_text()
        else:
            assert status in (0, 4), self._log.read_text()[-3000:]
            selected = self.folder / f"out-{self.ended}" / "ranked" / "selected"
            report = json.loads((selected / "report.json").read_text())
            assert len(report["faults"]) == len(FAULTS)
            assert "not_activated" not in {fault["status"] for fault in report["faults"]}
            self.ended += 1
        self._start()

    def check_no_process_left(self) -> None:
        for _ in range(100):
            if not (left := self.processes()):
                return
            time.sleep(0.1)
        pytest.fail(f"left behind: {[psutil.Process(pid).cmdline() for pid in left]}")

    def end(self) -> None:
        """Kill the last driver. The next engine removes what it could not."""
        self.driver.kill()
        self.driver.wait()
        self.check_no_process_left()
        Folder(str(self.temporary)).remove()
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def campaigns() -> Iterator[Campaigns]:
    # Not pytest's folder: the path of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ranks-"))
    running = Campaigns(folder)
    yield running
    running.end()
    shutil.rmtree(folder)


@WHOLE
def test_a_hundred_kills_of_drivers_ranks_and_their_supervisors_leave_nothing(campaigns: Campaigns) -> None:
    chance = random.Random(1)
    before = set(SHARED_MEMORY.iterdir())
    kills = 0
    while kills < 100:
        time.sleep(chance.uniform(0.2, 2.0))
        campaigns.go_on()
        kills += campaigns.kill(of_driver=kills % 8 == 7, chance=chance)
    campaigns.end()
    assert campaigns.killed >= 10
    assert {file for file in set(SHARED_MEMORY.iterdir()) - before if file.name.startswith("torch_")} == set()
