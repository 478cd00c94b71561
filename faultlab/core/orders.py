"""What the driver and the processes that run victims say to each other: orders and outcomes, as lines of JSON."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from faultlab.core.notice import safe_text

Place = str | int
"""Where a run begins: ``construct`` (from nothing), ``fit`` (built, before fit), or the step that it is about to do."""


@dataclass(frozen=True)
class Planned:
    """One fault of the plan: run from ``at`` where ``status`` is empty, else settled without a run."""

    id: str
    at: Place = "construct"
    status: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Order:
    """One run to be carried out. ``deadline`` is in seconds; ``stems`` are the places a trunk leaves stems at.

    ``fault`` is the one that the run is about, ``also`` holds others that are there beside it.
    ``sleeps`` says that it is expected to stand still until its deadline, and takes no core while it does.
    With ``reload`` the run goes on to what a user does with its checkpoints. ``tests`` asks for tests of a collected
    suite instead. ``advice`` asks for the ready-made guards to be observed too (see
    `faultlab.detectors.advisory_guards`), ``variation`` for a change
    of the target that does no harm (see `faultlab.config.variations`). With ``echo`` what the run prints is shown as it
    comes, on that descriptor (1 or 2) of the driver, and ``examine`` has the doctor look at so many training steps.
    ``mutant`` is a source mutant to switch on: its ``switch``, the ``first_step`` in which the clean run calls its
    function, and how many ``calls`` are known of. ``traced`` has a clean run note where it draws what no seed gives.
    With ``compiles`` what `torch.compile` was given runs compiled, which else it does not. ``root`` is the folder that
    the run writes to, ``shared`` one that the runs of a campaign have in common.
    """

    id: str
    seed: int
    fault: str | None = None
    also: tuple[str, ...] = ()
    at: Place = "construct"
    deadline: float = 600.0
    root: str = ""
    shared: str = ""
    recon: dict[str, Any] | None = None
    probe: bool = False
    flags: bool = True
    stems: tuple[Place, ...] = ()
    reload: bool = False
    sleeps: bool = False
    tests: dict[str, Any] | None = None
    advice: dict[str, Any] | None = None
    variation: dict[str, Any] | None = None
    mutant: dict[str, Any] | None = None
    traced: bool = False
    echo: int = 0
    examine: int = 0
    compiles: bool = False

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which copies what the target is known by with every order.
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        return cls(**{**data, "stems": tuple(data.get("stems", ())), "also": tuple(data.get("also", ()))})


@dataclass
class Outcome:
    """How a run ended, as its nursery saw it.

    ``result`` is what the victim reported (None where it never did), ``exit`` its status (negative: the signal),
    ``acting`` the step at which the fault was first about to act, ``output`` the head and tail of what it printed,
    ``notes`` what it said on its way.
    """

    id: str
    result: dict[str, Any] | None = None
    exit: int = 0
    timed_out: bool = False
    acting: int | None = None
    output: str = ""
    seconds: float = 0.0
    lost: str = ""
    stems: list[Place] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        return cls(**data)


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. What JSON can't hold becomes its text: a victim's values must not break the messenger."""
    try:
        line = json.dumps(message, default=safe_text)
    except (ValueError, TypeError, RecursionError):
        line = json.dumps({key: safe_text(value) for key, value in message.items()})
    return line.encode() + b"\n"


class Lines:
    """Collects bytes and gives back the messages whose lines are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        self._buffer += data
        *complete, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        messages = []
        for line in complete:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a victim that found the pipe and wrote into it
            if isinstance(message, dict):
                messages.append(message)
        return messages
