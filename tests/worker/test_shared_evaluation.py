"""The evaluation of one set of weights that runs of a campaign share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from faultlab.config.scenario import load
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Train
from faultlab.core.results import RunResult, read_result
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning import evaluation
from faultlab.frameworks.lightning.target import Target
from faultlab.worker.session import Session
from faultlab.worker.shared_evaluation import SharedEvaluation
from tests.support import small


def test_what_one_run_found_the_next_with_the_same_weights_reads(tmp_path: Path) -> None:
    folder = str(tmp_path / "evaluations")
    SharedEvaluation(folder, "abc", "target", 0).write({"val_loss": 0.5, "val_gap": math.nan})
    known = SharedEvaluation(folder, "abc", "target", 0).read()
    assert known is not None
    assert known["val_loss"] == 0.5
    assert math.isnan(known["val_gap"])


@pytest.mark.parametrize("other", [("abd", "target", 0), ("abc", "another", 0), ("abc", "target", 1)])
def test_other_weights_and_other_circumstances_are_evaluated_anew(tmp_path: Path, other: tuple[Any, ...]) -> None:
    SharedEvaluation(str(tmp_path), "abc", "target", 0).write({"val_loss": 0.5})
    assert SharedEvaluation(str(tmp_path), *other).read() is None


def test_without_a_folder_nothing_is_shared_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    SharedEvaluation("", "abc").write({"val_loss": 0.5})
    assert SharedEvaluation("", "abc").read() is None
    assert list(tmp_path.iterdir()) == []


def test_a_module_whose_repr_raises_shares_nothing(tmp_path: Path) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    SharedEvaluation(str(tmp_path), "abc", Shy()).write({"val_loss": 0.5})
    assert SharedEvaluation(str(tmp_path), "abc", Shy()).read() is None


def test_a_half_written_file_is_taken_for_none(tmp_path: Path) -> None:
    SharedEvaluation(str(tmp_path), "abc").write({"val_loss": 0.5})
    (file,) = tmp_path.iterdir()
    file.write_text('{"val_')
    assert SharedEvaluation(str(tmp_path), "abc").read() is None


def test_a_fault_that_leaves_the_clean_weights_is_evaluated_once_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[str] = []
    evaluate = evaluation.evaluate

    def counted(*args: Any) -> dict[str, float]:
        evaluated.append(order.id)
        return evaluate(*args)

    monkeypatch.setattr(evaluation, "evaluate", counted)
    target, results = Target(load(small(tmp_path)).for_victims()), []
    profile: TargetProfile | None = None
    for id, fault in [
        ("clean", None),
        ("again", None),
        ("never acts", "step.raises@step=1000000"),
        ("breaks a log", "metric.nan@always"),
        ("breaks the weights", "weights.reinitialised@step=1"),
    ]:
        root, shared = str(tmp_path / id), str(tmp_path / "evaluations")
        task = Train(0, Fault.parse(fault) if fault else None, probe=fault is None, profile=profile)
        order = Order(id, task, root=root, shared=shared)
        Session(target, order, lambda message: results.append(message)).run()
        result = read_result(next(message["result"] for message in reversed(results) if "result" in message))
        assert isinstance(result, RunResult), result
        profile = profile or result.profile
        assert result.trajectory.final
    # Clean runs, and a fault that never acted, have to show for themselves what they come to.
    assert evaluated == ["clean", "again", "never acts", "breaks the weights"]
