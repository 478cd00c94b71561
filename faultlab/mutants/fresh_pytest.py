"""pytest in fresh processes, which have imported nothing of the project. This is the driver's side.

Each is a copy of a process that has imported torch and Lightning, since these imports would take most of its time.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from faultlab.core.report import dump
from faultlab.core.threads import one_thread_environment
from faultlab.engines import processes
from faultlab.errors import FaultlabError
from faultlab.mutants import warm_pytest


@dataclass
class FreshPytest:
    """A pool that runs pytest in ``cwd`` with ``path`` first on the module search path, ``jobs`` at a time.

    ``imports`` are modules to import in advance, none of the project's. Several threads may call `run`.
    """

    cwd: Path
    path: Sequence[str]
    imports: Sequence[str]
    jobs: int
    _idle: queue.Queue[_Warm | None] = field(default_factory=queue.Queue)
    _all: list[_Warm] = field(default_factory=list)

    def __enter__(self) -> FreshPytest:
        for _ in range(self.jobs):
            self._idle.put(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes at once: calls of `run` that wait for one raise an error."""
        for one in self._all:
            one.close()

    def run(self, arguments: Sequence[str], log: Path, deadline: float) -> int | None:
        """Run pytest once, and return its exit status.

        Args:
            arguments: pytest's arguments.
            log: The file for its output.
            deadline: Seconds after which it is killed.

        Returns:
            The exit status, negative for a signal; None if it reached the deadline.

        Raises:
            FaultlabError: The process that forks it was killed.
        """
        one = self._idle.get()
        try:
            if one is None:
                one = _Warm(self.imports)
                self._all.append(one)
            order = {"arguments": list(arguments), "cwd": str(self.cwd), "path": list(self.path), "log": str(log)}
            return one.run(dump({**order, "deadline": deadline}))
        except (OSError, ValueError):
            one = None
            raise FaultlabError("the process that forks fresh ones was killed") from None
        finally:
            self._idle.put(one)


class _Warm:
    """The process that forks the fresh ones."""

    def __init__(self, imports: Sequence[str]) -> None:
        environment = one_thread_environment()
        # It must import nothing of the project.
        environment.pop("PYTHONPATH", None)
        environment.pop("MUTANT_UNDER_TEST", None)
        self._copy = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(warm_pytest.__file__)), *imports],
            cwd=os.sep,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, order: str) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        self._copy = int(json.loads(self._process.stdout.readline())["pid"])
        status: int | None = json.loads(self._process.stdout.readline())["status"]
        self._copy = 0
        return status

    def close(self) -> None:
        if self._copy:
            processes.kill_group(self._copy)
        processes.kill_group(self._process.pid)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
