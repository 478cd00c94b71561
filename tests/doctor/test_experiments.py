"""Experiments of the doctor: one part of a training that learns nothing is changed, and what cures it is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.experiments.course import Case as Training
from faultlab.doctor.experiments.course import Course
from faultlab.doctor.experiments.trainings import examined
from faultlab.doctor.finding import OK, WRONG, Finding
from faultlab.engines import Engine
from tests.patients.blind.case import Case
from tests.patients.experiments import LIGHTNING, LOOPS

_QUICK = ("epsilon-outweighs-the-gradients", "module-that-drops-nearly-all")
_NIGHTLY = pytest.mark.nightly(reason="two of them run quick; each takes a dozen trainings")
_STUCK, _FALLING = [1.4] * 40, [1.4 - 0.03 * step for step in range(40)]


def _cases() -> list[object]:
    return [
        pytest.param(one, id=one.name, marks=[] if one.name in _QUICK else [_NIGHTLY]) for one in [*LOOPS, *LIGHTNING]
    ]


def _found(folder: Path, case: Case, remedied: bool, engine: Engine) -> list[Finding]:
    script = folder / f"{case.name.replace('-', '_')}.py"
    script.write_text(case.script(remedied))
    return list(examine(str(script), 120, engine=engine))


@pytest.mark.parametrize("case", _cases())
def test_the_part_that_keeps_a_training_from_learning_is_named(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _found(tmp_path, case, False, engine)
    assert case.named_early(found), [one for one in found if one.verdict != OK]


@pytest.mark.parametrize("case", _cases())
def test_nothing_is_wrong_without_that_part(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _found(tmp_path, case, True, engine)
    assert [one for one in found if one.verdict == WRONG] == []
    assert not case.named_early(found)


class _Trained:
    """Stands for trainings: each change has its course, all others the one of the training itself."""

    def __init__(self, courses: Mapping[str, Sequence[float]], **evaluation: Mapping[str, float]) -> None:
        self.courses, self.evaluation = courses, evaluation
        self.wanted: list[dict[str, Any]] = []

    def __call__(self, wanted: Sequence[dict[str, Any]]) -> list[Course | None]:
        self.wanted += wanted
        return [self._course(one) for one in wanted]

    def _course(self, change: Mapping[str, Any]) -> Course:
        name = next(iter(change))
        losses = self.courses.get(f"{name} {change[name]:g}", self.courses.get(name, _STUCK))
        return Course(losses, self.evaluation.get(name.replace(" ", "_"), {}), dict.fromkeys(change, 1))


def _training(losses: Sequence[float] = _STUCK, **more: Any) -> Training:
    evaluation = more.pop("evaluation", {})
    return Training(Course(losses, evaluation), **{"guess": math.log(4), "rate": 0.01, **more})


def test_the_evidence_compares_both_losses() -> None:
    (found,) = examined(_training(present=["clipping"]), _Trained({"clipping": _FALLING}))
    assert found.check == "gradient clipping"
    assert "the loss ends at 1.4, and at 0.275 without clipping" in found.evidence


def test_a_part_is_blamed_before_the_rate_that_makes_up_for_it() -> None:
    trained = _Trained({"decay": _FALLING, "rate 100": _FALLING})
    assert [one.check for one in examined(_training(present=["decay"]), trained)] == ["weight decay"]


def test_unusual_settings_are_blamed_before_the_rate_that_makes_up_for_them() -> None:
    trained = _Trained({"adamw": _FALLING, "rate 100": _FALLING})
    (found,) = examined(_training(settings={"Adam": [["eps", 100.0, 1e-8]]}), trained)
    assert "eps=100.0 (usually 1e-08)" in found.what


def test_the_rate_is_blamed_where_it_alone_cures() -> None:
    (found,) = examined(_training(), _Trained({"rate 0.1": _FALLING, "rate 0.01": _FALLING}))
    assert "0.01, is too high" in found.what
    assert found.remedy == "Try lr=0.001."


def test_nothing_is_blamed_if_nothing_cures_and_what_was_tried_is_told() -> None:
    one_batch = {"one batch": _FALLING}
    (found,) = examined(_training(), _Trained(one_batch))
    assert found.verdict != WRONG
    assert "can learn one batch" in found.what
    assert "without success: with gradients cleared after each step" in found.evidence


def test_a_model_that_cannot_learn_one_batch_is_told_apart() -> None:
    (found,) = examined(_training(), _Trained({}))
    assert "can't even learn one batch" in found.what


def test_a_training_that_learns_is_not_experimented_on() -> None:
    trained = _Trained({})
    assert list(examined(_training(_FALLING, present=["decay", "dropout", "clipping"]), trained)) == []
    assert trained.wanted == []


def test_a_change_that_made_no_difference_is_no_evidence() -> None:
    class Idle(_Trained):
        def _course(self, change: Mapping[str, Any]) -> Course:
            return Course(_FALLING, {}, dict.fromkeys(change, 0))

    assert list(examined(_training(), Idle({}))) == []


def test_a_slow_beginning_is_no_evidence_of_a_low_rate() -> None:
    trained = _Trained({"rate 10": _FALLING, "adamw": _FALLING})
    assert list(examined(_training(cut=True), trained)) == []


def test_several_optimizers_are_not_blamed_for_losses_that_stay() -> None:
    trained = _Trained({"adamw": _FALLING, "initial": _FALLING})
    assert list(examined(_training(several=True), trained)) == []


def test_an_evaluation_is_compared_with_and_without_kept_statistics() -> None:
    trained = _Trained({}, own_statistics={"val_loss": 0.3})
    (found,) = examined(_training(_FALLING, evaluation={"val_loss": 5.0}), trained)
    assert "BatchNorm" in found.what
    assert "val_loss at 5, and at 0.3" in found.evidence


def test_overfitting_is_not_blamed_on_the_evaluation() -> None:
    kept = {"own_statistics": {"val_loss": 4.5}, "evaluates_at_rest": {"val_loss": 5.0}}
    assert list(examined(_training(_FALLING, evaluation={"val_loss": 5.0}), _Trained({}, **kept))) == []
