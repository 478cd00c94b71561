"""The driver side of `faultlab.engines.keeper`: how keepers are found, started, queried and ended.

A keeper listens in a folder that only its user can access, on a socket named after the working folder that it serves.
If anything is wrong with a keeper, the driver starts a process of its own instead.
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
# A keeper answers at once, unless it is importing torch from a slow disk.
_PATIENCE = 300.0
_LEARN_PATIENCE = 1.0
_ATTEMPTS = 3
# The limit of systems on the length of a socket's path.
_LONGEST_ADDRESS = 100


def minutes() -> float:
    """Return how long a process stays warm for the next command; by default 0 in continuous integration.

    Raise UsageError if the environment variable is invalid.
    """
    wish = os.environ.get(VARIABLE)
    if wish is None:
        return 0.0 if os.environ.get("CI", "").lower() not in _NO else _MINUTES
    try:
        found = float(wish or 0)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(f"invalid {VARIABLE}={wish}: expected a number of minutes\n    Set it to 0 to keep none.")
    return found


def possible() -> bool:
    """Return True if this system identifies the peer of a socket and has process descriptors."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


class Borrowed:
    """A process that a keeper forked for this one: watched, waited for and killed like a child process."""

    returncode = None

    def __init__(self, pid: int, connection: socket.socket) -> None:
        # The keeper knows that it is needed as long as this is open.
        self._connection = connection
        self._process = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return None while it runs, else 0: only its parent learns its exit status."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired("keeper", timeout or 0)
        return 0

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def close(self) -> None:
        """Release the descriptors, after it has ended."""
        os.close(self._process)
        self._connection.close()

    def _ended(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(None if timeout is None else 1000 * timeout))


class Keeping:
    """The requests of one command to the keeper of its folder."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes

    def process(self, driver: str, folders: Sequence[str]) -> Borrowed | None:
        """Return a process that connects to the driver's address like `zygote`, with many packages already imported.

        ``folders`` are those of the user's code. Return None if no such process is available.
        """
        from faultlab.engines import inherited

        try:
            fingerprint, handed = inherited.fingerprint(), inherited.handed_over(one_thread_environment())
            wish = {"ask": "process", "driver": driver, "folders": list(folders), "minutes": self._minutes}
            # The first one found may be left by another command, or find that packages changed: then it ends.
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
        """Report to the keeper what to import for the next process; see `preloaded.Preloaded.add`."""
        with contextlib.suppress(OSError):
            connection = connect(_address(Path.cwd()))
            if connection is not None:
                with connection:
                    connection.settimeout(_LEARN_PATIENCE)
                    connection.sendall(encode({"ask": "learn", "learnt": learnt}))

    def _connection(self, fingerprint: str) -> tuple[socket.socket, bool]:
        """Return a connection to the folder's keeper, and True if it was started for this."""
        address = _address(Path.cwd())
        if (connection := connect(address)) is not None:
            return connection, False
        with _locked(address.parent):
            # Another command may have been faster.
            if (connection := connect(address)) is not None:
                return connection, False
            _sweep(address.parent)
            _start(address, fingerprint, self._minutes)
            if (connection := connect(address)) is None:
                raise ConnectionRefusedError(str(address))
            return connection, True


def states() -> list[dict[str, Any]]:
    """Return the state of each of this user's keepers; see `Keeper._state`."""
    return _of(_addresses(), {"ask": "state"})


def end_all() -> list[dict[str, Any]]:
    """End all of this user's keepers; processes that they forked for running commands are not affected."""
    return _of(_addresses(), {"ask": "end"})


def end_own() -> list[dict[str, Any]]:
    """End the keeper of the working folder only, as `end_all` ends all."""
    return _of([address for address in _addresses() if address == _address(Path.cwd())], {"ask": "end"})


def discard(address: Path, identity: os.stat_result) -> None:
    """Remove a keeper's socket, if it is still its own, and the folder with the last one."""
    with contextlib.suppress(OSError), _locked(address.parent):
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(address), identity):
                address.unlink()
        address.parent.rmdir()


def peer(connection: socket.socket) -> int:
    """Return the user id of the peer."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(user)


def _addresses() -> list[Path]:
    folder = _folder()
    return sorted(folder.glob("*" + _SUFFIX)) if _private(folder) else []


def _of(addresses: Sequence[Path], question: dict[str, Any]) -> list[dict[str, Any]]:
    answers = []
    for address in addresses:
        with contextlib.suppress(OSError, ValueError):
            connection = connect(address)
            if connection is not None:
                with connection:
                    answers.append(_ask(connection, question))
    return list(filter(None, answers))


def _ask(connection: socket.socket, question: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
    """Return the answer; empty if the keeper ended instead."""
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
    """Return True for a folder that only this user can access."""
    try:
        return _owned(folder.lstat())
    except OSError:
        return False


def _owned(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def connect(address: Path) -> socket.socket | None:
    """Return a connection to the keeper at the address; None if there is none or it is another user's."""
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
    """Lock out this user's other commands while keepers are started or ended; create the folder if needed."""
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not _owned(os.fstat(descriptor)):
                raise PermissionError(f"{folder} is open to others")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A previous holder of the lock may have removed the folder.
            if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                yield
                return
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove the sockets of keepers that were killed."""
    for address in folder.glob("*" + _SUFFIX):
        connection = connect(address)
        if connection is None:
            address.unlink(missing_ok=True)
        else:
            connection.close()


def _start(address: Path, fingerprint: str, minutes: float) -> None:
    # It listens before the keeper starts, so that clients can connect and wait.
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
    # The keeper is not a child of a command: the started process forks it and ends.
    started.wait()
