"""The fork engine's driver side: fork servers connect to it, and it hands each order to the one nearest to its trigger.

The clean run is the snapshot run: it leaves a snapshot at every step where a fault begins, so the clean prefix is paid
once. Orders whose snapshot never came to be (live loader workers can't be copied) run from the beginning instead, to
the same verdict.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.core.messages import Lines, encode
from faultlab.core.orders import OpenScenario, Order, Place
from faultlab.core.results import Outcome
from faultlab.core.threads import one_thread_environment
from faultlab.engines import Capabilities, keeping, refuse_groups
from faultlab.engines.admission import Admission
from faultlab.engines.processes import show
from faultlab.engines.waiting import Waiting
from faultlab.errors import TargetError

_OVERDUE = 30.0
_IMPORT_DEADLINE = 600.0
# What systems allow for the path of a socket; temporary folders may be longer.
_LONGEST_ADDRESS = 100


def _longest_first(order: Order) -> tuple[int, int]:
    """Return a sort key: the snapshot run first, since others wait for it, then the longest remaining runs."""
    if order.snapshots:
        return (0, 0)
    if isinstance(order.at, int):
        return (2, order.at)
    # A run that goes on from its checkpoints trains once more.
    return (1, 0 if order.training and order.training.reload else 2 if order.at == "fit" else 1)


def _from_nothing(order: Order) -> Order:
    """The order for a run that is forked off no other, and that none is forked off."""
    return replace(order.with_training(snapshots=()) if order.snapshots else order, at="construct")


class _Link:
    """One fork server's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.setblocking(False)
        self.unsent = bytearray()
        self.lines = Lines()
        self.place: Place | None = None
        self.scenario = ""
        self.pid = 0
        self.running: dict[str, tuple[Order, float]] = {}

    def send(self, message: Mapping[str, Any]) -> None:
        self.unsent += encode(message)
        self.flush()

    def flush(self) -> None:
        """Sends what the fork server takes now: one that is itself waiting to be heard must not be waited for."""
        try:
            while self.unsent:
                del self.unsent[: self.socket.send(self.unsent)]
        except BlockingIOError:
            return
        except OSError:
            # A fork server that is gone shows as the end of its stream, where its orders are taken back.
            self.unsent.clear()

    def give(self, order: Order) -> None:
        self.running[order.id] = (order, time.monotonic())
        self.send({"order": order.to_json()})


class ForkEngine:
    """See `faultlab.engines.Engine`."""

    capabilities = Capabilities(snapshots=True, echo=True, shared_filesystem=True)

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.alone = False
        self._folder = tempfile.TemporaryDirectory(prefix="faultlab-", ignore_cleanup_errors=True)
        self._address = os.path.join(self._folder.name, "s")
        if len(self._address) > _LONGEST_ADDRESS:
            self._folder.cleanup()
            self._folder = tempfile.TemporaryDirectory(prefix="faultlab-", dir="/tmp", ignore_cleanup_errors=True)
            self._address = os.path.join(self._folder.name, "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._links: list[_Link] = []
        self._warm: subprocess.Popen[bytes] | keeping.Borrowed | None = None
        self._keeping: keeping.Keeping | None = None
        self._scenario: tuple[str, Mapping[str, Any]] = ("", {})
        self._finished: list[Outcome] = []
        self._ended_scenarios: dict[str, Outcome] = {}
        self._taken_back: list[Order] = []
        self._preload: list[str] = []
        self._lazy: list[str] = []
        self._imported: list[str] = []
        self._learnt: list[str] = []
        self._serial = 0
        self._openings = 0
        self._admission = Admission()
        self._known: set[str] = set()

    def keep_warm(self) -> None:
        """See Engine; raises UsageError where the environment's wish can't be read."""
        minutes = keeping.minutes()
        self._keeping = keeping.Keeping(minutes) if minutes and keeping.possible() else None

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        self._hang_up()
        if isinstance(self._warm, keeping.Borrowed):
            # The keeper has learnt from the scenario before; its next process knows that too.
            self._end_warm()
        # Two scenarios may have one name; what still trickles in of the one before must not be taken for this one's.
        self._serial += 1
        self._scenario = (f"{self._serial}-{name}", scenario)
        self._lazy, self._imported = [], []
        self._admission = Admission()
        self._known = set()
        learnt, self._learnt = self._learnt, []
        for module in learnt:
            self.preload(module)
        self._open()

    def preload(self, package: str) -> None:
        """Have later scenarios find a package imported already, unless none is to come."""
        if isinstance(self._warm, keeping.Borrowed):
            self._learn({"modules": [package], "environment": {}})
        if self.alone:
            self._learnt.append(package)
        elif package not in self._preload:
            self._preload.append(package)
            if (warm := self._link("warm")) is not None and not isinstance(self._warm, keeping.Borrowed):
                warm.send({"import": package})

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        refuse_groups(self, orders)
        waiting = Waiting(sorted(orders, key=_longest_first))
        suspects: list[Order] = []
        alone = ""
        self._preload_lazy()
        self._prepare_known(orders)
        while waiting or suspects or self._running():
            if suspects and not waiting and not self._running():
                # One at a time: a victim that kills its fork server must not take the others' second chance with it.
                alone = suspects[0].id
                waiting.add(suspects.pop(0))
            self._dispatch(waiting)
            self._listen()
            for order in self._taken_back:
                if order.id == alone:
                    self._finished.append(Outcome(order.id, lost="it kills the process that watches over it"))
                else:
                    suspects.append(_from_nothing(order))
            self._taken_back.clear()
            if self._finished:
                # No slot stays empty while the caller judges what has ended and waits for the disk.
                self._dispatch(waiting)
            finished, self._finished = self._finished, []
            yield from finished

    def close(self) -> None:
        for link in list(self._links):
            self._drop(link)
        self._end_warm()
        self._listener.close()
        self._selector.close()
        self._folder.cleanup()

    @property
    def root(self) -> str:
        """See Engine."""
        return self._folder.name

    def _running(self) -> int:
        return len(self._given())

    def _given(self) -> list[Order]:
        return [order for link in self._links if link.place != "warm" for order, _ in link.running.values()]

    def _link(self, place: Place) -> _Link | None:
        scenario = "" if place == "warm" else self._scenario[0]
        return next((link for link in self._links if link.place == place and link.scenario == scenario), None)

    def _dispatch(self, waiting: Waiting) -> None:
        given = self._given()
        snapshot_run_runs = any(order.snapshots for order in given)

        def fork_server(place: Place) -> _Link | None:
            link = self._link(place)
            return self._construct() if link is None and (place == "construct" or not snapshot_run_runs) else link

        # Those that sleep are as many again: they take time and memory, but no core.
        free = {sleeps: self.jobs - sum(order.sleeps == sleeps for order in given) for sleeps in (False, True)}
        free[False] = min(free[False], self._admission.room(len(given)))
        for order, link in waiting.take(free, fork_server):
            link.give(order)
            snapshot_run_runs = snapshot_run_runs or bool(order.snapshots)

    def _preload_lazy(self) -> None:
        """Has every later victim find imported what the clean run imported on its way.

        Only once the baseline's runs are over: they are compared with each other, so all of them go one way. That
        importing early changes nothing is what the null canary shows.
        """
        construct = self._link("construct")
        if self._lazy and construct is not None:
            construct.send({"imports": self._lazy})
            self._imported += self._lazy
            # The next scenario's victims are spared torch's share too, which is much the same for every training.
            of_torch = [module for module in self._lazy if module.startswith("torch.")]
            self._learnt += of_torch
            self._learn({"modules": of_torch, "environment": {}})
        self._lazy = []

    def _prepare_known(self, orders: Iterable[Order]) -> None:
        """Have the known good runs that guards compare with combined once, before victims are forked."""
        told = [order.training.advice or {} for order in orders if order.training is not None]
        files = {advice["known"] for advice in told if advice.get("known")}
        construct = self._link("construct")
        if construct is not None and (new := files - self._known):
            self._known |= new
            construct.send({"known": sorted(new)})

    def _construct(self) -> _Link | None:
        if self._link("construct") is None:
            self._open()
        return self._link("construct")

    def _open(self) -> None:
        """Has the warm process fork this scenario's own, which imports the user's code."""
        self._start_warm()
        name, scenario = self._scenario
        self._openings += 1
        # Of a process that was killed the end may be heard of only after the next one has been asked for.
        opening = f"{self._openings}/{name}"
        warm = self._link("warm")
        assert warm is not None
        root = os.path.join(self.root, f"import-{self._openings}")
        warm.give(Order(opening, OpenScenario(scenario), root=root, deadline=float("inf")))
        asked = time.monotonic()
        while self._link("construct") is None:
            self._listen()
            if time.monotonic() - asked > _IMPORT_DEADLINE:
                raise TargetError((), f"importing the target takes more than {_IMPORT_DEADLINE:.0f} s")
            ended = self._ended_scenarios.pop(opening, None)
            if ended is not None:
                if ended.target_error is not None:
                    raise ended.target_error
                message = f"importing the target ended the process with status {ended.exit}"
                raise TargetError((), f"{message}\n{ended.output}")
            if self._link("warm") is None:
                raise TargetError((), "the process that imports the target was killed")
        self._prepare_again()

    def _prepare_again(self) -> None:
        """Give a restarted fork server its predecessor's state, so that no run pays for it within its deadline."""
        construct = self._link("construct")
        if construct is not None and (self._imported or self._known):
            construct.send({"imports": self._imported, "known": sorted(self._known)})

    def _start_warm(self) -> None:
        if self._link("warm") is not None:
            return
        self._end_warm()
        if self._keeping is not None:
            self._warm = self._keeping.process(self._address, self._scenario[1].get("path", ()))
        if self._warm is None or not self._greeted(self._warm):
            self._end_warm()
            command = [sys.executable, "-m", "faultlab.engines.zygote", self._address]
            self._warm = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=one_thread_environment()
            )
            if not self._greeted(self._warm):
                status = self._warm.returncode
                raise TargetError((), f"the process that imports torch ended with status {status}")
        for package in self._preload:
            self._link("warm").send({"import": package})  # type: ignore[union-attr]

    def _greeted(self, warm: subprocess.Popen[bytes] | keeping.Borrowed) -> bool:
        """Waits for the warm process to connect; False where it has ended instead."""
        while self._link("warm") is None:
            self._listen()
            if warm.poll() is not None:
                return False
        return True

    def _end_warm(self) -> None:
        if (link := self._link("warm")) is not None:
            self._drop(link)
        if self._warm is not None:
            try:
                self._warm.wait(10)
            except subprocess.TimeoutExpired:
                self._warm.kill()
                self._warm.wait()
            if isinstance(self._warm, keeping.Borrowed):
                self._warm.close()
            self._warm = None

    def _learn(self, learnt: dict[str, Any]) -> None:
        """Tells the keeper what the next process should find imported, if there is one and it lacks anything."""
        if self._keeping is not None and learnt["modules"]:
            self._keeping.learn(learnt)

    def _listen(self) -> None:
        for link in self._links:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.unsent else 0)
            # A training of a thousand steps may have as many fork servers, most of which are asked for nothing now.
            if self._selector.get_key(link.socket).events != events:
                self._selector.modify(link.socket, events, link)
        for key, events in self._selector.select(0.5):
            if key.fileobj is self._listener:
                connection, _ = self._listener.accept()
                link = _Link(connection)
                self._links.append(link)
                self._selector.register(connection, selectors.EVENT_READ, link)
            else:
                if events & selectors.EVENT_WRITE:
                    key.data.flush()
                if events & selectors.EVENT_READ:
                    self._read(key.data)
        now = time.monotonic()
        for link in list(self._links):
            if any(now - started > order.deadline + _OVERDUE for order, started in link.running.values()):
                # The fork server enforces deadlines; one that does not is stuck itself.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(link.pid, signal.SIGKILL)

    def _read(self, link: _Link) -> None:
        try:
            data = link.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._taken_back += [order for order, _ in link.running.values() if link.place != "warm"]
            self._drop(link)
            return
        for message in link.lines.feed(data):
            if "hello" in message:
                hello = message["hello"]
                link.place, link.pid, link.scenario = hello["fork_server"], hello["pid"], hello.get("scenario", "")
                self._learn(hello.get("learnt") or {"modules": []})
            elif "printed" in message:
                show(message["printed"]["to"], message["printed"]["text"].encode("utf-8", "replace"))
            elif "outcome" in message:
                outcome = Outcome.from_json(message["outcome"])
                link.running.pop(outcome.id, None)
                if link.place == "warm":
                    self._ended_scenarios[outcome.id] = outcome
                elif link.scenario == self._scenario[0]:
                    self._finished.append(outcome)
                    if outcome.run is not None and (found := outcome.run.circumstances) is not None:
                        self._lazy += found.imported
                        self._admission.learn(found.private)

    def _hang_up(self) -> None:
        """Leaves the scenario's fork servers: they end with whatever they still run."""
        for link in list(self._links):
            if link.place != "warm":
                self._drop(link)

    def _drop(self, link: _Link) -> None:
        self._links.remove(link)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.socket)
        link.socket.close()
