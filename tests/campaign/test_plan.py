"""What will be run, from where, and what is settled without a run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from faultlab.campaign.plan import make, place
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import Dose, FailureMode, declare
from faultlab.catalogue.injection_points import InjectionPoint, StepOutput
from faultlab.catalogue.injection_points.point import Attachment
from faultlab.config.selection import Selection
from faultlab.core.fault import Fault, Trigger
from faultlab.core.orders import Planned
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import UsageError

PROFILE = TargetProfile(steps=32, epochs=2, validation_batches=3)


@dataclass(frozen=True)
class MadeUp(InjectionPoint):
    at: Attachment = "step"
    reason: str = ""

    @property
    def attach_at(self) -> Attachment:
        return self.at

    def inapplicable(self, profile: TargetProfile) -> str:
        return self.reason


def _mode(id: str, point: InjectionPoint | None = None, **more: Any) -> FailureMode:
    known: dict[str, Any] = {"point": point or MadeUp(), "severity": "minor", "effect": "silent", "cause": ("x",)}
    return declare(id=id, docstring="Made up.", no_evidence="made up", **{**known, **more})


MODES = {
    mode.id: mode
    for mode in [
        _mode("input.noisy", doses=(Dose("scale", 1.0, 0.0, 9.0),)),
        _mode("loss.nan", when="middle"),
        _mode("loss.zero"),
        _mode("step.raises"),
    ]
}


def _ids(profile: TargetProfile = PROFILE, **selection: Any) -> list[str]:
    return [entry.id for entry in make(Selection(**selection), profile, MODES)]


@pytest.mark.parametrize(
    ("trigger", "at"),
    [
        ("always", 0),
        ("once", 0),
        ("every=5", 0),
        ("p=0.5", 0),
        ("step=0", 0),
        ("step=8", 8),
        ("step=31", 31),
        ("step=32", 0),
        ("epoch=0", 0),
        ("epoch=1", 15),
        ("epoch=2", 31),
        ("epoch=9", 31),
        ("step=8,rank=0", 8),
        ("step=8,stage=train", 8),
        ("step=8,stage=validate", "fit"),
        ("always,stage=test", "fit"),
    ],
)
def test_a_run_begins_at_the_latest_place_that_the_trigger_allows(trigger: str, at: int | str) -> None:
    assert place(Fault.parse(f"loss.zero@{trigger}"), MODES["loss.zero"], PROFILE) == at


def test_a_seam_that_must_be_in_place_before_fit_begins_there() -> None:
    early = _mode("step.early", MadeUp(at="fit"))
    assert place(Fault.parse("step.early@step=8"), early, PROFILE) == "fit"


def test_a_failure_mode_that_acts_outside_training_begins_before_fit() -> None:
    for stages in (("validate",), ("train", "validate"), "every"):
        mode = _mode("step.early", stages=stages)
        assert place(Fault.parse("step.early@step=8"), mode, PROFILE) == "fit"
        assert place(Fault.parse("step.early@step=8,stage=train"), mode, PROFILE) == 8


def test_the_plan_holds_every_failure_mode_with_its_default_trigger_in_order() -> None:
    expected = [
        Planned(Fault.parse("input.noisy@always"), 0),
        Planned(Fault.parse("loss.nan@step=16"), 16),
        Planned(Fault.parse("loss.zero@always"), 0),
        Planned(Fault.parse("step.raises@always"), 0),
    ]
    assert make(Selection(), PROFILE, dict(reversed(MODES.items()))) == expected


@pytest.mark.parametrize(
    ("select", "ids"),
    [
        (["loss.*"], ["loss.nan@step=16", "loss.zero@always"]),
        (["step.raises", "loss.zero"], ["loss.zero@always", "step.raises@always"]),
        (["loss.nan@step=3"], ["loss.nan@step=3"]),
        (["loss.nan", "loss.nan@step=3"], ["loss.nan@step=16", "loss.nan@step=3"]),
        (["loss.nan", "loss.*", "*.nan", "loss.nan@step=16"], ["loss.nan@step=16", "loss.zero@always"]),
        (["input.noisy:scale=2"], ["input.noisy:scale=2@always"]),
        (["input.noisy:scale=2@once,seed=4"], ["input.noisy:scale=2@once,seed=4"]),
        (["loss.zero@seed=4"], ["loss.zero@always,seed=4"]),
        ([], []),
    ],
)
def test_globs_and_whole_faults_are_selected_each_once(select: list[str], ids: list[str]) -> None:
    assert _ids(select=select) == ids


def test_what_is_skipped_is_not_planned_however_it_was_selected() -> None:
    assert _ids(select=["*", "loss.nan@step=3"], skip=["loss.*", "step.raises"]) == ["input.noisy@always"]


def test_other_triggers_replace_the_default_and_the_first_glob_that_matches_counts() -> None:
    when = {"loss.nan": ["@once", "step=3"], "loss.*": ["@every=2"]}
    assert _ids(select=["loss.*"], when=when) == ["loss.nan@once", "loss.nan@step=3", "loss.zero@every=2"]


def test_other_triggers_do_not_replace_one_that_was_asked_for_but_keep_doses() -> None:
    when = {"*": ["@once"]}
    assert _ids(select=["loss.nan@step=3"], when=when) == ["loss.nan@step=3"]
    assert _ids(select=["input.noisy:scale=2"], when=when) == ["input.noisy:scale=2@once"]


def test_an_exemption_settles_a_fault_without_a_run_and_says_why() -> None:
    plan = make(Selection(select=["loss.*"], exemptions=[("*.nan", "on purpose"), ("*", "later")]), PROFILE, MODES)
    assert plan[0] == Planned(Fault.parse("loss.nan@step=16"), status="ignored", reason="on purpose")
    assert plan[1] == Planned(Fault.parse("loss.zero@always"), status="ignored", reason="later")


def test_what_cannot_apply_is_settled_with_the_reason_even_where_it_is_exempted() -> None:
    modes = {
        "loss.nan": _mode("loss.nan", MadeUp(reason="there is no loss")),
        "loss.zero": _mode("loss.zero", needs=("validation", "automatic-optimization")),
        "loss.validated": _mode("loss.validated", stages=("validate",)),
    }
    bare = TargetProfile(steps=32, epochs=2, automatic=False)
    plan = {entry.id: entry for entry in make(Selection(exemptions=[("*", "on purpose")]), bare, modes)}
    assert {(entry.id, entry.status, entry.reason) for entry in plan.values()} == {
        ("loss.nan@always", "not_applicable", "there is no loss"),
        ("loss.zero@always", "not_applicable", "there is no validation loop"),
        ("loss.validated@always", "not_applicable", "there is no validation loop"),
    }


def test_a_dose_that_the_failure_mode_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="no dose 'size'"):
        _ids(select=["input.noisy:size=2"])


def test_a_selection_takes_faults_and_their_texts_alike() -> None:
    fault = Fault("loss.nan", {}, Trigger("step", 3))
    assert _ids(select=[fault]) == _ids(select=[str(fault)]) == ["loss.nan@step=3"]
    assert _ids(select=[fault], skip=["loss.*"]) == []


def test_a_step_that_the_run_never_reaches_is_settled_as_inconclusive_and_says_how_many_there_are() -> None:
    (entry,) = make(Selection(select=["loss.nan@step=32"]), PROFILE, MODES)
    assert (entry.status, entry.reason) == ("not_activated", "the clean run has only 32 steps")
    (entry,) = make(Selection(select=["loss.nan@step=31"]), PROFILE, MODES)
    assert (entry.status, entry.at) == ("", 31)


def test_each_callback_means_each_of_which_a_hook_is_called() -> None:
    modes = {"callback.off": _mode("callback.off", doses=(Dose("callback", "each"),))}
    profile = TargetProfile(steps=4, callbacks=("Mute", "Busy"), callback_hooks={"Busy": {}})
    planned = make(Selection(), profile, modes)
    assert [entry.id for entry in planned] == ["callback.off:callback=Busy@always"]


def test_what_the_targets_framework_has_no_hook_for_does_not_apply_and_says_so() -> None:
    modes = {"loss.nan": _mode("loss.nan"), "loss.zero": _mode("loss.zero", StepOutput(), needs=("validation",))}
    toy = TargetProfile(framework="toy", seams=("MadeUp",), steps=4)
    planned = {entry.id: entry for entry in make(Selection(), toy, modes)}
    assert planned["loss.nan@always"] == Planned(Fault.parse("loss.nan@always"), 0)
    foreign = planned["loss.zero@always"]
    assert foreign.status == "not_applicable"
    assert foreign.reason == "`framework: toy` has no step output that faultlab can break"


def test_the_plan_is_made_without_torch() -> None:
    code = """
import sys
from faultlab.campaign.preparation import Preparation
from faultlab.config.selection import Selection
from faultlab.core.target_profile import TargetProfile
preparation = Preparation(None, None, None, 0, None)
planned = preparation.plan(Selection(), TargetProfile(steps=4, losses=1))
print(len(planned), [name for name in ("torch", "pytorch_lightning", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == f"{len(index.modes())} []\n"
