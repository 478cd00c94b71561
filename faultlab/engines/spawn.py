"""The spawn engine: every run in a fresh interpreter, for systems without fork. Slow, with the same verdicts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from faultlab.core.messages import Lines
from faultlab.core.orders import Order
from faultlab.core.results import Outcome, read_result
from faultlab.core.threads import one_thread_environment
from faultlab.engines import Capabilities
from faultlab.engines.folder import Folder
from faultlab.engines.gangs import Gangs
from faultlab.engines.processes import Output, kill_group, show

_TICK = 0.02
_IMPORTS = 60.0


@dataclass
class _Run:
    order: Order
    process: subprocess.Popen[bytes]
    report: Path
    pump: threading.Thread
    output: Output
    started: float = field(default_factory=time.monotonic)


class SpawnEngine:
    """The spawn engine; see `faultlab.engines.Engine`. Each deadline is extended by the time for imports."""

    capabilities = Capabilities(groups=True, echo=True, shared_filesystem=True)

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.ranks = 1
        self.alone = False
        self._folder = Folder()
        self._scenario: Mapping[str, Any] = {}
        self._runs: list[_Run] = []
        self._finished: list[Outcome] = []
        self._gangs = Gangs(self._folder.name, self._finished.append)

    @property
    def root(self) -> str:
        """See Engine."""
        return self._folder.name

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        self._scenario = scenario
        self.ranks = int(scenario.get("ranks", 1))

    def keep_warm(self) -> None:
        """Do nothing: every run starts a new process."""

    def preload(self, package: str) -> None:
        """Do nothing: no process outlives a run."""

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        waiting = list(orders)
        while waiting or self._runs:
            while waiting and (not self._runs or len(self._runs) + waiting[0].ranks <= self.jobs):
                order = waiting.pop(0)
                if order.ranks > 1:
                    self._gangs.give(order, [self] * order.ranks)
                else:
                    self.give(order)
            for run in list(self._runs):
                late = time.monotonic() - run.started > run.order.deadline + _IMPORTS
                if late:
                    _kill(run.process)
                if late or run.process.poll() is not None:
                    self._runs.remove(run)
                    outcome = self._outcome(run, late)
                    if run.order.ranks > 1:
                        self._gangs.ended(run.order.rank, outcome)
                    else:
                        self._finished.append(outcome)
            yield from self._finished
            self._finished.clear()
            time.sleep(_TICK)

    def give(self, order: Order) -> None:
        """Start the process of a run, or of one rank of a run."""
        self._runs.append(self._start(order))

    def send(self, message: Mapping[str, Any]) -> None:
        """Kill the processes of the run that the message ends; their ends are reported as any other's."""
        for run in self._runs:
            if run.order.id == message.get("end"):
                _kill(run.process)

    def close(self) -> None:
        for run in self._runs:
            _kill(run.process)
            run.process.wait()
        self._folder.remove()

    def _start(self, order: Order) -> _Run:
        descriptor, report = tempfile.mkstemp(dir=self._folder.name, suffix=".jsonl")
        os.close(descriptor)
        process = subprocess.Popen(
            [sys.executable, "-m", "faultlab.engines.spawn_main", report],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=hasattr(os, "fork"),
            env=one_thread_environment(),
        )
        output = Output()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"scenario": self._scenario, "order": order.to_json()}).encode())
            process.stdin.close()
        pump = threading.Thread(target=_pump, args=(process.stdout, output, order.echo), daemon=True)
        pump.start()
        return _Run(order, process, Path(report), pump, output)

    def _outcome(self, run: _Run, late: bool) -> Outcome:
        _kill(run.process)
        status = run.process.wait()
        run.pump.join(1.0)
        outcome = Outcome(run.order.id, exit=status, timed_out=late, output=run.output.text())
        outcome.seconds = time.monotonic() - run.started
        for message in Lines().feed(run.report.read_bytes()):
            if "acting" in message:
                outcome.acting = message["acting"]
            elif "result" in message:
                outcome.results = [read_result(message["result"])]
                outcome.timed_out = False
        run.report.unlink()
        return outcome


def _pump(stream: IO[bytes], output: Output, echo: int) -> None:
    while data := os.read(stream.fileno(), 1 << 16):
        output.feed(data)
        if echo:
            show(echo, data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        kill_group(process.pid)
    elif process.poll() is None:
        process.kill()
