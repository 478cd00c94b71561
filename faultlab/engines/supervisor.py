"""Supervision of a command from outside: its result, from its exit status, its output and its heartbeat.

A process can't report that it was killed or that it hangs, and one that ends with status 0 before its training is done
considers that success.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faultlab.core.exit_status import in_words
from faultlab.engines import memory_kills, terminal
from faultlab.engines.processes import adopt_orphans, children_of, die_with_parent, kill_group, sweep_orphans

VARIABLE = "FAULTLAB_HEARTBEAT"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HUNG = 124
UNFINISHED = 1
_CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP"}
_FULL = (b"No space left on device", b"Disk quota exceeded")
_MEMORY = (b"CUDA out of memory", b"OutOfMemoryError", b"MemoryError", b"Cannot allocate memory")
_TAIL = 16_384
_LEFTOVERS = 1.0
_TICK = 0.5
# A busy machine takes that long to print stacks. A process that has printed them ends, so nothing waits for the rest.
_DUMPING = 5.0


@dataclass(frozen=True)
class Ending:
    """The end of a command.

    ``outcome`` is finished, failed, unfinished, terminated, killed, crashed, hung or not-started; ``status`` is the
    exit status for faultlab; ``step`` and ``epoch`` are those of the last heartbeat, None without one. ``found`` and
    ``remedy`` are the message.
    """

    outcome: str
    status: int
    seconds: float
    step: int | None = None
    epoch: int | None = None
    found: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


class Supervisor:
    """Runs one command in its own process group and watches it until it ends; see `run`. For the main thread."""

    def __init__(
        self, command: Sequence[str], stall: float = 600.0, grace: float = 10.0, expect_finish: bool = False
    ) -> None:
        self._command = list(command)
        self._stall = stall
        self._grace = grace
        self._expect_finish = expect_finish
        self._streams: dict[int, int] = {}
        self._tail = b""
        self._status: int | None = None
        self._stopped = False
        self._signalled: list[str] = []
        self._hung = False
        self._beaten = 0.0
        self._heartbeat: dict[str, Any] = {}

    def run(self) -> Ending:
        """Run the command, forward its output and incoming signals, and leave no process behind."""
        started = self._alive = time.monotonic()
        deaths = memory_kills.count()
        with tempfile.TemporaryDirectory(prefix="faultlab-watch-") as folder:
            self._file = os.path.join(folder, "heartbeat")
            self._before = children_of(os.getpid())
            adopt_orphans()
            with _signals() as wakeup:
                try:
                    self._start()
                except OSError as error:
                    reason = error.strerror or str(error)
                    status = 127 if error.errno == errno.ENOENT else 126
                    found = f"{self._command[0]} could not be started: {reason}"
                    return Ending("not-started", status, 0.0, found=found, remedy="Check its spelling and the PATH.")
                try:
                    self._watch(wakeup)
                finally:
                    self._sweep()
            self._read_heartbeat()
        return self._judge(time.monotonic() - started, memory_kills.count() - deaths)

    def _start(self) -> None:
        environment = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **os.environ, VARIABLE: self._file}
        held = terminal.is_held()

        def prepare() -> None:
            os.setpgid(0, 0)
            die_with_parent()
            if held:
                terminal.take(os.getpid())

        ends = [terminal.channel(stream) for stream in (1, 2)]
        try:
            self._process = subprocess.Popen(
                self._command,
                stdout=ends[0][1],
                stderr=ends[1][1],
                env=environment,
                preexec_fn=prepare,
            )
        except OSError:
            for reading, _ in ends:
                os.close(reading)
            raise
        finally:
            for _, writing in ends:
                os.close(writing)
        self._holds_terminal = held
        self._streams = {ends[0][0]: 1, ends[1][0]: 2}
        for reading in self._streams:
            os.set_blocking(reading, False)

    def _watch(self, wakeup: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            for reading in self._streams:
                selector.register(reading, selectors.EVENT_READ)
            deadlines: list[tuple[float, Callable[[], None]]] = []
            tick = min(_TICK, self._stall / 4) if self._stall else _TICK
            while self._status is None:
                for key, _ in selector.select(tick):
                    if key.fd == wakeup:
                        self._forward_signals(os.read(wakeup, 512))
                    elif not self._forward(key.fd):
                        selector.unregister(key.fd)
                self._reap()
                now = time.monotonic()
                self._read_heartbeat()
                if self._stopped:
                    self._alive = now
                elif self._stall and not self._hung and now - self._alive > self._stall:
                    self._hung = True
                    deadlines = self._endings(now)
                while deadlines and now >= deadlines[0][0]:
                    deadlines.pop(0)[1]()

    def _endings(self, now: float) -> list[tuple[float, Callable[[], None]]]:
        """Return the actions against a hanging command, with their times: terminate, dump the stacks, kill."""
        group = self._process.pid
        # Python's faulthandler prints the stack of every thread.
        shown = now + self._grace
        return [
            (now, lambda: _signal_group(group, signal.SIGTERM)),
            (shown, lambda: _signal_process(group, signal.SIGABRT)),
            (shown + min(_DUMPING, self._grace), lambda: kill_group(group)),
        ]

    def _forward_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in FORWARDED:
                self._signalled.append(signal.Signals(number).name)
                _signal_group(self._process.pid, number)

    def _reap(self) -> None:
        """Reap every child that has ended: the command, and its orphans that this process adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0))
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self._process.pid:
                continue
            if os.WIFSTOPPED(status):
                self._stopped = True
                self._stop_too()
            elif hasattr(os, "WIFCONTINUED") and os.WIFCONTINUED(status):
                self._stopped = False
            else:
                self._status = self._process.returncode = os.waitstatus_to_exitcode(status)
                return

    def _stop_too(self) -> None:
        """Stop this process too, since the user suspended the command: the shell needs its terminal back until then."""
        if not self._holds_terminal:
            return
        terminal.take(os.getpgrp())
        os.kill(os.getpid(), signal.SIGSTOP)
        if terminal.is_held():
            terminal.take(self._process.pid)
        _signal_group(self._process.pid, signal.SIGCONT)

    def _forward(self, reading: int) -> bool:
        """Forward what a stream holds; return False if it has ended."""
        try:
            data = os.read(reading, 65_536)
        except BlockingIOError:
            return True
        except OSError:  # a terminal whose other side is closed
            data = b""
        if data:
            if self._heartbeat.get("state") != "begun":
                self._alive = time.monotonic()
            self._tail = (self._tail + data)[-_TAIL:]
            with contextlib.suppress(OSError):
                _write(self._streams[reading], data)
                return True
        # The reader is gone: the command has to learn that as it would without faultlab in between.
        del self._streams[reading]
        os.close(reading)
        return False

    def _read_heartbeat(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            beaten = os.stat(self._file).st_mtime_ns
            if beaten != self._beaten:
                self._beaten = beaten
                self._alive = time.monotonic()
                self._heartbeat = json.loads(Path(self._file).read_text())

    def _sweep(self) -> None:
        """End what the command left behind, with SIGTERM first, and forward the rest of the output."""
        group = self._process.pid
        _signal_group(group, signal.SIGTERM)
        late = time.monotonic() + min(_LEFTOVERS, self._grace)
        for orphan in children_of(os.getpid()) - self._before - {group}:
            _signal_process(orphan, signal.SIGTERM)
        while time.monotonic() < late and (_is_group(group) or children_of(os.getpid()) - self._before):
            for reading in list(self._streams):
                self._forward(reading)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
        kill_group(group) if _is_group(group) else None
        sweep_orphans(self._before)
        for reading in list(self._streams):
            while reading in self._streams and _readable(reading):
                self._forward(reading)
            if reading in self._streams:
                os.close(reading)
        if self._holds_terminal:
            terminal.take(os.getpgrp())

    def _judge(self, seconds: float, deaths: int) -> Ending:
        status = self._status if self._status is not None else -signal.SIGKILL
        beat = self._heartbeat
        where = f"after {seconds:.0f} s"
        if beat:
            # Heartbeats are seconds apart, except the last one of a training that ends by itself.
            known = "last heartbeat at" if beat.get("state") == "begun" else "at"
            where = f"{known} step {beat['step']} (epoch {beat['epoch']})"

        def ending(outcome: str, code: int, found: str, remedy: str) -> Ending:
            return Ending(outcome, code, round(seconds, 3), beat.get("step"), beat.get("epoch"), found, remedy)

        if self._hung:
            found = f"the command hung: no sign of life for {self._stall:g} s, {where}; faultlab ended it"
            return ending("hung", HUNG, found, _HUNG_REMEDY)
        if status < 0:
            return self._judge_signal(-status, where, deaths, ending)
        if status > 0:
            hint = self._hint() or "See its last output for the reason."
            return ending("failed", status, f"the command {in_words(status)}, {where}", hint)
        state = beat.get("state")
        if state in ("begun", "failed") or (self._expect_finish and state != "finished"):
            how = f"by {beat['error']}" if beat.get("error") else ""
            how = how or (f"after {' and '.join(dict.fromkeys(self._signalled))}" if self._signalled else "")
            what = "before its training was done" if beat else "without reporting that a training finished"
            found = ", ".join(filter(None, ("the command ended with status 0", where, what, how)))
            return ending("unfinished", UNFINISHED, found, _UNFINISHED_REMEDY if beat else _UNTOLD_REMEDY)
        return ending("finished", 0, "", "")

    def _judge_signal(self, number: int, where: str, deaths: int, ending: Callable[..., Ending]) -> Ending:
        name = _name(number)
        code = 128 + number
        if name == "SIGKILL":
            if deaths > 0:
                found = f"the command was killed, {where}, for lack of memory: the system's out-of-memory killer ran"
                return ending("killed", code, found, _MEMORY_REMEDY)
            peak = memory_kills.peak()
            found = f"the command was killed by SIGKILL, {where}{peak}"
            return ending("killed", code, found, _KILLED_REMEDY)
        if name in _CRASHES:
            remedy = self._hint() or "It crashed in native code: its last output may show where."
            return ending("crashed", code, f"the command crashed with {name}, {where}", remedy)
        return ending(
            "terminated", code, f"the command was ended by {name}, {where}", "Resume from the last checkpoint."
        )

    def _hint(self) -> str:
        with contextlib.suppress(OSError):
            if any(text in self._tail for text in _FULL) or shutil.disk_usage(".").free < 1 << 20:
                return "The disk is full: free some space; the last file written may be incomplete."
        return _MEMORY_REMEDY if any(text in self._tail for text in _MEMORY) else ""


_MEMORY_REMEDY = "It ran out of memory: use smaller batches or fewer workers, or ask for more."
_KILLED_REMEDY = "A scheduler may have killed it for its time or memory limit: resume from the last checkpoint."
_HUNG_REMEDY = "If it is only slow, raise --stall; else see the stacks of its threads above, if it printed them."
_UNFINISHED_REMEDY = "It ended early, as if successful: look for a signal, an exit or a swallowed exception."
_UNTOLD_REMEDY = "Check that it trains at all, and that faultlab.guards.Heartbeat is among the Trainer's callbacks."


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Turn signals into bytes on a pipe and yield its reading end; restore all handlers afterwards."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    mine = [*FORWARDED, signal.SIGCHLD]
    before: Mapping[int, Any] = {number: signal.signal(number, lambda *_: None) for number in mine}
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    background = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in [*before.items(), (signal.SIGTTOU, background)]:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(reading)
        os.close(writing)


def _write(stream: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(stream, data) :]
        except BlockingIOError:  # a terminal that another process made non-blocking
            time.sleep(0.01)


def _readable(reading: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        return bool(selector.select(0))


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _signal_process(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
