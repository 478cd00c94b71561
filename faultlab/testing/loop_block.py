"""The trainings of a block of code by loops of its own, for `faultlab.inject` and `faultlab.assert_detected`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from faultlab.core.target_profile import TargetProfile
from faultlab.errors import UsageError
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.stepped import Seen
from faultlab.injection.armed_fault import Armed
from faultlab.testing.loop_embedding import LoopEmbedding


class LoopBlock:
    """The trainings of a block as a dry run observed them, in their order.

    Args:
        trainings: The trainings.
        wanted: The class path of the module to break; empty for that of the longest training.

    Attributes:
        root: The class path of the module to break; empty if no training has the wanted one.
    """

    def __init__(self, trainings: Sequence[Seen], wanted: str) -> None:
        self._trainings = trainings
        named = [seen for seen in trainings if not wanted or seen.layout.root == wanted]
        self.root = max(named, key=lambda seen: seen.updates).layout.root if named else ""

    @property
    def trained(self) -> list[str]:
        """The class paths of the modules that the block trains."""
        return list(dict.fromkeys(seen.layout.root for seen in self._trainings))

    def embedding(self, armed: Iterable[Armed], clock: LoopClock) -> LoopEmbedding:
        """Return a context in which the faults act on the trainings of the module."""
        layouts = [(seen.layout, seen.layout.root == self.root) for seen in self._trainings]
        return LoopEmbedding(layouts, armed, clock)

    def probing(self, embedding: LoopEmbedding) -> Callable[[], dict[str, Any]]:
        """Take the target profile in an embedding that was not entered yet.

        Returns:
            A function for after the embedding, which returns the profile as plain data and the number of steps.
        """
        own = [number for number, seen in enumerate(self._trainings) if seen.layout.root == self.root]
        result = embedding.profile(max(own, key=lambda number: self._trainings[number].updates))

        def told() -> dict[str, Any]:
            profile, steps = result()
            return {"profile": profile.to_json() if profile else None, "steps": steps}

        return told

    def profile(self, told: dict[str, Any]) -> TargetProfile:
        """Return the profile that a dry run has reported.

        Raises:
            UsageError: The training was not the same as in the dry run before.
        """
        if told["profile"] is None:
            raise UsageError(f"the block does not train {self.root} every time: seed it, and create the module in it")
        return TargetProfile.from_json(told["profile"])
