"""The fork engine for targets that are objects of the calling process: the scenario's fork server is a copy of it.

The calling process may have threads, as a Jupyter kernel has: they are not copied, and the copy computes on one thread.
What can't be copied is refused with a remedy.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from faultlab.core.orders import Order
from faultlab.engines import processes, zygote
from faultlab.engines.fork_self import CollectedEngine, Send
from faultlab.errors import TargetError, UsageError

_REMEDY = (
    "Restart the process (in a notebook: the kernel) and call faultlab.run() before anything else computes, "
    "or write the module and its data to a file and run a scenario: `faultlab init`."
)


def check_copiable() -> None:
    """Raise UsageError if no copy of this process can train."""
    if not hasattr(os, "fork"):
        raise UsageError(
            "faultlab.run() copies this process to break objects, and this system can't fork (Linux and macOS can)\n"
            "    Write the module and its data to a file and run a scenario: `faultlab init`."
        )
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise UsageError(f"this process uses CUDA, and a copy of it can't\n    {_REMEDY}")


class LiveEngine(CollectedEngine):
    """See `faultlab.engines.Engine`. ``prepare`` gives the copy of this process the objects of its target."""

    # Nothing heavy is imported in the copy, since the module's packages are imported already.
    patience = 60.0

    def __init__(self, jobs: int, prepare: Callable[[], None]) -> None:
        super().__init__(jobs, prepare, _unused)

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        check_copiable()
        super().open(name, scenario)

    @property
    def _refusal(self) -> str:
        return os.path.join(self.root, "refusal.json")

    def _open(self) -> None:
        try:
            super()._open()
        except TargetError as error:
            if not os.path.exists(self._refusal):
                raise TargetError(error.where, error.message, error.remedy or _REMEDY) from None
            with open(self._refusal, encoding="utf-8") as file:
                refused = TargetError.from_json(json.load(file))
            raise refused from None

    def _serve(self) -> NoReturn:
        _own_streams()
        try:
            self._become_target()
        except TargetError as error:
            with open(self._refusal, "w", encoding="utf-8") as file:
                json.dump(error.to_json(), file)
            os._exit(0)

    def _become_target(self) -> NoReturn:
        from faultlab.frameworks.torch import threads
        from faultlab.injection import hooks, registry
        from faultlab.worker.bootstrap import import_target

        threads.use_one()
        if not _can_train():
            message = "this process has computed gradients on a machine with an accelerator, and a copy of it can't"
            raise TargetError(("module",), message, _REMEDY)
        self._prepare()
        name, scenario = self._scenario
        target = import_target(scenario, os.path.join(self.root, f"import-{os.getpid()}"))
        registry.load()
        hooks.load(target.framework.name)
        zygote.serve(self._address, name, target, {})


def _own_streams() -> None:
    """Print to the descriptors: a notebook's streams need threads that were not copied."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        raw = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        for former in (getattr(sys, name), getattr(sys, f"__{name}__")):
            # Handlers of loggers hold it. A stream that can't be changed prints to a descriptor already.
            with contextlib.suppress(AttributeError):
                former.write, former.flush = stream.write, stream.flush
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _can_train() -> bool:
    """Return whether copies of this process can compute gradients; asked in a copy, which the answer may spoil."""
    pid = processes.fork()
    if not pid:
        import torch

        try:
            torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _unused(order: Order, send: Send) -> None:
    raise NotImplementedError("the fork server of a target executes its orders itself")
