"""A bench for trying faults on a zoo model: one warm process a model, each run a fork of it, outcomes as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from faultlab.campaign import plan, verdict
from faultlab.campaign.metric_choice import choose_metric
from faultlab.campaign.verdict import Twin
from faultlab.catalogue import index
from faultlab.config.selection import Selection
from faultlab.core.fault import Fault
from faultlab.core.notice import Notice
from faultlab.core.orders import Order, Outcome, Place
from faultlab.core.report import FaultResult
from faultlab.core.target_profile import Recon
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Engine, create

ROOT = Path(__file__).parents[1]


class Lab:
    """One model under test. Its clean run is taken when it opens."""

    def __init__(self, engine: Engine, factory: str, **init_args: Any) -> None:
        self.engine = engine
        self._serial = 0
        build = {"class_path": factory, "init_args": init_args}
        scenario = {"path": [str(ROOT)], "build": build, "trainer": {"max_epochs": 2}, "guards": []}
        engine.open(factory, scenario)
        (clean,) = engine.run([replace(self._order("clean"), probe=True)])
        assert clean.result is not None, clean.output
        assert "trajectory" in clean.result, clean.result
        self.clean = clean.result
        recon = Recon.from_json(clean.result["recon"])
        self.trajectory = Trajectory.from_json(clean.result["trajectory"])
        self._measure = choose_metric(self.trajectory, None, recon.directions)
        monitor = {"monitor": self._measure.metric, "monitor_mode": self._measure.mode}
        self.recon = replace(recon, **monitor) if self._measure.metric in recon.metrics else recon

    @property
    def twin(self) -> Twin:
        return self._twin(self.clean)

    @cached_property
    def reloaded_twin(self) -> Twin:
        """The clean run that goes on from its own checkpoints."""
        (clean,) = self.engine.run([replace(self._order("reloaded"), reload=True, recon=self.recon.to_json())])
        assert clean.result is not None, clean.output
        assert clean.result["trajectory"]["end"] == "finished", clean.output
        return self._twin(clean.result)

    def _twin(self, clean: dict[str, Any]) -> Twin:
        keys = frozenset(entry["key"] for entry in clean["warnings"])
        notices = [Notice.from_json(notice) for notice in clean["notices"]]
        trajectory = Trajectory.from_json(clean["trajectory"])
        metric, lower, _ = self._measure
        return Twin(trajectory, [], notices, keys, metric=metric, lower_is_better=lower)

    def twin_of(self, fault: str) -> Twin:
        """The clean run that a faulted one is compared with."""
        return self.reloaded_twin if _reloads(fault) else self.twin

    def plan(self, select: Iterable[str] = ("*",)) -> dict[str, str]:
        """The faults that the plan has for this model, with the reason why one does not apply (or an empty string)."""
        return {entry.id: entry.reason for entry in plan.make(Selection(tuple(select)), self.recon, index.modes())}

    def run(self, faults: Iterable[str], at: Place = "fit", deadline: float = 30.0) -> dict[str, Outcome]:
        """Runs each fault, off a copy of the built target unless told otherwise; what each process left, by fault."""
        recon = self.recon.to_json()
        orders = [
            replace(
                self._order(id),
                fault=id,
                recon=recon,
                at="construct" if _begins_at_nothing(id) else at,
                reload=_reloads(id),
                deadline=4.0 if index.modes()[Fault.parse(id).mode].hangs else deadline,
                sleeps=index.modes()[Fault.parse(id).mode].hangs,
            )
            for id in faults
        ]
        trunk = replace(self._order("trunk"), stems=() if at == "construct" else (at,))
        outcomes = self.engine.run([trunk, *orders])
        return {outcome.id: outcome for outcome in outcomes if outcome.id != "trunk"}

    def is_clean(self, outcome: Outcome) -> bool:
        """Whether the run was the clean one to the bit."""
        assert outcome.result is not None
        return Trajectory.from_json(outcome.result["trajectory"]).same_as(self.twin_of(outcome.id).trajectory)

    def judge(self, outcome: Outcome) -> FaultResult:
        return verdict.judge(outcome.id, index.modes()[Fault.parse(outcome.id).mode], outcome, self.twin_of(outcome.id))

    def _order(self, id: str) -> Order:
        self._serial += 1
        return Order(id, seed=0, root=f"{self.engine.root}/{self._serial}", deadline=120.0)


def _reloads(fault: str) -> bool:
    return index.modes()[Fault.parse(fault).mode].judged_by == "reload"


def _begins_at_nothing(fault: str) -> bool:
    return _reloads(fault) or index.modes()[Fault.parse(fault).mode].point.attach_at == "construct"


@contextmanager
def engine(name: str = "fork", jobs: int = 2) -> Iterator[Engine]:
    """An engine that is closed whatever happens."""
    working = create(name, jobs)
    try:
        yield working
    finally:
        working.close()
