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
from faultlab.core.orders import Order, Place, Task, Train
from faultlab.core.report import FaultResult
from faultlab.core.results import Circumstances, Outcome, RunResult
from faultlab.engines import Engine, create

ROOT = Path(__file__).parents[1]


class Lab:
    """One model under test. Its clean run is taken when it opens."""

    def __init__(self, engine: Engine, factory: str, **init_args: Any) -> None:
        build = {"class_path": factory, "init_args": init_args}
        self._open(engine, factory, {"build": build, "trainer": {"max_epochs": 2}})

    @classmethod
    def of_loop(cls, engine: Engine, **parts: Any) -> Lab:
        """A loop written by hand, with the parts that a scenario names for it, such as ``train`` and ``evaluate``."""
        lab = cls.__new__(cls)
        lab._open(engine, str(parts["train"]["class_path"]), {"framework": "torch", **parts})
        # A campaign learns it from a run.
        if not lab.profile.saved:
            lab.profile = replace(lab.profile, unreloadable="the clean run saves no checkpoint")
        return lab

    @classmethod
    def of_ranks(cls, engine: Engine, ranks: int, factory: str, strategy: Any = "ddp", **init_args: Any) -> Lab:
        """A model that several ranks train together."""
        lab = cls.__new__(cls)
        trainer = {"max_epochs": 2, "devices": ranks, "strategy": strategy}
        build = {"class_path": factory, "init_args": init_args}
        lab._open(engine, f"{factory}-{ranks}", {"build": build, "trainer": trainer, "ranks": ranks})
        return lab

    def _open(self, engine: Engine, name: str, scenario: dict[str, Any]) -> None:
        self.engine = engine
        self._serial = 0
        engine.open(name, {"path": [str(ROOT)], **scenario, "guards": []})
        (clean,) = engine.run([self.order("clean", Train(0, probe=True))])
        self.clean, self._seconds = trained(clean), clean.seconds
        self.trajectory, profile = self.clean.trajectory, self.clean.profile
        assert profile is not None
        self._measure = choose_metric(self.trajectory, None, profile.directions)
        monitor = {"monitor": self._measure.metric, "monitor_mode": self._measure.mode}
        self.profile = replace(profile, **monitor) if self._measure.metric in profile.metrics else profile

    @property
    def told(self) -> Circumstances:
        """What the clean run tells of its process."""
        assert self.clean.circumstances is not None
        return self.clean.circumstances

    @property
    def twin(self) -> Twin:
        return self._twin(self.clean)

    @cached_property
    def reloaded_twin(self) -> Twin:
        """The clean run that goes on from its own checkpoints."""
        (clean,) = self.engine.run([self.order("reloaded", Train(0, reload=True, profile=self.profile))])
        assert trained(clean).trajectory.end == "finished", clean.output
        return self._twin(trained(clean))

    def _twin(self, clean: RunResult) -> Twin:
        keys = frozenset(shown.key for shown in clean.warnings)
        metric, lower, _ = self._measure
        return Twin(clean.trajectory, [], clean.alerts, keys, metric=metric, lower_is_better=lower)

    def twin_of(self, fault: str) -> Twin:
        """The clean run that a faulted one is compared with."""
        return self.reloaded_twin if _reloads(Fault.parse(fault)) else self.twin

    def plan(self, select: Iterable[str] = ("*",)) -> dict[str, str]:
        """The faults that the plan has for this model, with the reason why one does not apply (or an empty string)."""
        return {entry.id: entry.reason for entry in plan.make(Selection(tuple(select)), self.profile, index.modes())}

    def run(
        self, faults: Iterable[str], at: Place = "fit", deadline: float = 30.0, hang_deadline: float = 4.0
    ) -> dict[str, Outcome]:
        """Runs each fault, off a copy of the built target unless told otherwise; what each process left, by fault."""
        orders = []
        for id in faults:
            fault = Fault.parse(id)
            mode, reloads = index.modes()[fault.mode], _reloads(fault)
            begins = "construct" if reloads or mode.point.attach_at == "construct" else at
            one = self.order(id, Train(0, fault, profile=self.profile, reload=reloads), at=begins)
            # On a busy machine they take longer, as the clean run did.
            allowed = max(hang_deadline, 4 * self._seconds) if mode.hangs else max(deadline, 20 * self._seconds)
            orders.append(replace(one, deadline=allowed, sleeps=mode.hangs))
        snapshot_run = self.order("snapshot_run", Train(0, snapshots=() if at == "construct" else (at,)))
        outcomes = self.engine.run([snapshot_run, *orders])
        return {outcome.id: outcome for outcome in outcomes if outcome.id != "snapshot_run"}

    def is_clean(self, outcome: Outcome) -> bool:
        """Whether the run was the clean one to the bit."""
        return trained(outcome).trajectory.same_as(self.twin_of(outcome.id).trajectory)

    def judge(self, outcome: Outcome) -> FaultResult:
        return verdict.judge(outcome.id, index.modes()[Fault.parse(outcome.id).mode], outcome, self.twin_of(outcome.id))

    def order(self, id: str, task: Task, at: Place = "construct") -> Order:
        """An order whose run writes to a folder of its own."""
        self._serial += 1
        root, ranks = f"{self.engine.root}/{self._serial}", self.engine.ranks if isinstance(task, Train) else 1
        return Order(id, task, at=at, root=root, deadline=120.0, ranks=ranks)


def trained(outcome: Outcome) -> RunResult:
    """What came of a training; what it printed is shown where it did not live to say so."""
    assert outcome.run is not None, (outcome.result, outcome.output)
    return outcome.run


def sharing(data: int, tensors: int) -> dict[str, Any]:
    """The strategy with which ranks share parameters, as a scenario names it, by the sizes of its mesh."""
    sizes = {"data_parallel_size": data, "tensor_parallel_size": tensors}
    return {"class_path": "pytorch_lightning.strategies.ModelParallelStrategy", "init_args": sizes}


def _reloads(fault: Fault) -> bool:
    return index.modes()[fault.mode].judged_by == "reload"


@contextmanager
def engine(name: str = "fork", jobs: int = 2) -> Iterator[Engine]:
    """An engine that is closed whatever happens."""
    working = create(name, jobs)
    try:
        yield working
    finally:
        working.close()
