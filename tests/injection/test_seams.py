"""The seams on what real projects bring: both namespaces, odd batches, iterators, workers, manual optimisation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faultlab.core.report import Status
from faultlab.engines import Engine
from tests.lab import Lab, engine, trained

ZOO = "tests.zoo.models"


@pytest.fixture(scope="module")
def working() -> Iterator[Engine]:
    with engine() as opened:
        yield opened


@pytest.mark.parametrize("namespace", ["pytorch_lightning", "lightning.pytorch"])
def test_seams_attach_in_either_namespace(working: Engine, namespace: str) -> None:
    lab = Lab(working, f"{ZOO}.classifier", namespace=namespace)
    assert lab.profile.namespace == namespace
    faults = ["return.none@always", "input.nan@step=5", "forward.constant@always", "gradient.zero@always",
              "step.raises@step=3", "loss.zeroed@always", "label.shuffled@always"]  # fmt: skip
    results = {id: lab.judge(outcome) for id, outcome in lab.run(faults).items()}
    assert {id: result.activations > 0 for id, result in results.items()} == dict.fromkeys(faults, True)
    assert results["step.raises@step=3"].first_step == 3
    assert results["input.nan@step=5"].activations == 1


@pytest.mark.parametrize(
    ("kind", "inputs", "labels"),
    [
        ("tuple", ("0",), ("1",)),
        ("dict", ("nested.features",), ("target",)),
        ("pair", ("features",), ("target",)),
        ("record", ("features",), ("target",)),
        ("bag", ("features",), ("target",)),
    ],
)
def test_roles_are_found_in_every_kind_of_batch(
    working: Engine, kind: str, inputs: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    lab = Lab(working, f"{ZOO}.classifier", kind=kind)
    assert (lab.profile.inputs, lab.profile.labels) == (inputs, labels)
    outcomes = lab.run(["input.zero@always", "label.shuffled@always"])
    for outcome in outcomes.values():
        result = lab.judge(outcome)
        assert (result.status, result.activations) == (Status.SILENT, lab.profile.steps), result


def test_one_corrupted_batch_does_not_poison_the_dataset(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.regressor")
    (outcome,) = lab.run(["input.nan@step=0,stage=validate"]).values()
    assert lab.judge(outcome).activations > 0
    assert trained(outcome).trajectory.final == lab.trajectory.final


@pytest.mark.parametrize("model", ["streaming", "pulling"])
def test_batches_that_are_read_ahead_or_pulled_by_the_step_are_broken_at_the_right_step(
    working: Engine, model: str
) -> None:
    lab = Lab(working, f"{ZOO}.{model}")
    (outcome,) = lab.run(["input.infinite@step=4"]).values()
    result = lab.judge(outcome)
    assert (result.first_step, result.activations) == (4, 1), result
    losses, clean = dict(trained(outcome).trajectory.losses), dict(lab.trajectory.losses)
    assert all(losses[step] == clean[step] for step in range(4))
    assert losses[4] != clean[4]


def test_under_manual_optimisation_losses_gradients_and_steps_are_reached(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.adversarial")
    assert not lab.profile.automatic
    assert lab.profile.losses == 2
    results = {id: lab.judge(o) for id, o in lab.run(["loss.nan@step=2", "gradient.negated@always"]).items()}
    assert results["loss.nan@step=2"].activations == 2
    assert results["gradient.negated@always"].activations == 2 * lab.profile.steps


def test_a_run_with_loader_workers_begins_anew_and_ends_alike(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.classifier", workers=1)
    (outcome,) = lab.run(["return.none@step=5"], at=5).values()
    result = lab.judge(outcome)
    assert (result.status, result.first_step, result.activations) == (Status.WARNED, 5, 1), result
    assert outcome.snapshots == []


def test_a_fault_forked_at_its_step_ends_as_one_armed_from_the_beginning(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.classifier")
    step = lab.profile.steps // 2
    faults = [f"{mode}@step={step}" for mode in ("loss.nan", "label.shuffled", "input.noise", "gradient.random")]
    forked, whole = lab.run(faults, at=step), lab.run(faults, at="construct")
    for fault in faults:
        one, other = trained(forked[fault]), trained(whole[fault])
        assert one.activations == 1
        assert repr(one.trajectory) == repr(other.trajectory), fault


def test_the_independent_evaluation_is_not_fooled_by_what_was_logged(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.classifier")
    (outcome,) = lab.run(["forward.constant@always,stage=validate"]).values()
    faulted = trained(outcome).trajectory
    assert faulted.metrics["val_loss"] != lab.trajectory.metrics["val_loss"]
    assert faulted.final == lab.trajectory.final


def test_a_target_that_logs_nothing_is_measured_by_its_loss_anew_and_not_by_what_a_fault_made_of_it(
    working: Engine,
) -> None:
    lab = Lab(working, "tests.zoo.models.language")
    outcomes = lab.run(["loss.negated@always", "loss.scaled@always"])
    negated, scaled = (lab.judge(outcomes[id]) for id in ("loss.negated@always", "loss.scaled@always"))
    assert negated.harm is not None
    assert scaled.harm is not None
    assert negated.harm.harmful, "its own curve falls and falls"
    assert not scaled.harm.harmful, "clipped gradients do not see the factor, and its own curve is in the thousands"


def test_the_independent_evaluation_is_made_whatever_the_fault_did_to_the_trainer(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.classifier")
    faults = ["setting.limit-validation-zero@always", "setting.epochs-zero@always", "precision.half@always"]
    for id, outcome in lab.run(faults).items():
        harm = lab.judge(outcome).harm
        assert harm is not None
        assert harm.faulty is not None, id
        assert harm.harmful == (id == "setting.epochs-zero@always"), harm


def test_what_no_longer_reaches_the_loggers_is_an_effect(working: Engine) -> None:
    lab = Lab(working, "tests.zoo.equipped.equipped")
    (outcome,) = lab.run(["logger.silent@always"]).values()
    assert lab.trajectory.logger_calls > 0
    assert lab.judge(outcome).status is Status.SILENT


def test_a_loss_that_is_accumulated_is_recorded_as_the_step_returned_it(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.classifier")
    (outcome,) = lab.run(["setting.accumulate-too-many:factor=2@always"]).values()
    assert trained(outcome).trajectory.losses[0] == lab.trajectory.losses[0]


def test_a_fork_goes_on_with_the_random_numbers_of_the_run_it_left(working: Engine) -> None:
    lab = Lab(working, f"{ZOO}.dicey")
    courses = []
    for place in ("construct", "fit", 5):
        (outcome,) = lab.run(["step.raises@step=1000000000"], at=place).values()
        courses.append(repr(trained(outcome).trajectory))
    assert courses[0] == courses[1] == courses[2]
