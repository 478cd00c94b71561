"""The ranks of a run meet: at its beginning, again after a fork midway, and they part before each is judged."""

from __future__ import annotations

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
_CLOSED = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What the rank sees that came first to a place where another rank then lost patience in another collective."""


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
    _store: Any = None
    _patience: timedelta = _MEETING

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.step)

    @classmethod
    def of(cls, rank: int, size: int, step: Callable[[], int], joins: bool) -> Gang | None:
        """Return the group of a rank; None for a training of one process."""
        return cls(rank, size, step, joins) if size > 1 else None

    def meet(self, meeting: str, deadline: float) -> None:
        """Wait for the other ranks, and make a process group with them unless the training does; or connect again.

        Args:
            meeting: The path where they meet; no ranks have met there before.
            deadline: The run's deadline in seconds: a collective waits for less than that, so that ranks that wait for
                ever can report it.
        """
        # Not imported before: a run of one process needs none of it.
        from torch.distributed import FileStore  # type: ignore[attr-defined]

        from faultlab.ranks import process_group

        membership.enter(self.rank, self.size)
        self.recorder.write_to(collectives.file_of(meeting, self.rank))
        store = self._store = FileStore(meeting, self.size)
        store.set_timeout(_MEETING)
        store.set(f"here-{self.rank}", "")
        store.wait([f"here-{rank}" for rank in range(self.size)])
        others = (rank for rank in range(self.size) if rank != self.rank)
        self.recorder.read_from(collectives.file_of(meeting, rank) for rank in others)
        least, most = _PATIENCE
        patience = self._patience = timedelta(seconds=min(most, max(least, deadline / 2)))
        if self.joins:
            self._join(store, patience)
        elif self.group is None:
            self.group = process_group.initialise(store, self.rank, self.size, patience, self.recorder)
        else:
            process_group.connect_again(store, patience)

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

    def _all_well(self, well: bool) -> bool:
        """Return True if all ranks have ended their training well; ``well`` is True if this one has."""
        self._store.set(f"ended-{self.rank}", "well" if well else "")
        if not well:
            return False
        others = [f"ended-{rank}" for rank in range(self.size)]
        try:
            self._store.wait(others, self._patience)
        except RuntimeError:  # one of them is gone, or still waits
            return False
        return all(self._store.get(other) for other in others)

    def part(self, module: Any = None, well: bool = False) -> None:
        """Leave the group: from now on this process computes alone.

        Args:
            module: The module that the ranks have trained. If they shared its parameters, and all of them ended well,
                this process has all of them afterwards.
            well: This rank has ended its training without an error.
        """
        from faultlab.ranks import process_group, shards

        if module is not None and shards.kind(module) and self._all_well(well):
            shards.unite(module)
        self._patches.close()
        process_group.forget()
        membership.end()

    def waited(self, error: BaseException) -> str:
        """Return the collective that the error reports as never having come about; empty for any other error."""
        seen: set[int] = set()
        texts = (*_LATE, *(_CLOSED if self.recorder.is_contradicted else ()))
        while error is not None and id(error) not in seen:
            if isinstance(error, RuntimeError) and any(text in str(error) for text in texts):
                return self.recorder.last
            seen.add(id(error))
            error = error.__cause__ or error.__context__  # type: ignore[assignment]
        return ""
