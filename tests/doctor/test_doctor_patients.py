"""Ill trainings after public threads: the doctor names the cause and a remedy, and takes the healthy twin for well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import Finding
from faultlab.engines import Engine
from tests.patients import (
    fifth,
    fifth_afterwards,
    first,
    first_trainer,
    fourth,
    fourth_data,
    second,
    seventh,
    seventh_losses,
    seventh_validation,
    sixth,
    sixth_data,
    sixth_schedules,
    third,
)
from tests.patients.patient import Patient, alarms

# One of each kind: swallowed nowhere, raised before the step, silent.
_QUICK = ("target-broadcast", "optimizer-index", "layers-in-a-list")
_PARTS = (
    *(first, first_trainer, second, third, fourth, fourth_data, fifth, fifth_afterwards),
    *(sixth, sixth_data, sixth_schedules, seventh, seventh_losses, seventh_validation),
)
_ALL = [one for part in _PARTS for one in part.PATIENTS]
# The doctor examines the first fit of a script, and what is ill with this one is its second.
_SECOND_FIT = pytest.mark.xfail(reason="only the first fit of a script is examined", strict=True)
_UNNAMED = pytest.mark.xfail(reason="no check looks for this cause yet", strict=True)
_NIGHTLY = pytest.mark.nightly(reason="three of them run quick; each takes two trainings")


def _marked(patients: list[Patient], more: Mapping[str, pytest.MarkDecorator] = {}) -> list[object]:
    return [
        pytest.param(
            one,
            id=one.name,
            marks=[*([] if one.name in _QUICK else [_NIGHTLY]), *([more[one.name]] if one.name in more else [])],
        )
        for one in patients
    ]


_MISSED = {"rate-from-the-checkpoint": _SECOND_FIT, **dict.fromkeys(seventh.UNNAMED, _UNNAMED)}


def _examined(folder: Path, patient: Patient, healthy: bool, engine: Engine) -> list[Finding]:
    script = folder / f"{patient.name.replace('-', '_')}{'_healthy' if healthy else ''}.py"
    script.write_text(patient.script(healthy))
    return list(examine(str(script), 60, engine=engine))


@pytest.mark.parametrize("patient", _marked(_ALL, _MISSED))
def test_the_cause_of_an_ill_training_is_named_with_a_remedy(patient: Patient, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, patient, False, engine)
    assert patient.diagnosed(found), [one for one in found if one.verdict != "ok"]


@pytest.mark.parametrize("patient", _marked(_ALL))
def test_the_training_with_the_remedy_in_it_is_well(patient: Patient, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, patient, True, engine)
    assert alarms(found) == []
    assert not patient.diagnosed(found)


def test_each_thread_is_written_down_once() -> None:
    threads = [one.thread for one in _ALL]
    assert len(set(threads)) == len(threads)
    assert all("#" in thread for thread in threads)
