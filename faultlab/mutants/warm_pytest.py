"""A script that runs pytest in copies of a process that has imported slow packages and nothing of the project.

Run by the path of this file, with the modules to import as arguments. It reads orders, one line of JSON each, and
writes the copy's process id, then its exit status, or null if it reached its deadline. It imports nothing of faultlab,
which may itself be mutated.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import NoReturn

_TICK = 0.02


def main() -> None:
    """Serve orders until the input ends."""
    # This file's folder, whose modules must not shadow others of the same name.
    del sys.path[0]
    for name in sys.argv[1:]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    driver = os.getppid()
    # Otherwise a copy's garbage collector would touch, and so copy, the shared memory.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _end(_pytest(order))
        _say({"pid": pid})
        _say({"status": _wait(pid, order["deadline"], driver)})


def _pytest(order: dict[str, list[str] | str | float]) -> int:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, number)
    assert isinstance(order["path"], list)
    assert isinstance(order["arguments"], list)
    os.chdir(str(order["cwd"]))
    os.environ["PYTHONPATH"] = os.pathsep.join(order["path"])
    os.environ["PY_IGNORE_IMPORTMISMATCH"] = "1"
    sys.path[:0] = [str(order["cwd"]), *order["path"]]
    sys.argv[:] = ["pytest", *order["arguments"]]
    import pytest

    return int(pytest.main(order["arguments"]))


def _end(status: int) -> NoReturn:
    """Exit like the interpreter, after its threads, but without tearing down every module."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _wait(pid: int, seconds: float, driver: int) -> int | None:
    end = time.monotonic() + seconds
    ended = 0
    # Once the driver was killed, the result is not needed.
    while not ended and time.monotonic() < end and os.getppid() == driver:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            time.sleep(_TICK)
    # Kill its process group too. If it has ended, its process id may belong to another process by now.
    for kill in (os.killpg,) if ended else (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    if not ended:
        os.waitpid(pid, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def _say(entry: dict[str, int | None]) -> None:
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
