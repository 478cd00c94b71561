"""Alarms of guards in the doctor's findings: causes before signs, and numbers that are not finite where they begin."""

from __future__ import annotations

from typing import Any

from faultlab.doctor.onlooking import ALARMS, OTHERS, SIGNS


def _alarm(guard: str, check: str) -> dict[str, str]:
    return {"guard": guard, "check": check, "found": f"{guard} found it", "remedy": "Fix it."}


def _evidence(checks: Any, *alarms: dict[str, str], **seen: Any) -> list[str]:
    return [one.evidence for one in checks.run({"alarms": list(alarms), **seen})]


def test_each_alarm_is_told_once() -> None:
    alarms = [
        _alarm("SamplesIndependent", "mixed"),
        _alarm("OptimizerSettings", "epsilon"),
        _alarm("LossFalls", "flat"),
    ]
    assert _evidence(ALARMS, *alarms) == ["guards.SamplesIndependent, mixed"]
    assert _evidence(OTHERS, *alarms) == ["guards.OptimizerSettings, epsilon"]
    assert _evidence(SIGNS, *alarms) == ["guards.LossFalls, flat"]


def test_numbers_that_are_not_finite_are_told_where_they_begin() -> None:
    alarms = [_alarm("Gradients", "not-finite"), _alarm("OutputsVary", "not-finite"), _alarm("LossFalls", "flat")]
    assert _evidence(OTHERS, *alarms) == []
    assert _evidence(SIGNS, *alarms) == ["guards.Gradients, not-finite", "guards.LossFalls, flat"]


def test_alarms_about_outputs_gradients_and_weights_are_signs_of_another_cause() -> None:
    alarms = [
        _alarm("ParametersMove", "too-large"),
        _alarm("Gradients", "layer-zero"),
        _alarm("OutputsVary", "constant"),
    ]
    assert _evidence(OTHERS, *alarms) == []
    assert len(_evidence(SIGNS, *alarms)) == 3


def test_data_that_are_not_finite_are_a_cause() -> None:
    assert _evidence(OTHERS, _alarm("BatchSchema", "not-finite")) == ["guards.BatchSchema, not-finite"]


def test_nothing_is_told_of_a_training_that_an_exception_ended() -> None:
    alarm = _alarm("OptimizerSettings", "epsilon")
    assert _evidence(OTHERS, alarm, error={"message": "ValueError: no"}) == []
