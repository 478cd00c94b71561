"""The ranks of a run meet: at its beginning, again after a fork midway, and they part before each is judged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faultlab.core import collectives
from faultlab.core.patching import Patches
from faultlab.ranks import membership
from faultlab.ranks.position import Recorder

if TYPE_CHECKING:
    from faultlab.ranks.joining import Joining

_MEETING = timedelta(seconds=300)
_PATIENCE = (1.5, 30.0)
# The second one is of a later collective: a timeout closes gloo's connections, and the training may have caught it.
_LATE = ("Timed out waiting", "Application timeout caused pair closure")


@dataclass
class Gang:
    """The group that this process is a rank of; ``step`` returns its training step.

    ``joins`` is set if the training makes its process group itself, and ``strict`` if the number of ranks and the rank
    that it names have to be these.
    """

    rank: int
    size: int
    step: Callable[[], int]
    joins: bool = False
    strict: bool = True
    group: Any = None
    recorder: Recorder = field(init=False)
    _joining: Joining | None = field(init=False, default=None)
    _patches: Patches = field(init=False, default_factory=Patches)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.step)

    @classmethod
    def of(cls, rank: int, size: int, step: Callable[[], int], joins: bool) -> Gang | None:
        """Return the group of a rank; None for a training of one process."""
        return cls(rank, size, step, joins) if size > 1 else None

    def meet(self, meeting: str, deadline: float) -> Any:
        """Wait for the other ranks, and make a process group with them unless the training does; forget the last.

        Args:
            meeting: The path where they meet; no ranks have met there before.
            deadline: The run's deadline in seconds: a collective waits for less than that, so that ranks that wait for
                ever can report it.

        Returns:
            The process group; None if the training makes it.
        """
        # Not imported before: a run of one process needs none of it.
        from torch.distributed import FileStore  # type: ignore[attr-defined]

        from faultlab.ranks import process_group

        if self.group is not None:
            process_group.forget()
        membership.enter(self.rank, self.size)
        self.recorder.write_to(collectives.file_of(meeting, self.rank))
        store = FileStore(meeting, self.size)
        store.set_timeout(_MEETING)
        store.set(f"here-{self.rank}", "")
        store.wait([f"here-{rank}" for rank in range(self.size)])
        least, most = _PATIENCE
        patience = timedelta(seconds=min(most, max(least, deadline / 2)))
        if self.joins:
            self._join(store, patience)
        else:
            self.group = process_group.initialise(store, self.rank, self.size, patience, self.recorder)
        return self.group

    def _join(self, store: Any, patience: timedelta) -> None:
        if self._joining is None:
            from faultlab.ranks.joining import Joining

            self._joining = Joining(self.rank, self.size, self.recorder, self.strict)
            self._joining.attach(self._patches)
        self._joining.meet(store, patience)

    @property
    def joined(self) -> bool:
        """True if the training has made its process group."""
        return self._joining is not None and self._joining.joined

    def part(self) -> None:
        """Leave the group: from now on this process computes alone."""
        from faultlab.ranks import process_group

        self._patches.close()
        process_group.forget()
        membership.end()

    def waited(self, error: BaseException) -> str:
        """Return the collective that the error reports as never having come about; empty for any other error."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            if isinstance(error, RuntimeError) and any(late in str(error) for late in _LATE):
                return self.recorder.last
            seen.add(id(error))
            error = error.__cause__ or error.__context__  # type: ignore[assignment]
        return ""


def threads_of_gloo() -> int:
    """Return how many threads of this process belong to a process group: a fork may lose them (Linux)."""
    names = []
    for thread in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        try:
            with open(f"/proc/self/task/{thread}/comm") as file:
                names.append(file.read())
        except OSError:
            continue
    return sum("gloo" in name for name in names)
