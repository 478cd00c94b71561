"""Ready-made guards that a fault can't set off rest in its run, and nothing that they would have raised is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from faultlab import guards
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.config.scenario import load
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Train
from faultlab.core.results import RunResult, read_result
from faultlab.frameworks.lightning.target import Target
from faultlab.injection import registry
from faultlab.injection.registry import Registered
from faultlab.worker.session import Session
from tests.support import small

ASPECTS = {"batches", "forward", "backward", "metrics"}
ASKED = {"monitor": "val_loss", "mode": "min"}
ONE_OF_EACH = [
    "batch.transposed@always",
    "gradient.negated@always",
    "init.nan@always",
    "label.shuffled@always",
    "layer.activation-removed@always",
    "loader.sorted@always",
    "loss.nan@step=1",
    "metric.nan@always",
    "mode.eval-in-training@always",
    "optimizer.step-skipped@always",
    "return.detached@always",
    "weights.nan@step=1",
]


def registered() -> dict[str, Registered]:
    return dict(registry.load())


def advice(folder: Path, faults: Sequence[str]) -> dict[tuple[str, bool], Any]:
    """What the guards of each run came to, where all watch (True) and where some rest (False)."""
    target, sent = Target(load(small(folder)).for_victims()), []

    def run(**asked: Any) -> RunResult:
        Session(target, Order("one", Train(0, **asked), root=str(folder / "run")), sent.append).run()
        read = read_result(next(message["result"] for message in reversed(sent) if "result" in message))
        assert isinstance(read, RunResult), read
        return read

    profile = run(probe=True).profile
    return {
        (fault, everywhere): run(
            fault=Fault.parse(fault), profile=profile, advice={**ASKED, "everywhere": everywhere}
        ).advice
        for fault in faults
        for everywhere in (True, False)
    }


def same_alarms(folder: Path, faults: Sequence[str]) -> None:
    found = advice(folder, faults)
    for fault in faults:
        all_of_them, some = found[fault, True], found[fault, False]
        assert some.alarms == all_of_them.alarms, fault
        assert some.broken == all_of_them.broken, fault


def test_no_alarm_is_lost_to_a_guard_that_rests(tmp_path: Path) -> None:
    same_alarms(tmp_path, ONE_OF_EACH)


@pytest.mark.nightly(reason="every failure mode twice; the quick ring has one of each kind")
def test_no_alarm_of_any_failure_mode_is_lost(tmp_path: Path) -> None:
    known = registered()
    modes = [mode for mode, one in known.items() if one.mode.point.leaves]
    calm = [mode for mode in modes if not known[mode].mode.hangs and known[mode].mode.judged_by != "reload"]
    same_alarms(tmp_path, [str(known[mode].mode.complete(Fault(mode), 8)) for mode in calm])


def test_guards_that_rest_are_not_called(tmp_path: Path) -> None:
    found = advice(tmp_path, ["gradient.negated@always"])
    resting = [kind.__name__ for kind in map(type, guards.all("full").guards) if kind.judges == "batches"]
    assert resting
    for name in resting:
        assert found["gradient.negated@always", True].seconds[name] > 0
        assert found["gradient.negated@always", False].seconds[name] == 0


def test_a_seam_of_somebody_elses_has_all_guards_watch() -> None:
    assert InjectionPoint.leaves == frozenset()


def test_seams_and_guards_speak_of_the_same_things() -> None:
    assert {aspect for one in registered().values() for aspect in one.mode.point.leaves} <= ASPECTS
    assert {type(guard).judges for guard in guards.all("full").guards} - {""} == ASPECTS
