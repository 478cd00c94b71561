"""The causes that an alarm names are declared as data, so that no verdict depends on how its message is worded."""

from __future__ import annotations

import pickle
import re
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from faultlab import guards
from faultlab.campaign.verdict import detection
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import Loss
from faultlab.core.alert import Alert
from faultlab.core.user_code import UserCode
from faultlab.detectors import exceptions
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.seams.callbacks import own_hooks
from faultlab.guards import Action, Alarm, Guard, GuardWarning
from faultlab.guards.known_profile import combine
from tests.guards.rig import Healthy, fit

GUARDS = guards.classes()
STEMS = {stem for mode in index.modes().values() for stem in mode.cause}


class Reworded(Guard):
    """Declares what its alarm is about in words that the message doesn't have."""

    checks = {"spike": "the loss leaps"}
    causes = {"spike": "spike, exploding"}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.alarm("spike", "something about labels went up a lot", "Look at it.", "learning rate")


def found_by(alert: Alert, *cause: str) -> bool:
    """Return whether the alert names a cause with these words."""
    fields: dict[str, Any] = {"point": Loss(), "severity": "critical", "effect": "silent", "no_evidence": "made up"}
    return detection(alert, 0, declare(id="loss.made-up", docstring="Made up.", cause=cause, **fields)).names_cause


def observed(action: Action) -> Alert:
    """Return the alert that an observer records of the guard above."""
    clock = LightningClock()
    heard = Warnings(clock)
    guard = Reworded(action=action)
    trainer: Any = SimpleNamespace(should_stop=False, loggers=())
    with warnings.catch_warnings(record=True), heard.listening():
        warnings.simplefilter("always")
        observer = Observer(clock, heard, own_hooks)
        observer.observe(guard, "Reworded")
        guard.on_train_start(trainer, None)
    (alert,) = observer.alerts
    return alert


@pytest.mark.parametrize("cls", GUARDS, ids=lambda cls: cls.__name__)
def test_a_guard_declares_the_causes_that_each_check_names_in_the_words_of_failure_modes(cls: type[Guard]) -> None:
    assert list(cls.causes) == list(cls.checks)
    # Settings and hyperparameters are named by what was compared.
    unnamed = {check for check, words in cls.causes.items() if not words}
    assert unnamed <= ({"settings", "hyperparameters"} if cls is guards.KnownGood else set())
    words = [word for declared in cls.causes.values() for word in declared.split(", ") if declared]
    idle = [word for word in words if not any(re.search(rf"(?<![a-z]){re.escape(stem)}", word) for stem in STEMS)]
    assert idle == [], "no failure mode has these words for its cause"


@pytest.mark.parametrize("action", ["raise", "warn"])
def test_an_alarm_names_the_declared_causes_whatever_the_words_of_its_message(action: Action) -> None:
    alert = observed(action)
    assert alert.how == {"raise": "raised", "warn": "warned"}[action]
    assert "labels went up" in alert.message
    assert [found_by(alert, word) for word in ("spike", "explod", "learning rate", "label")] == [
        True,
        True,
        True,
        False,
    ]
    assert Alert.from_json(alert.to_json()) == alert


def test_the_message_of_a_guard_that_declares_no_causes_is_searched() -> None:
    alert = Alert("guard", "Own", 3, "the loss leapt: a spike")
    assert found_by(alert, "spike")
    assert not found_by(alert, "label")


def test_an_alarm_that_ends_a_run_keeps_its_causes() -> None:
    alarm = Alarm("Reworded", "spike", "something went up", "Look at it.", causes="spike")
    alert = exceptions.classify(alarm, 3, UserCode(frozenset(), ()))
    assert found_by(alert, "spike")
    assert (alert.kind, alert.name, alert.reason) == ("guard", "Reworded", "spike")
    assert pickle.loads(pickle.dumps(alarm)).causes == "spike"
    assert GuardWarning("it failed itself").causes == ""


def test_known_good_runs_name_what_was_compared() -> None:
    fit([recorder := guards.KnownGoodRecorder()])
    with pytest.raises(Alarm) as caught:
        fit(guards.KnownGood(combine([recorder.summary] * 3), leave_out=()), Healthy(), gradient_clip_val=0.5)
    assert caught.value.check == "settings"
    assert caught.value.causes == "gradient_clip_val, 0.5, None"
