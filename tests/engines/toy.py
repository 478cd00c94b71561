"""An engine of one file, as another package would add it: one run at a time, each a process waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.core.messages import Lines
from faultlab.core.orders import Order
from faultlab.core.results import Outcome, read_result
from faultlab.core.threads import one_thread_environment
from faultlab.engines import Capabilities, refuse_groups
from faultlab.engines.processes import Output, kill_group

IMPORTS = 60.0
"""Seconds that a run may take longer than ordered."""


class ToyEngine:
    """See `faultlab.engines.Engine`; it waits for each run, so that more jobs are of no use to it."""

    capabilities = Capabilities(shared_filesystem=True)

    def __init__(self, jobs: int) -> None:
        self.jobs = 1
        self.alone = False
        self.ranks = 1
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._scenario: Mapping[str, Any] = {}

    @property
    def root(self) -> str:
        return self._folder.name

    def keep_warm(self) -> None:
        """Every run starts anew."""

    def preload(self, package: str) -> None:
        """Nothing outlives a run."""

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        self._scenario = scenario

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        refuse_groups(self, orders)
        for order in orders:
            yield self._carried_out(order)

    def close(self) -> None:
        self._folder.cleanup()

    def _carried_out(self, order: Order) -> Outcome:
        report, begun, output = Path(self.root) / "report.jsonl", time.monotonic(), Output()
        command = [sys.executable, "-m", "faultlab.engines.spawn_main", str(report)]
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
            asked.write(json.dumps({"scenario": self._scenario, "order": order.to_json()}).encode())
            asked.seek(0)
            process = subprocess.Popen(
                command,
                stdin=asked,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=one_thread_environment(),
                start_new_session=True,
            )
            late = False
            try:
                process.wait(order.deadline + IMPORTS)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                kill_group(process.pid)
            status = process.wait()
            said.seek(0)
            while data := said.read(1 << 16):
                output.feed(data)
        outcome = Outcome(order.id, exit=status, timed_out=late, output=output.text())
        outcome.seconds = time.monotonic() - begun
        for message in Lines().feed(report.read_bytes()) if report.exists() else ():
            if "acting" in message:
                outcome.acting = message["acting"]
            elif "result" in message:
                outcome.results, outcome.timed_out = [read_result(message["result"])], False
        report.unlink(missing_ok=True)
        return outcome
