"""The process that stays warm between commands: it has imported installed packages and forks one for each command.

Run as ``python -m faultlab.engines.keeper DESCRIPTOR ADDRESS FINGERPRINT MINUTES BEGAN`` by `faultlab.engines.keeping`.
It forks what the driver would have started itself, `faultlab.engines.zygote`. It ends after some minutes without a
request.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from faultlab.core.messages import encode
from faultlab.engines import keeping, processes, zygote
from faultlab.engines.client import Client
from faultlab.engines.preloaded import Learning, Preloaded, of_every_training
from faultlab.engines.trial import Trial

_TICK = 5.0
# As a share of the machine's memory.
_LEAST_FREE = 0.1
_ENDING = 10  # s


class Keeper:
    """Serves the commands with its fingerprint, on a socket that already listens."""

    def __init__(self, listener: socket.socket, address: Path, fingerprint: str, minutes: float, began: int) -> None:
        self._listener: socket.socket | None = listener
        # A client that connected may be gone again.
        listener.setblocking(False)
        self._address = address
        self._identity = os.stat(address)
        self._fingerprint = fingerprint
        self._patience = 60 * minutes
        self._folder = os.getcwd()
        self._loaded = Preloaded(began)
        self._used = time.monotonic()
        self._clients: list[Client] = []
        self._children: dict[int, int] = {}
        self._trial: Trial | None = None
        self._wanted: list[dict[str, Any]] = []
        self._unfit: set[str] = set()
        self._successor: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        signal.signal(signal.SIGTERM, self._end)

    def serve(self) -> str:
        """Return in each process that is forked for a command, with the address of the command's driver."""
        import torch

        torch.set_num_threads(1)
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(1)
        self._loaded.leave_projects()
        if self._loaded.record():
            self._end()
        self._settle()
        while True:
            for key, _ in self._selector.select(min(_TICK, self._patience / 4)):
                if key.fileobj is self._listener:
                    self._accept(self._listener)
                elif isinstance(key.data, Client) and (driver := self._serve_client(key.data)):
                    return driver
            self._reap()
            self._judge()
            self._learn()
            self._end_if_useless()

    def _accept(self, listener: socket.socket) -> None:
        if (client := Client.accept(listener)) is not None:
            self._clients.append(client)
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def _serve_client(self, client: Client) -> str:
        """Return the driver's address in the process that was forked for it; an empty string in the keeper."""
        messages = client.receive()
        if messages is None:
            self._clients.remove(client)
            self._selector.unregister(client.socket)
            client.close()
        for message in messages or ():
            client.holds = message["ask"] in ("process", "learn")
            if message["ask"] == "learn":
                self._wanted.append(message["learnt"])
            elif message["ask"] == "state":
                client.answer(self._state())
            elif message["ask"] == "end":
                self._close()
                client.answer(self._state())
            elif refused := self._refusal(message):
                # Close first, so that a refused client finds no keeper when it asks again.
                if refused != keeping.SHADOWED:
                    self._close()
                client.answer({"refused": refused})
            elif client.waits() and not self._fork(client, message):
                return str(message["driver"])
        return ""

    def _refusal(self, message: dict[str, Any]) -> str:
        if message["fingerprint"] != self._fingerprint:
            return "started in another environment"
        if self._loaded.changed():
            return "installed packages have changed"
        return keeping.SHADOWED if self._loaded.shadowed(message["folders"]) else ""

    def _fork(self, client: Client, message: dict[str, Any]) -> int:
        self._patience = 60 * message["minutes"]
        pid = processes.fork()
        if not pid:
            self._become(client.descriptors, message["inherited"])
            return pid
        self._watch(pid)
        client.forget_descriptors()
        client.answer({"pid": pid})
        return pid

    def _become(self, printed: list[int], handed: dict[str, Any]) -> None:
        """Turn this copy into the process that the driver would have started."""
        self._let_go()
        if self._listener is not None:
            self._listener.close()
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._loaded.begin(handed)
        for descriptor, at in zip(printed, (1, 2)):
            os.dup2(descriptor, at)
            os.close(descriptor)
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]

    def _learn(self) -> None:
        """Let a copy import what commands will need: if that fails, this process continues to serve."""
        if self._trial is not None or self._listener is None or not self._wanted:
            return
        learnt = self._loaded.lacking(self._wanted.pop(0), self._unfit)
        if not learnt["modules"]:
            return
        trial = Trial(learnt)
        if trial.pid:
            self._trial = trial
            self._watch(trial.pid)
            self._selector.register(trial, selectors.EVENT_READ)
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_go()
        # Some packages look for their settings there.
        os.chdir(self._folder)
        if self._loaded.add(learnt) or processes.children_of(os.getpid()):
            os._exit(1)
        self._settle()
        self._wanted.clear()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        signal.signal(signal.SIGTERM, self._end)
        trial.take_over()

    def _judge(self) -> None:
        """Leave new commands to the copy that has imported more, or exclude what could not be imported."""
        trial = self._trial
        if trial is None or (fit := trial.verdict()) is None:
            return
        self._trial = None
        self._selector.unregister(trial)
        if fit:
            self._stop_listening()
        trial.let_go()
        if fit:
            if trial.pid in self._children:
                self._forget(trial.pid)
            self._retire()
            return
        modules, least = set(trial.learnt["modules"]), of_every_training(trial.learnt)
        if modules == set(least["modules"]):
            self._unfit |= modules
        else:
            self._unfit |= modules - set(least["modules"])
            self._wanted.insert(0, least)

    def _retire(self) -> None:
        """Stay for the commands that have processes of this keeper, and keep its successor alive meanwhile."""
        with contextlib.suppress(OSError):
            self._successor = successor = keeping.connect(self._address)
            if successor is not None:
                for learnt in [{"modules": []}, *self._wanted]:
                    successor.sendall(encode({"ask": "learn", "learnt": learnt}))

    def _settle(self) -> None:
        zygote.settle()
        # A working folder can't be unmounted.
        os.chdir("/")

    def _end_if_useless(self) -> None:
        now = time.monotonic()
        if self._children or any(client.holds for client in self._clients):
            self._used = now
        elif self._listener is None:
            # Clients that connected before it stopped listening still get an answer.
            if not self._clients:
                self._end()
        elif now - self._used > self._patience or self._gone() or _short_of_memory():
            self._end()

    def _gone(self) -> bool:
        """Return True if no client can connect any more: the socket's file or the folder that it serves is gone."""
        try:
            return not os.path.samestat(self._identity, os.stat(self._address)) or not os.path.isdir(self._folder)
        except OSError:
            return True

    def _state(self) -> dict[str, Any]:
        busy = any(client.holds for client in self._clients)
        idle = 0.0 if busy else time.monotonic() - self._used
        return {
            "pid": os.getpid(),
            "folder": self._folder,
            "busy": busy,
            "learning": self._trial is not None,
            "left": max(0.0, self._patience - idle),
            "memory": processes.resident(),
        }

    def _watch(self, pid: int) -> None:
        self._children[pid] = os.pidfd_open(pid)
        self._selector.register(self._children[pid], selectors.EVENT_READ)

    def _reap(self) -> None:
        for pid in list(self._children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._forget(pid)

    def _forget(self, pid: int) -> None:
        descriptor = self._children.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _let_go(self) -> None:
        """Close in a copy what belongs to the process that it is a copy of."""
        self._selector.close()
        for client in self._clients:
            client.socket.close()
        for descriptor in self._children.values():
            os.close(descriptor)
        if self._trial is not None:
            self._trial.let_go()
            self._trial = None
        self._clients.clear()
        self._children.clear()

    def _close(self) -> None:
        """Accept no more commands; those that have processes of this keeper keep them."""
        if self._listener is not None:
            keeping.discard(self._address, self._identity)
            self._stop_listening()
        if self._trial is not None:
            self._trial.end()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _end(self, *_: Any) -> NoReturn:
        self._close()
        if self._successor is not None:
            # The exit handlers of packages now belong to the successor.
            os._exit(0)
        # Exit handlers of packages clean up after them, and must not block this process.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_ENDING)
        sys.exit(0)


def _short_of_memory() -> bool:
    memory = processes.memory()
    return bool(memory) and memory["MemAvailable"] < _LEAST_FREE * memory["MemTotal"]


def main(descriptor: str, address: str, fingerprint: str, minutes: str, began: str) -> None:
    if os.fork():
        os._exit(0)
    listener = socket.socket(fileno=int(descriptor))
    driver = Keeper(listener, Path(address), fingerprint, float(minutes), int(began)).serve()
    zygote.main(driver, Learning())


if __name__ == "__main__":
    main(*sys.argv[1:])
