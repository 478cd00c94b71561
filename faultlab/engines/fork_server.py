"""A process that forks victims on demand, supervises them and reports how each ended.

`serve` returns only in the victims, at the point where the fork server's process was: a fork server at step 8 of a
training is a paused copy of that training, and each victim continues from there. Whatever a victim does (hang, crash,
exit, flood, leave processes behind), the others are not affected.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from faultlab.core.messages import Lines, encode
from faultlab.core.orders import Order
from faultlab.core.results import Outcome
from faultlab.engines import processes
from faultlab.engines.processes import Output

_TICK = 0.05
_GRACE = 2.0
_CHUNK = 1 << 16


class Channel:
    """A victim's channel for reports: a pipe that only its fork server reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: dict[str, Any]) -> None:
        data = encode(message)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class _Victim:
    pid: int
    order: Order
    report: int
    printed: int
    ended: int | None
    outcome: Outcome
    # Unparsed: the driver reads it.
    result: Any = None
    started: float = field(default_factory=time.monotonic)
    reported: float = 0.0
    lines: Lines = field(default_factory=Lines)
    output: Output = field(default_factory=Output)
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))


class ForkServer:
    """Connects to the driver at ``address``, sends ``hello``, then serves the driver's orders."""

    def __init__(self, address: str, hello: dict[str, Any]) -> None:
        self._driver = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._driver.connect(address)
        self._driver.sendall(encode({"hello": {**hello, "pid": os.getpid()}}))
        self._lines = Lines()
        self._victims: dict[int, _Victim] = {}
        # Helpers that the user's import started, and later the snapshots: children that are not a victim's orphans.
        self._known = processes.children_of(os.getpid())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._driver, selectors.EVENT_READ)
        self.on_control: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_end: Callable[[], None] = lambda: None
        processes.adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A training that is paused here may have its own handler, which its victims keep.
        self._on_sigterm = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def serve(self) -> tuple[Order, Channel]:
        """Return in each victim, with its order and channel. The fork server itself ends when the driver hangs up."""
        while True:
            for key, _ in self._selector.select(_TICK if self._victims else None):
                if key.fileobj is self._driver:
                    for message in self._receive():
                        if "end" in message:
                            self._end_run(message["end"])
                        elif "order" not in message:
                            self.on_control(message)
                        elif (born := self._fork(Order.from_json(message["order"]))) is not None:
                            return born
                else:
                    self._read(key.data, key.fd)
            for victim in list(self._victims.values()):
                self._watch(victim)

    def _receive(self) -> list[dict[str, Any]]:
        try:
            data = self._driver.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._end()
        return self._lines.feed(data)

    def _end(self) -> NoReturn:
        for victim in self._victims.values():
            processes.kill_group(victim.pid)
        for victim in self._victims.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(victim.pid, 0)
        # Snapshots too: they would end by themselves, but where init does not reap them they would remain as zombies.
        processes.sweep_orphans(set())
        self.on_end()
        os._exit(0)

    def _end_run(self, id: str) -> None:
        """Kill the rank of a run that has ended without it; its end is reported as any other's."""
        for victim in self._victims.values():
            if victim.order.id == id:
                processes.kill_group(victim.pid)

    def _fork(self, order: Order) -> tuple[Order, Channel] | None:
        report_end, report = os.pipe()
        printed_end, printed = os.pipe()
        pid = processes.fork()
        if pid == 0:
            self._become_victim(report_end, printed_end, printed)
            if order.echo:
                processes.print_at_once()
            return order, Channel(report)
        os.close(report)
        os.close(printed)
        # Where the system has process descriptors, the end of a victim wakes the loop at once.
        ended = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        victim = _Victim(pid, order, report_end, printed_end, ended, Outcome(order.id))
        self._victims[pid] = victim
        for descriptor in (report_end, printed_end):
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
            self._selector.register(descriptor, selectors.EVENT_READ, victim)
        if ended is not None:
            self._selector.register(ended, selectors.EVENT_READ, victim)
        return None

    def _become_victim(self, report_end: int, printed_end: int, printed: int) -> None:
        os.setsid()
        processes.die_with_parent()
        for victim in self._victims.values():
            for descriptor in filter(None, (victim.report, victim.printed, victim.ended)):
                os.close(descriptor)
        self._driver.close()
        self._selector.close()
        os.close(report_end)
        os.close(printed_end)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.close(nothing)
        os.close(printed)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, self._on_sigterm if callable(self._on_sigterm) else signal.SIG_DFL)

    def _read(self, victim: _Victim, descriptor: int) -> None:
        if descriptor == victim.ended:
            return
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(descriptor)
        elif descriptor == victim.printed:
            self._print(victim, data)
        else:
            for message in victim.lines.feed(data):
                self._take_message(victim, message)

    def _print(self, victim: _Victim, data: bytes) -> None:
        victim.output.feed(data)
        if victim.order.echo:
            printed = {"text": victim.decoder.decode(data), "to": victim.order.echo}
            with contextlib.suppress(OSError):
                self._driver.sendall(encode({"printed": printed}))

    def _take_message(self, victim: _Victim, message: dict[str, Any]) -> None:
        if "acting" in message:
            victim.outcome.acting = message["acting"]
            if victim.order.sleeps:
                with contextlib.suppress(OSError):
                    self._driver.sendall(encode({"asleep": victim.order.id}))
        elif "snapshot" in message:
            self._known.add(message["pid"])
            victim.outcome.snapshots.append(message["snapshot"])
        elif "note" in message:
            victim.outcome.notes.append(message["note"])
        elif "result" in message:
            victim.result = message["result"]
            victim.reported = time.monotonic()

    def _watch(self, victim: _Victim) -> None:
        pid, status = os.waitpid(victim.pid, os.WNOHANG)
        if pid:
            self._bury(victim, os.waitstatus_to_exitcode(status))
            return
        now = time.monotonic()
        late = now - victim.started > victim.order.deadline
        if late or (victim.reported and now - victim.reported > _GRACE):
            victim.outcome.timed_out = not victim.reported
            processes.kill_group(victim.pid)
            self._bury(victim, os.waitstatus_to_exitcode(os.waitpid(victim.pid, 0)[1]))

    def _bury(self, victim: _Victim, exit_code: int) -> None:
        processes.kill_group(victim.pid)
        self._drain(victim, victim.report)
        self._drain(victim, victim.printed)
        for descriptor in filter(None, (victim.report, victim.printed, victim.ended)):
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            os.close(descriptor)
        del self._victims[victim.pid]
        processes.sweep_orphans(self._known | set(self._victims))
        outcome = victim.outcome
        outcome.exit = exit_code
        outcome.output = victim.output.text()
        outcome.seconds = (victim.reported or time.monotonic()) - victim.started
        try:
            told = {"outcome": {**outcome.to_json(), "results": [victim.result]}, "rank": victim.order.rank}
            self._driver.sendall(encode(told))
        except OSError:
            self._end()

    def _drain(self, victim: _Victim, descriptor: int) -> None:
        # Bounded: a grandchild that escaped may still be writing.
        for _ in range(64):
            try:
                data = os.read(descriptor, _CHUNK)
            except OSError:
                return
            if not data:
                return
            if descriptor == victim.printed:
                self._print(victim, data)
            else:
                for message in victim.lines.feed(data):
                    self._take_message(victim, message)
