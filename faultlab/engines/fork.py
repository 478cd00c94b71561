"""The driver side of the fork engine: fork servers connect to it, and it sends each order to the closest one.

The clean run is the snapshot run: it leaves a snapshot at every step where a fault begins, so the clean prefix is
executed once. Orders whose snapshot was never made (live loader workers can't be copied) run from the beginning
instead, with the same verdict.
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
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.core.exit_status import in_words
from faultlab.core.orders import OpenScenario, Order, Place
from faultlab.core.results import Outcome
from faultlab.core.threads import one_thread_environment
from faultlab.engines import Capabilities, keeping
from faultlab.engines.admission import Admission
from faultlab.engines.folder import Folder
from faultlab.engines.gangs import Gangs
from faultlab.engines.link import Link
from faultlab.engines.processes import show
from faultlab.engines.waiting import Waiting
from faultlab.errors import TargetError

_OVERDUE = 30.0
_IMPORT_DEADLINE = 600.0
# Systems limit the length of a socket's path; temporary folders may have longer ones.
_LONGEST_ADDRESS = 100


def _longest_first(order: Order) -> tuple[int, int]:
    """Return a sort key: the snapshot run first, since others wait for it, then the longest remaining runs."""
    if order.snapshots:
        return (0, 0)
    if isinstance(order.at, int):
        return (2, order.at)
    # A run that continues from its checkpoints trains a second time.
    return (1, 0 if order.training and order.training.reload else 2 if order.at == "fit" else 1)


def _from_nothing(order: Order) -> Order:
    """Return the order for a run that begins from nothing and leaves no snapshots."""
    return replace(order.with_training(snapshots=()) if order.snapshots else order, at="construct")


class ForkEngine:
    """The fork engine; see `faultlab.engines.Engine`."""

    capabilities = Capabilities(snapshots=True, groups=True, echo=True, shared_filesystem=True)

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.ranks = self._width = 1
        self.alone = False
        self._folder = Folder()
        self._address = os.path.join(self._folder.name, "s")
        if len(self._address) > _LONGEST_ADDRESS:
            self._folder.remove()
            self._folder = Folder("/tmp")
            self._address = os.path.join(self._folder.name, "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._links: list[Link] = []
        self._warm: subprocess.Popen[bytes] | keeping.Borrowed | None = None
        self._keeping: keeping.Keeping | None = None
        self._scenario: tuple[str, Mapping[str, Any]] = ("", {})
        self._finished: list[Outcome] = []
        self._ended_scenarios: dict[str, Outcome] = {}
        self._taken_back: list[Order] = []
        self._waiting = Waiting()
        self._preload: list[str] = []
        self._lazy: list[str] = []
        self._imported: list[str] = []
        self._learnt: list[str] = []
        self._serial = 0
        self._openings = 0
        self._admission = Admission()
        self._known: set[str] = set()
        self._gangs = Gangs(self._folder.name, self._finish, self._taken_back.append)

    def keep_warm(self) -> None:
        """See Engine; raise UsageError if the environment variable is invalid."""
        minutes = keeping.minutes()
        self._keeping = keeping.Keeping(minutes) if minutes and keeping.possible() else None

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        self._hang_up()
        if isinstance(self._warm, keeping.Borrowed):
            # The keeper has learned from the previous scenario; its next process knows that too.
            self._end_warm()
        # Two scenarios may have the same name; late messages of the previous one must not be taken for this one's.
        self._serial += 1
        self._scenario = (f"{self._serial}-{name}", scenario)
        self.ranks = int(scenario.get("ranks", 1))
        self._gangs = Gangs(self._folder.name, self._finish, self._taken_back.append)
        self._lazy, self._imported = [], []
        self._admission = Admission()
        self._known = set()
        learnt, self._learnt = self._learnt, []
        for module in learnt:
            self.preload(module)
        self._open()

    def preload(self, package: str) -> None:
        """Import a package ahead for later scenarios, unless none will follow."""
        if isinstance(self._warm, keeping.Borrowed):
            self._learn({"modules": [package], "environment": {}})
        if self.alone:
            self._learnt.append(package)
        elif package not in self._preload:
            self._preload.append(package)
            if (warm := self._link("warm")) is not None and not isinstance(self._warm, keeping.Borrowed):
                warm.send({"import": package})

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        waiting = self._waiting = Waiting(sorted(orders, key=_longest_first))
        self._width = max((order.ranks for order in orders), default=1)
        suspects: list[Order] = []
        alone = ""
        self._preload_lazy()
        self._prepare_known(orders)
        while waiting or suspects or self._running():
            if suspects and not waiting and not self._running():
                # One at a time: a victim that kills its fork server must not cost the others their second chance.
                alone = suspects[0].id
                waiting.add(suspects.pop(0))
            self._dispatch(waiting)
            self._listen()
            for order in self._taken_back:
                if order.id == alone:
                    self._finished.append(Outcome(order.id, lost="it kills the process that supervises it"))
                else:
                    suspects.append(_from_nothing(order))
            self._taken_back.clear()
            if self._finished:
                # Keep every slot busy while the caller judges finished runs and waits for the disk.
                self._dispatch(waiting)
            finished, self._finished = self._finished, []
            yield from finished

    def add(self, order: Order) -> None:
        """Execute an order in the current `run` too, as the next one; to be called between two of its outcomes."""
        self._waiting.put_first(order)

    def close(self) -> None:
        for link in list(self._links):
            self._drop(link)
        self._end_warm()
        self._listener.close()
        self._selector.close()
        self._folder.remove()

    @property
    def root(self) -> str:
        """See Engine."""
        return self._folder.name

    def _running(self) -> int:
        return len(self._given())

    def _given(self) -> list[Order]:
        running = (order for link in self._links if link.place != "warm" for order, _ in link.running.values())
        return list({order.id: order for order in running}.values())

    def _link(self, place: Place, rank: int = 0) -> Link | None:
        key = (place, rank, "" if place == "warm" else self._scenario[0])
        return next((link for link in self._links if (link.place, link.rank, link.scenario) == key), None)

    def _links_of(self, place: Place) -> list[Link] | None:
        """Return the fork server of each rank at a place; None if one is missing."""
        found = [self._link(place, 0 if place == "construct" else rank) for rank in range(self._width)]
        present = [link for link in found if link is not None]
        return present if len(present) == len(found) else None

    def _dispatch(self, waiting: Waiting) -> None:
        given = self._given()
        snapshot_run_runs = any(order.snapshots for order in given)

        def fork_servers(place: Place) -> list[Link] | None:
            links = self._links_of(place)
            if links is None and (place == "construct" or not snapshot_run_runs):
                return [construct] * self._width if (construct := self._construct()) is not None else None
            return links

        free = self._admission.free(self.jobs, self._width, given)
        for order, links in waiting.take(free, fork_servers):
            if order.ranks > 1:
                self._gangs.give(order, links)
            else:
                links[0].give(order)
            snapshot_run_runs = snapshot_run_runs or bool(order.snapshots)

    def _preload_lazy(self) -> None:
        """Import what the clean run imported on its way, for all later victims.

        Only after the baseline's runs, which are compared with each other and must all take the same path. The null
        canary shows that importing early changes nothing.
        """
        construct = self._link("construct")
        if self._lazy and construct is not None:
            construct.send({"imports": self._lazy})
            self._imported += self._lazy
            # Torch's share is much the same for every training: spare the next scenario's victims it too.
            of_torch = [module for module in self._lazy if module.startswith("torch.")]
            self._learnt += of_torch
            self._learn({"modules": of_torch, "environment": {}})
        self._lazy = []

    def _prepare_known(self, orders: Iterable[Order]) -> None:
        """Combine the known good runs that guards compare with once, before victims are forked."""
        advices = [order.training.advice or {} for order in orders if order.training is not None]
        files = {advice["known"] for advice in advices if advice.get("known")}
        construct = self._link("construct")
        if construct is not None and (new := files - self._known):
            self._known |= new
            construct.send({"known": sorted(new)})

    def _construct(self) -> Link | None:
        if self._link("construct") is None:
            self._open()
        return self._link("construct")

    def _open(self) -> None:
        """Fork this scenario's process from the warm one and let it import the user's code."""
        self._start_warm()
        name, scenario = self._scenario
        self._openings += 1
        # The end of a killed process may be reported only after the next one was requested.
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
                message = f"the process that imports the target {in_words(ended.exit)}"
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
                raise TargetError((), f"the process that imports torch {in_words(status)}")
        for package in self._preload:
            self._link("warm").send({"import": package})  # type: ignore[union-attr]

    def _greeted(self, warm: subprocess.Popen[bytes] | keeping.Borrowed) -> bool:
        """Wait for the warm process to connect; return False if it ended instead."""
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
        """Report to the keeper which modules the next process should have imported, if there is a keeper."""
        if self._keeping is not None and learnt["modules"]:
            self._keeping.learn(learnt)

    def _listen(self) -> None:
        for link in self._links:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.unsent else 0)
            # A training of a thousand steps may have as many fork servers, most of them idle.
            if self._selector.get_key(link.socket).events != events:
                self._selector.modify(link.socket, events, link)
        for key, events in self._selector.select(0.5):
            if key.fileobj is self._listener:
                connection, _ = self._listener.accept()
                link = Link(connection)
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

    def _read(self, link: Link) -> None:
        try:
            data = link.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(link)
            for order, _ in link.running.values() if link.place != "warm" else ():
                if order.ranks > 1:
                    self._gangs.lost(order)
                else:
                    self._taken_back.append(order)
            return
        for message in link.lines.feed(data):
            if "hello" in message:
                hello = message["hello"]
                link.place, link.pid, link.scenario = hello["fork_server"], hello["pid"], hello.get("scenario", "")
                link.rank = hello.get("rank", 0)
                self._learn(hello.get("learnt") or {"modules": []})
            elif "printed" in message:
                show(message["printed"]["to"], message["printed"]["text"].encode("utf-8", "replace"))
            elif "asleep" in message:
                self._admission.asleep.add(message["asleep"])
            elif "outcome" in message:
                self._take(link, Outcome.from_json(message["outcome"]), message.get("rank", 0))

    def _take(self, link: Link, outcome: Outcome, rank: int) -> None:
        """Take the outcome of a run, or of one rank of a run."""
        given = link.running.pop((outcome.id, rank), None)
        if link.place == "warm":
            self._ended_scenarios[outcome.id] = outcome
        elif link.scenario != self._scenario[0]:
            return
        elif given is not None and given[0].ranks > 1:
            self._gangs.ended(rank, outcome)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._finished.append(outcome)
        if outcome.run is not None and (found := outcome.run.circumstances) is not None:
            self._lazy += found.imported
            self._admission.learn(found.private)

    def _hang_up(self) -> None:
        """Disconnect the scenario's fork servers: they end with whatever they still run."""
        for link in list(self._links):
            if link.place != "warm":
                self._drop(link)

    def _drop(self, link: Link) -> None:
        self._links.remove(link)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.socket)
        link.socket.close()
