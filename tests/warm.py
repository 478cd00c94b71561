"""Python processes that begin with their imports done: forks of one that has done nothing but import.

A fresh interpreter pays four CPU seconds for torch and Lightning before the first line of a victim, and hundreds of
tests start one. A session's tests share ``python tests/warm.py NAME PATH``, which the first that asks starts.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

FRESH = subprocess.Popen
_RUN = subprocess.run
FOLDER = "FAULTLAB_TESTS_WARM"
_ROOT = Path(__file__).parents[1]
# What faultlab starts to train in, or to run tests that train.
_TRAINERS = ("faultlab.engines.zygote", "faultlab.engines.spawn_main", "faultlab.discovery.scout")
# What faultlab runs to its end, for its answer.
_TRIAL = "faultlab.discovery.loop_trial"
_COPIER = os.path.join("faultlab", "mutants", "warm.py")
_FAILED = 255
_OWN = runpy.run_path(str(Path(__file__).with_name("warm_imports.py")))


class Process:
    """``python ARGUMENTS`` begun in a copy of a warm process, to be used as a `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        imports: str = "torch",
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = False,
    ) -> None:
        self.args = list(map(os.fspath, arguments))
        self.returncode: int | None = None
        self._lines = b""
        self._socket = _connected(imports)
        asked = {
            "arguments": self.args,
            "cwd": os.path.abspath(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        with contextlib.ExitStack() as opened:
            streams: list[int] = []
            for number, stream in enumerate((stdin, stdout, stdout if stderr == subprocess.STDOUT else stderr)):
                if stream is None:
                    streams.append(number)
                elif stream == subprocess.DEVNULL:
                    streams.append(opened.enter_context(open(os.devnull, "r+b")).fileno())
                else:
                    streams.append(stream if isinstance(stream, int) else stream.fileno())
            if stdin == subprocess.PIPE:
                streams[0], own = os.pipe()
                opened.callback(os.close, streams[0])
                self.stdin = os.fdopen(own, "w" if text else "wb")
            if stdout == subprocess.PIPE:
                own, piped = os.pipe()
                opened.callback(os.close, piped)
                self.stdout = os.fdopen(own, "r" if text else "rb")
                streams[1:] = [piped if stream == subprocess.PIPE else stream for stream in streams[1:]]
            message = json.dumps(asked).encode()
            socket.send_fds(self._socket, [len(message).to_bytes(8, "big")], streams)
            self._socket.sendall(message)
        pid = self._told(None)
        assert pid is not None, "the warm process is gone"
        self.pid = pid

    def poll(self) -> int | None:
        """The status, negative for a signal, once the process has ended."""
        if self.returncode is None:
            with contextlib.suppress(TimeoutError):
                self._end(self._told(0))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; raises TimeoutExpired where that takes longer."""
        if self.returncode is None:
            try:
                self._end(self._told(timeout))
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends the signal to the process while it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _end(self, status: int | None) -> None:
        self.returncode = _FAILED if status is None else status
        self._socket.close()

    def _told(self, timeout: float | None) -> int | None:
        """The next number that the warm process sends; None where it is gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._lines:
            self._socket.settimeout(None if until is None else max(until - time.monotonic(), 1e-6))
            try:
                data = self._socket.recv(64)
            except BlockingIOError:
                raise TimeoutError from None
            if not data:
                return None
            self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        return int(line)


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    imports: str = "torch",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    input: str = "",
    timeout: float = 240.0,
) -> subprocess.CompletedProcess[str]:
    """Runs ``python ARGUMENTS`` to its end, as `subprocess.run` does with its text captured."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(input.encode())
        given.seek(0)
        streams = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = Process(arguments, imports=imports, cwd=cwd, env=env, **streams)
        try:
            status = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(process.args, status, *said)


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Starts what it is asked to; what faultlab itself starts to train in begins with torch imported."""

    def __new__(cls, command: Any, *arguments: Any, **options: Any) -> Any:
        if _trains(command) and not (command[2] == "pytest" and options.get("stdout") == subprocess.PIPE):
            return Process(command[1:], **options)
        return super().__new__(cls)


def completed(command: Any, **options: Any) -> Any:
    """Runs what it is asked to, in place of `subprocess.run`; trials of faultlab's begin with torch imported."""
    if not _is_ours(command) or command[1:] != ["-m", _TRIAL]:
        return _RUN(command, **options)
    return run(command[1:], **{name: options[name] for name in ("cwd", "env", "input", "timeout") if name in options})


def begin_warm(setting: Callable[[object, str, Any], None]) -> None:
    """Has what this process starts begin warm, by a function that sets attributes."""
    setting(subprocess, "Popen", Popen)
    setting(subprocess, "run", completed)


def _is_ours(command: Any) -> bool:
    return isinstance(command, list) and command[0] == sys.executable and len(command) >= 3 and FOLDER in os.environ


def _trains(command: Any) -> bool:
    if not _is_ours(command):
        return False
    return command[1:3] == ["-m", "pytest"] or command[2] in _TRAINERS or command[1].endswith(_COPIER)


@contextlib.contextmanager
def folder() -> Iterator[None]:
    """Keeps the folder where a session's processes find the warm ones, which end with it."""
    with tempfile.TemporaryDirectory(prefix="faultlab-tests-") as path:
        os.mkfifo(os.path.join(path, "alive"))
        alive = os.open(os.path.join(path, "alive"), os.O_RDWR | os.O_CLOEXEC)
        os.environ[FOLDER] = path
        try:
            yield
        finally:
            del os.environ[FOLDER]
            os.close(alive)


def _connected(name: str) -> socket.socket:
    path = os.path.join(os.environ[FOLDER], name)
    link = socket.socket(socket.AF_UNIX)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            _start(name, path)
    link.connect(path)
    return link


def _start(name: str, path: str) -> None:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with open(f"{path}.log", "wb") as log:
        started = subprocess.Popen(
            [sys.executable, __file__, name, path],
            cwd=_ROOT,
            env={**env, **threads},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    begun = time.monotonic()
    while not os.path.exists(path):
        ended = started.poll() is not None or time.monotonic() - begun > 240
        assert not ended, Path(f"{path}.log").read_text()
        time.sleep(0.02)
    # It outlives the process that started it, and nobody waits for it.
    started.returncode = 0


@dataclass
class _Server:
    """The warm process: it forks for each that asks, and tells it how the fork ended."""

    path: str
    links: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self) -> tuple[dict[str, Any], list[int]]:
        """Returns in each of the forks, with what was asked for and its standard streams; ends with the session."""
        ended, wakes = socket.socketpair()
        for one in (ended, wakes):
            one.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        alive = os.open(os.path.join(os.path.dirname(self.path), "alive"), os.O_RDONLY | os.O_NONBLOCK)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.path}.new")
        listener.listen(64)
        os.rename(f"{self.path}.new", self.path)
        with selectors.DefaultSelector() as selector:
            for source in (ended, alive, listener):
                selector.register(source, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if alive in ready:
                    os._exit(0)
                if ended in ready:
                    with contextlib.suppress(BlockingIOError):
                        ended.recv(4096)
                    self._reap()
                if listener in ready:
                    link, _ = listener.accept()
                    asked, descriptors = _asked(link)
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        return asked, descriptors
                    for descriptor in descriptors:
                        os.close(descriptor)
                    self.links[pid] = link
                    _tell(link, pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                link = self.links.pop(ended[0])
                _tell(link, os.waitstatus_to_exitcode(ended[1]))
                link.close()


def _asked(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, descriptors, _, _ = socket.recv_fds(link, 8, 3)
    length, text = int.from_bytes(head, "big"), b""
    while len(text) < length:
        text += link.recv(length - len(text))
    return json.loads(text), list(descriptors)


def _tell(link: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        link.sendall(b"%d\n" % number)


def _become(asked: dict[str, Any], streams: list[int], path: list[str]) -> None:
    """Makes this process what a fresh interpreter would be that was started as asked."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    if asked["session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    named = os.environ.get("PYTHONPATH", "")
    sys.path[:] = [asked["cwd"], *(os.path.abspath(folder) for folder in named.split(os.pathsep) if folder), *path]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    _OWN["forget_if_of_no_use"](asked["arguments"])
    tempfile.tempdir = None
    begin_warm(setattr)


def _main(name: str, path: str) -> NoReturn:
    """Serves, and in each copy runs what was asked for."""
    # By its file, since projects have a package `tests` of their own; its folder's modules are nobody's.
    found = sys.path[1:]
    sys.path[:] = found
    for module in _OWN["IMPORTS"][name]:
        # Of what not every test needs, some may not be installed.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        _OWN["import_worker"]()
    gc.collect()
    gc.freeze()
    asked, streams = _Server(path).serve()
    _become(asked, streams, found)
    _leave(_status_of(asked["arguments"]))


def _status_of(arguments: list[str]) -> int:
    """Runs ``python ARGUMENTS`` here, and returns its status."""
    what, *rest = arguments
    try:
        if what == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        elif what == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = os.path.dirname(what)
            runpy.run_path(what, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _leave(status: int) -> NoReturn:
    """Ends as an interpreter does, but for taking torch apart, which costs ten times as much as a short command."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _main(*sys.argv[1:])
