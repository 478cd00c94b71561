"""Every way to compute gradients and to step optimizers, and whether triggers count batches or optimizer steps."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from faultlab import api
from faultlab.campaign import plan
from faultlab.config.scenario import load
from faultlab.core.fault import Trigger
from faultlab.core.report import Report, Status
from faultlab.core.target_profile import TargetProfile

ANOTHER = pytest.mark.nightly(reason="the same campaign on another form; the quick ring has the rarest")


def campaign(tmp_path: Path, train: str, *select: str) -> Report:
    (tmp_path / "loop.yaml").write_text(
        f"schema: 1\nname: loop\nframework: torch\ntrain: {{class_path: tests.frameworks.{train}}}\n"
    )
    return api.run(load(tmp_path / "loop.yaml"), select=list(select), out=tmp_path / "out", advice=False)


# In a step each: what acts before, in, and after backward, and in the update.
FAULTS = ("loss.nan@step=3", "gradient.nan@step=4", "optimizer.drops-update@step=5", "optimizer.no-zero-grad@always",
          "weights.nan@step=6", "forward.nan@step=7")  # fmt: skip
NO_BACKWARD = "no backward was seen in the clean run"
NOT_CLEARED = "zero_grad is not called in the clean run"
WITHIN = "the optimizers are stepped within backward, as each gradient is ready, and none is left after it"

OUT_OF_REACH: dict[str, dict[str, str]] = {
    "by_function": {},
    "by_hand": {"gradient.nan": NO_BACKWARD, "loss.nan": "no loss was seen in the clean run",
                "optimizer.no-zero-grad": NOT_CLEARED},
    "clearing_by_hand": {"optimizer.no-zero-grad": NOT_CLEARED},
    "in_backward": {"gradient.nan": WITHIN},
    "with_closure": {},
    "compiled": {},
    "checkpointed": {},
    "checkpointed_reentrant": {},
    "several": {},
    "cleared_by_module": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=() if form == "in_backward" else ANOTHER) for form in OUT_OF_REACH],
)
def test_what_is_served_acts_in_its_step_and_what_is_not_has_its_reason(form: str, tmp_path: Path) -> None:
    report = campaign(tmp_path, f"updating.{form}", *FAULTS)
    assert report.reasons == []
    missing = {fault.mode: fault.reason for fault in report.faults if fault.status is Status.NOT_APPLICABLE}
    assert missing == OUT_OF_REACH[form]
    acted = {fault.id: fault.first_step for fault in report.faults if fault.mode not in missing}
    steps = {id: 0 if id.endswith("@always") else int(id[-1]) for id in FAULTS}
    assert acted == {id: step for id, step in steps.items() if id.partition("@")[0] not in missing}


TRIGGERS = ("loss.negated@step=4", "loss.negated@update=1", "dataset.item-raises@update=2", "label.shuffled@update=0",
            "loss.negated@update=3")  # fmt: skip


def test_a_trigger_counts_batches_or_the_optimizer_steps_that_they_are_accumulated_for(tmp_path: Path) -> None:
    report = campaign(tmp_path, "updating.accumulating", *TRIGGERS)
    found = {fault.id: (fault.first_step, fault.activations) for fault in report.faults if fault.first_step is not None}
    assert found == {
        "loss.negated@step=4": (4, 1),
        "loss.negated@update=1": (3, 3),
        "dataset.item-raises@update=2": (6, 1),
        "label.shuffled@update=0": (0, 3),
    }
    (late,) = (fault for fault in report.faults if fault.id == "loss.negated@update=3")
    assert (late.status, late.reason) == (Status.NOT_ACTIVATED, "the clean run has only 3 optimizer steps")


@pytest.mark.nightly(reason="a whole campaign; the quick ring has one by hand")
def test_all_batches_of_an_update_of_a_trainer_are_one_optimizer_step(tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    report = campaign(tmp_path, "hf_written.accumulating", "label.shuffled@update=1", "label.shuffled@step=1")
    found = {fault.id: (fault.first_step, fault.activations) for fault in report.faults}
    assert found == {"label.shuffled@update=1": (4, 4), "label.shuffled@step=1": (1, 1)}


@pytest.mark.parametrize(
    ("updated_at", "spans"),
    [
        ((), [(0, [0]), (1, [1]), (5, [5])]),
        ((2, 5), [(0, [0]), (2, [0]), (3, [1]), (5, [1])]),
        ((0, 0, 1, 1), [(0, [0, 1]), (1, [2, 3])]),
    ],
)
def test_a_batch_is_part_of_the_optimizer_steps_that_it_is_learned_in(
    updated_at: tuple[int, ...], spans: list[tuple[int, list[int]]]
) -> None:
    profile = TargetProfile(steps=6, updated_at=updated_at)
    for step, updates in spans:
        assert list(profile.updates_in(step)) == updates
        assert all((profile.first_step_of(update) or 0) <= step for update in updates)


def test_an_optimizer_step_that_never_comes_is_known_before_anything_runs() -> None:
    profile = TargetProfile(steps=6, updated_at=(2, 5), updates=2)
    assert (profile.first_step_of(1), profile.first_step_of(2)) == (3, None)
    assert plan._never_met(Trigger.parse("@update=2"), profile) == "the clean run has only 2 optimizer steps"


@pytest.mark.nightly(reason="two campaigns, of a loop and of the same loop with the mistake in its source")
def test_a_scheduler_that_a_fault_steps_per_batch_is_as_the_mistake_in_the_source(tmp_path: Path) -> None:
    (fault,) = campaign(tmp_path, "updating.scheduled", "scheduler.per-batch@always").faults
    assert (fault.status, fault.activations) == (Status.SILENT, 1)
    mistaken = campaign(tmp_path, "updating.scheduled, init_args: {per_batch: true}", "scheduler.per-batch@always")
    assert fault.harm is not None
    assert fault.harm.faulty == mistaken.baseline.metrics["val_loss"]
    (none,) = mistaken.faults
    assert (none.status, none.reason) == (Status.NOT_APPLICABLE, "no scheduler is stepped once an epoch")
