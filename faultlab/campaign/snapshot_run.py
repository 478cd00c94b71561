"""Runs forked off a clean training, each with the clean run that it is compared with.

If clean runs of one seed differ, for example because the data is shuffled without a seed, the snapshot run still has
the same data, weights and random numbers as its forks. They are compared with it, so clean runs need not be alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faultlab.campaign.clean_runs import DEADLINE, SNAPSHOT_RUN, order, with_snapshot_run
from faultlab.campaign.verdict import Twin
from faultlab.core.orders import Order, Train
from faultlab.core.results import Outcome
from faultlab.engines import Engine

_AGAIN = 4
"""The number of clean forks that show whether a fork of the snapshot run repeats it."""


@dataclass(frozen=True)
class SnapshotRun:
    """Runs orders beside a clean training; ``twin`` is the clean run for those that begin at construction."""

    engine: Engine
    twin: Twin
    seed: int
    advice: dict[str, Any] | None = None

    def run(self, orders: Sequence[Order]) -> Iterator[tuple[Outcome, Twin]]:
        """Yield each outcome, including the snapshot run's, with its twin."""
        forked = self.engine.capabilities.snapshots and any(one.at != "construct" for one in orders)
        again = {one.id: one for one in self._again()} if forked and not self.twin.deterministic else {}
        outcomes = self.engine.run(with_snapshot_run(self.engine, [*again.values(), *orders], self.seed, self.advice))
        if not again:
            yield from ((outcome, self.twin) for outcome in outcomes)
        else:
            yield from self._compared(outcomes, again)

    def _again(self) -> list[Order]:
        task = Train(self.seed, advice=self.advice)
        return [order(self.engine, f"{SNAPSHOT_RUN}-{n}", task, deadline=DEADLINE, at="fit") for n in range(_AGAIN)]

    def _compared(self, outcomes: Iterable[Outcome], again: Mapping[str, Order]) -> Iterator[tuple[Outcome, Twin]]:
        """Yield outcomes of forks only after the snapshot run and its clean forks have ended."""
        clean: dict[str, Outcome] = {}
        held: list[Outcome] = []
        expected = {SNAPSHOT_RUN, *again}
        for outcome in outcomes:
            if outcome.id in expected:
                clean[outcome.id] = outcome
            if outcome.id == SNAPSHOT_RUN or (outcome.id not in again and not _forked(outcome)):
                yield outcome, self.twin
            elif outcome.id not in again:
                held.append(outcome)
            if clean.keys() == expected:
                twin = self._twin(clean)
                yield from ((one, twin) for one in held)
                held.clear()
        yield from ((one, self._twin(clean)) for one in held)

    def _twin(self, clean: Mapping[str, Outcome]) -> Twin:
        snapshot_run = clean[SNAPSHOT_RUN].trajectory if SNAPSHOT_RUN in clean else None
        if snapshot_run is None or snapshot_run.end != "finished":
            return self.twin
        forks = [outcome.trajectory for id, outcome in clean.items() if id != SNAPSHOT_RUN and _forked(outcome)]
        return replace(self.twin, trajectory=snapshot_run, repeats=[run for run in forks if run is not None])


def _forked(outcome: Outcome) -> bool:
    """Return True if the run was forked off the snapshot run; without snapshots, runs begin at construction."""
    return outcome.run is not None and outcome.run.born != "construct"


def unforked(outcome: Outcome) -> list[dict[str, str]]:
    """Return a finding if the snapshot run could not be copied at a place, for a reason that its user may remove."""
    reasons = dict.fromkeys(note["unforked"] for note in outcome.notes if note.get("unforked"))
    if outcome.id != SNAPSHOT_RUN or not reasons:
        return []
    what = f"the training could not be forked midway, because {' and '.join(reasons)}"
    consequence = "these faults run from the beginning, which takes longer and leads to the same verdicts"
    remedy = "Start these threads after the training; TOKENIZERS_PARALLELISM=false keeps those of tokenizers away."
    return [{"kind": "unforked", "what": f"{what}; {consequence}", "evidence": "", "remedy": remedy}]
