"""The driver's side of `faultlab.engines.keeper`: where keepers are found, how they are started, asked and ended.

A keeper listens in a folder that is its user's alone, on a socket named after the working folder that it is for.
Whatever is amiss with one, the driver starts a process of its own instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faultlab.core.messages import Lines, encode
from faultlab.core.threads import one_thread_environment
from faultlab.errors import UsageError

VARIABLE = "FAULTLAB_WARM"
SHADOWED = "shadowed"
_MINUTES = 5.0
_SUFFIX = ".keeper"
_NO = ("", "0", "false", "no")
# A keeper answers at once, but for one that is importing torch from a slow disk.
_PATIENCE = 300.0
_LEARN_PATIENCE = 1.0
_ATTEMPTS = 3
# What systems allow for the path of a socket.
_LONGEST_ADDRESS = 100


def minutes() -> float:
    """How long a process is to stay warm for the next command; not at all in continuous integration, unless told to.

    Raises UsageError where the environment's wish can't be read.
    """
    wish = os.environ.get(VARIABLE)
    if wish is None:
        return 0.0 if os.environ.get("CI", "").lower() not in _NO else _MINUTES
    try:
        found = float(wish or 0)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(f"{VARIABLE}={wish} is no number of minutes\n    0 leaves no process for the next command.")
    return found


def possible() -> bool:
    """Whether this system tells who is at the other end of a socket, and has descriptors of processes."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


class Borrowed:
    """A process that a keeper has forked for this one: watched, waited for and killed as a child of its own is."""

    returncode = None

    def __init__(self, pid: int, connection: socket.socket) -> None:
        # As long as it is open, the keeper knows that it is needed.
        self._connection = connection
        self._process = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None as long as it runs; how it ended its parent alone hears."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired("keeper", timeout or 0)
        return 0

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def close(self) -> None:
        """To be called once it has ended."""
        os.close(self._process)
        self._connection.close()

    def _ended(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(None if timeout is None else 1000 * timeout))


class Keeping:
    """What one command wants of the keeper of its folder."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes

    def process(self, driver: str, folders: Sequence[str]) -> Borrowed | None:
        """A process that connects to the driver's address, as `zygote` does, with much imported already.

        ``folders`` are those that the user's code is in. None where there is no such process to be had.
        """
        from faultlab.engines import inherited

        try:
            fingerprint, handed = inherited.fingerprint(), inherited.handed_over(one_thread_environment())
            wish = {"ask": "process", "driver": driver, "folders": list(folders), "minutes": self._minutes}
            # The first to be asked may have been left by another command, or know what has changed: then it ends.
            for _ in range(_ATTEMPTS):
                connection, started = self._connection(fingerprint)
                answer = _ask(connection, {**wish, "fingerprint": fingerprint, "inherited": handed}, [1, 2])
                if "pid" in answer:
                    return Borrowed(answer["pid"], connection)
                connection.close()
                if started or answer.get("refused") == SHADOWED:
                    return None
        except (OSError, KeyError):
            return None
        return None

    def learn(self, learnt: dict[str, Any]) -> None:
        """Tells the keeper what to have imported for the next process; see `preloaded.Preloaded.add`."""
        with contextlib.suppress(OSError):
            connection = connect(_address(Path.cwd()))
            if connection is not None:
                with connection:
                    connection.settimeout(_LEARN_PATIENCE)
                    connection.sendall(encode({"ask": "learn", "learnt": learnt}))

    def _connection(self, fingerprint: str) -> tuple[socket.socket, bool]:
        """A connection to the folder's keeper, and whether it was started for it."""
        address = _address(Path.cwd())
        if (connection := connect(address)) is not None:
            return connection, False
        with _locked(address.parent):
            # Another command may have been quicker.
            if (connection := connect(address)) is not None:
                return connection, False
            _sweep(address.parent)
            _start(address, fingerprint, self._minutes)
            if (connection := connect(address)) is None:
                raise ConnectionRefusedError(str(address))
            return connection, True


def states() -> list[dict[str, Any]]:
    """What each of this user's keepers says of itself; see `Keeper.state`."""
    return _of_all({"ask": "state"})


def end_all() -> list[dict[str, Any]]:
    """Has all of this user's keepers end; what they have forked for commands that still run stays with these."""
    return _of_all({"ask": "end"})


def discard(address: Path, identity: os.stat_result) -> None:
    """Removes a keeper's socket, if it still is its own, and the folder with the last."""
    with contextlib.suppress(OSError), _locked(address.parent):
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(address), identity):
                address.unlink()
        address.parent.rmdir()


def peer(connection: socket.socket) -> int:
    """The user at the other end."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(user)


def _of_all(question: dict[str, Any]) -> list[dict[str, Any]]:
    answers = []
    folder = _folder()
    for address in sorted(folder.glob("*" + _SUFFIX)) if _private(folder) else ():
        with contextlib.suppress(OSError, ValueError):
            connection = connect(address)
            if connection is not None:
                with connection:
                    answers.append(_ask(connection, question))
    return list(filter(None, answers))


def _ask(connection: socket.socket, question: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
    """The answer; empty where the keeper has ended instead."""
    connection.settimeout(_PATIENCE)
    data, lines = encode(question), Lines()
    with contextlib.suppress(ConnectionError):
        if descriptors:
            data = data[socket.send_fds(connection, [data], descriptors) :]
        connection.sendall(data)
        while data := connection.recv(1 << 16):
            for answer in lines.feed(data):
                return answer
    return {}


def _folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _private(Path(runtime)):
        return Path(runtime) / "faultlab"
    return Path(tempfile.gettempdir()) / f"faultlab-{os.geteuid()}"


def _address(working: Path) -> Path:
    name = hashlib.sha256(os.fsencode(working)).hexdigest()[:16]
    address = _folder() / (name + _SUFFIX)
    if len(os.fsencode(address)) > _LONGEST_ADDRESS:
        raise OSError(f"{address} is too long for a socket")
    return address


def _private(folder: Path) -> bool:
    """Whether it is a folder that only this user can look into."""
    try:
        return _owned(folder.lstat())
    except OSError:
        return False


def _owned(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def connect(address: Path) -> socket.socket | None:
    """A connection to the keeper there; None where there is none, or it is another user's."""
    if not _private(address.parent):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(address))
        if peer(connection) == os.geteuid():
            return connection
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    connection.close()
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds all other commands of this user off from starting and ending keepers; makes the folder if there is none."""
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not _owned(os.fstat(descriptor)):
                raise PermissionError(f"{folder} is open to others")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it before may have removed the folder.
            if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                yield
                return
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Removes the sockets of keepers that were killed."""
    for address in folder.glob("*" + _SUFFIX):
        connection = connect(address)
        if connection is None:
            address.unlink(missing_ok=True)
        else:
            connection.close()


def _start(address: Path, fingerprint: str, minutes: float) -> None:
    # It listens before it is started, so that whoever connects meanwhile waits for it.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(address))
        listener.listen(16)
        arguments = [str(listener.fileno()), str(address), fingerprint, str(minutes), str(time.time_ns())]
        started = subprocess.Popen(
            [sys.executable, "-m", "faultlab.engines.keeper", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[listener.fileno()],
            env=one_thread_environment(),
        )
    # The keeper is no child of a command: what was started forks it and ends.
    started.wait()
