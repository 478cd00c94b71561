"""What every engine owes: a class of tests to derive from, with the engine's name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from faultlab import engines
from faultlab.core.fault import Fault
from faultlab.core.orders import Examine, Order, Train
from faultlab.core.results import Outcome, RunResult, SuiteRun
from faultlab.engines import Engine
from faultlab.errors import TargetError, UsageError
from tests.engines import misbehaving
from tests.lab import ROOT, trained

SCENARIO: dict[str, Any] = {
    "path": [str(ROOT)],
    "build": {"class_path": "tests.zoo.models.classifier", "init_args": {}},
    "trainer": {"max_epochs": 2},
    "guards": [],
}
HALF_WAY = 6
RAISES = Fault.parse("step.raises@step=2")


def order(engine: Engine, id: str, task: Train | Callable[..., None], **more: Any) -> Order:
    """An order to train, or to do something of `misbehaving`."""
    shared = Path(engine.root) / "shared"
    shared.mkdir(exist_ok=True)
    asked = task if isinstance(task, Train) else Examine(f"{task.__module__}:{task.__name__}", Train(0), 1)
    return Order(id, asked, root=os.path.join(engine.root, id), shared=str(shared), **more)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def becomes(condition: Callable[[], Any], seconds: float = 20.0) -> bool:
    late = time.monotonic() + seconds
    while not condition() and time.monotonic() < late:
        time.sleep(0.02)
    return bool(condition())


class EngineTester:
    """Has the engine called ``name`` carry out orders of every ending."""

    name: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """The engine can be found; those whose engine is another package's install it here."""
        yield  # noqa: PT022

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, installed: None) -> Iterator[Engine]:
        engine = engines.create(cls.name, min(2, engines.cores()))
        try:
            engine.open("classifier", SCENARIO)
            yield engine
        finally:
            engine.close()

    @pytest.fixture(scope="class")
    @classmethod
    def outcomes(cls, engine: Engine) -> dict[str, Outcome]:
        """What became of each order, by its id."""
        snapshot_run = Train(0, probe=True, snapshots=(HALF_WAY,))
        (clean,) = engine.run([order(engine, "clean", snapshot_run)])
        from_half_way = Train(0, profile=trained(clean).profile)
        (Path(engine.root) / "shared" / "given").write_text("by the driver")
        orders = [
            order(engine, "snapshot_run", Train(0, snapshots=(HALF_WAY,))),
            order(engine, "half-way", from_half_way, at=HALF_WAY),
            order(engine, "raises", Train(0, RAISES, profile=trained(clean).profile)),
            order(engine, "answers", misbehaving.answers),
            order(engine, "floods", misbehaving.floods),
            order(engine, "exits", misbehaving.exits),
            order(engine, "killed", misbehaving.killed),
            order(engine, "hangs", misbehaving.hangs, deadline=1.0),
            order(engine, "leaves-child", misbehaving.leaves_child),
        ]
        found = [clean, *engine.run(orders)]
        assert sorted(one.id for one in found) == sorted(["clean", *(one.id for one in orders)])
        return {one.id: one for one in found}

    def test_a_training_tells_its_course_and_how_it_ended(self, outcomes: dict[str, Outcome]) -> None:
        clean = outcomes["clean"]
        assert (clean.exit, clean.timed_out, clean.lost) == (0, False, "")
        assert trained(clean).trajectory.end == "finished"
        assert trained(clean).profile is not None
        assert clean.seconds > 0

    def test_the_same_training_again_is_the_same_to_the_bit(self, outcomes: dict[str, Outcome]) -> None:
        runs = [trained(outcomes[id]).trajectory for id in ("clean", "snapshot_run", "half-way")]
        assert runs[0].digest
        assert len({run.digest for run in runs}) == 1

    def test_a_training_that_raises_is_told_from_one_that_finishes(self, outcomes: dict[str, Outcome]) -> None:
        raised = outcomes["raises"]
        assert isinstance(raised.result, RunResult)
        assert raised.result.trajectory.end == "raised"
        assert raised.result.activations == 1
        assert not raised.timed_out

    @pytest.mark.parametrize(("id", "status"), [("exits", 3), ("killed", -signal.SIGKILL)])
    def test_a_process_that_ends_without_an_answer_is_told_by_its_status(
        self, outcomes: dict[str, Outcome], id: str, status: int
    ) -> None:
        assert outcomes[id].result is None
        assert (outcomes[id].exit, outcomes[id].timed_out) == (status, False)

    def test_a_run_that_hangs_is_ended_at_its_deadline(self, engine: Engine, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["hangs"].timed_out
        assert outcomes["hangs"].result is None
        assert not alive(_pid(engine, "hangs"))

    def test_a_flood_costs_no_memory_and_no_answer(self, outcomes: dict[str, Outcome]) -> None:
        said = outcomes["floods"].output
        assert isinstance(outcomes["floods"].result, SuiteRun)
        assert len(said) < 100_000
        assert "the flood begins" in said
        assert "the flood ends" in said

    def test_what_a_run_leaves_running_ends_with_it(self, engine: Engine, outcomes: dict[str, Outcome]) -> None:
        assert isinstance(outcomes["leaves-child"].result, SuiteRun)
        child = _pid(engine, "leaves-child")
        assert becomes(lambda: not alive(child))

    def test_what_a_run_prints_is_kept(self, outcomes: dict[str, Outcome]) -> None:
        assert "said on the way" in outcomes["answers"].output

    def test_a_run_begins_half_way_if_the_engine_can_copy_it_and_at_its_beginning_if_not(
        self, engine: Engine, outcomes: dict[str, Outcome]
    ) -> None:
        copies = engine.capabilities.snapshots
        assert outcomes["snapshot_run"].snapshots == ([HALF_WAY] if copies else [])
        assert trained(outcomes["half-way"]).born == (HALF_WAY if copies else "construct")

    def test_files_are_shared_if_the_engine_says_so(self, engine: Engine, outcomes: dict[str, Outcome]) -> None:
        result, left = outcomes["answers"].result, Path(engine.root) / "shared" / "left"
        assert isinstance(result, SuiteRun)
        shares = engine.capabilities.shared_filesystem
        assert result.imported == {"given": "by the driver" if shares else ""}
        assert left.exists() == shares

    def test_several_ranks_are_refused_where_the_engine_runs_single_processes(self, engine: Engine) -> None:
        asked = [order(engine, "ranks", Train(0), ranks=2)]
        if engine.capabilities.groups:
            (outcome,) = engine.run(asked)
            assert len(outcome.results) == 2
        else:
            with pytest.raises(UsageError, match="ranks asks for 2 ranks"):
                list(engine.run(asked))

    def test_what_a_run_prints_is_shown_as_it_comes_if_the_engine_can(
        self, engine: Engine, capfd: pytest.CaptureFixture[str]
    ) -> None:
        list(engine.run([order(engine, "echoes", misbehaving.answers, echo=1)]))
        assert ("said on the way" in capfd.readouterr().out) == engine.capabilities.echo

    def test_a_target_that_can_not_be_imported_is_told_and_the_next_scenario_opens(self, engine: Engine) -> None:
        missing = {**SCENARIO, "build": {"class_path": "tests.zoo.models.nothing", "init_args": {}}}
        error = None
        try:
            engine.open("missing", missing)
            (outcome,) = engine.run([order(engine, "missing", Train(0))])
            error = outcome.target_error
        except TargetError as raised:
            error = raised
        finally:
            engine.open("classifier", SCENARIO)
        assert error is not None
        assert "nothing" in str(error)
        (again,) = engine.run([order(engine, "again", misbehaving.answers)])
        assert isinstance(again.result, SuiteRun)

    def test_nothing_outlives_an_engine_that_is_closed_amid_its_runs(self, installed: None) -> None:
        engine = engines.create(self.name, min(2, engines.cores()))
        pids = []
        try:
            engine.open("classifier", SCENARIO)
            orders = [order(engine, "first", misbehaving.leaves_child), order(engine, "second", misbehaving.hangs)]
            outcomes = engine.run(orders)
            assert next(outcomes).id == "first"
            pids.append(_pid(engine, "first"))
            if engine.jobs > 1:
                assert becomes((Path(engine.root) / "shared" / "second.pid").is_file)
                assert becomes(lambda: (Path(engine.root) / "shared" / "second.pid").read_text())
                pids.append(_pid(engine, "second"))
        finally:
            engine.close()
        assert becomes(lambda: not any(map(alive, pids)))
        assert not os.path.exists(engine.root)


def _pid(engine: Engine, id: str) -> int:
    return int((Path(engine.root) / "shared" / f"{id}.pid").read_text())
