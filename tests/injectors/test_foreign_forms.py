"""Forms of batches and steps that modules of other projects brought, and that roles or injectors once got wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from faultlab.core.report import Status
from faultlab.engines import Engine
from faultlab.injection import tree
from tests.lab import Lab, engine, trained
from tests.zoo.foreign import Encoding, Graph, Store

FOREIGN = "tests.zoo.foreign"
FIELD = pytest.mark.nightly(reason="a target like one of the field's; the quick ring has the forms of the zoo")


@pytest.fixture(scope="module")
def working() -> Iterator[Engine]:
    with engine() as opened:
        yield opened


@FIELD
@pytest.mark.parametrize(
    ("model", "inputs", "labels"),
    [
        ("teacher_forced", ("0",), ("1",)),
        ("autoencoder", ("x", "group"), ()),
        ("weighed", ("0",), ("1",)),
        ("forecaster", ("0.history", "0.history_lengths"), ("0.future", "1.0")),
        ("encoded", ("input_ids", "attention_mask"), ("labels",)),
        ("graphs", ("store.x", "store.edge_index", "store.batch"), ("store.y",)),
    ],
)
def test_roles_are_found(working: Engine, model: str, inputs: tuple[str, ...], labels: tuple[str, ...]) -> None:
    lab = Lab(working, f"{FOREIGN}.{model}")
    assert (lab.profile.inputs, lab.profile.labels) == (inputs, labels)


@FIELD
@pytest.mark.parametrize("namespace", ["pytorch_lightning", "lightning.pytorch"])
def test_roles_are_found_behind_a_hook_that_replaces_the_batch(working: Engine, namespace: str) -> None:
    lab = Lab(working, f"{FOREIGN}.augmented", namespace=namespace)
    assert (lab.profile.inputs, lab.profile.labels) == (("1",), ("0",))


@FIELD
def test_a_forward_that_only_validation_calls_is_not_what_is_broken_in_training(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.headed")
    assert lab.profile.forward == "heads.value"
    outcomes = lab.run(["forward.nan@step=2", "forward.raises@step=2", "forward.no-grad@always"])
    assert [(lab.judge(outcome).activations > 0) for outcome in outcomes.values()] == [True] * 3


@FIELD
def test_the_arguments_of_a_loader_that_never_asks_for_them_are_not_broken(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.joined")
    assert (lab.profile.inputs, lab.profile.labels) == (("0",), ("1",))
    plan = lab.plan(["dataset.empty-validation", "dataset.truncated", "loader.batching-disabled", "loader.slow"])
    reasons = [f"the {stage} loader has custom sampling" for stage in ("validation", "training", "training")]
    assert list(plan.values()) == [*reasons, ""]


@FIELD
def test_targets_that_the_model_is_given_too_are_labels_by_their_name(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.teacher_forced", named=True)
    assert (lab.profile.inputs, lab.profile.labels) == (("source",), ("labels",))
    results = [lab.judge(outcome) for outcome in lab.run(["label.shuffled@always", "input.zero@always"]).values()]
    assert [result.status for result in results] == [Status.SILENT] * 2


@FIELD
def test_one_tensor_in_two_places_is_broken_alike_in_both(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.forecaster")
    (outcome,) = lab.run(["label.shuffled@always"]).values()
    assert lab.judge(outcome).activations == lab.profile.steps


@FIELD
@pytest.mark.parametrize("model", ["forecaster", "encoded", "graphs"])
def test_lengths_masks_and_edges_are_not_what_is_broken_in_inputs(working: Engine, model: str) -> None:
    lab = Lab(working, f"{FOREIGN}.{model}")
    outcomes = lab.run(["input.zero@always", "batch.transposed@always"])
    zero, transposed = (lab.judge(outcomes[f"{mode}@always"]) for mode in ("input.zero", "batch.transposed"))
    assert (zero.status, zero.activations) == (Status.SILENT, lab.profile.steps), zero
    # Lengths of zero would be detected, and a mask of zeros would make NaN.
    assert all(math.isfinite(loss) for _, loss in trained(outcomes["input.zero@always"]).trajectory.losses)
    assert transposed.activations in (1, lab.profile.steps)


@FIELD
def test_a_mapping_that_is_no_dict_stays_what_it_is(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.encoded")
    assert lab.profile.batch == "dict"
    results = {id.partition("@")[0]: lab.judge(outcome) for id, outcome in lab.run(
        ["batch.extra-element@always", "batch.inputs-only@always", "batch.as-dict@always"]
    ).items()}  # fmt: skip
    assert results["batch.extra-element"].status is Status.NO_EFFECT
    assert "'labels'" in results["batch.inputs-only"].detected_by[0].message
    assert results["batch.as-dict"].status is Status.DETECTED


@FIELD
def test_of_a_graph_no_samples_are_taken(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.graphs")
    plan = lab.plan(["batch.empty", "batch.samples-dropped", "input.constant", "input.nan", "label.shuffled"])
    reason = "the samples of a batch are joined, as graphs are, and cannot be taken out one by one"
    assert list(plan.values()) == [reason, reason, reason, "", ""]


def test_what_a_batch_is_made_of_is_never_written_into() -> None:
    graph = Graph(x=torch.ones(2), y=torch.ones(1))
    store, encoding = Store(x=torch.ones(2)), Encoding(x=torch.ones(2))
    for batch, path in ((graph, "store.x"), (store, "x"), (encoding, "x")):
        changed = tree.replace(batch, {path: torch.zeros(2)})
        assert type(changed) is type(batch)
        assert tree.get(changed, path).sum() == 0
        assert tree.get(batch, path).sum() == 2


@FIELD
def test_recording_the_losses_of_manual_optimisation_warns_of_nothing(working: Engine) -> None:
    lab = Lab(working, "tests.zoo.models.adversarial")
    assert not [shown.text for shown in lab.clean.warnings if "requires_grad" in shown.text]


@FIELD
def test_a_victim_has_the_files_that_were_written_before_its_step_and_no_later_ones(working: Engine) -> None:
    lab = Lab(working, f"{FOREIGN}.writing")
    faults = [f"loss.zeroed@step={step}" for step in (3, 4, 5)]
    for at in (3, 5):
        for fault, outcome in lab.run(faults, at=at).items():
            assert trained(outcome).trajectory.end == "finished", (fault, outcome.output)


class Named(torch.Tensor):
    """A tensor that knows the names of its columns, and can't do without."""

    names_of_columns: list[str]

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        new = super().clone(*args, **kwargs)
        new.names_of_columns = list(self.names_of_columns)
        return new


def test_a_tensor_that_keeps_more_than_values_is_broken_as_a_plain_one_and_keeps_it() -> None:
    named = torch.ones(2, 3).as_subclass(Named)
    named.names_of_columns = ["a", "b", "c"]
    batch = {"x": named, "y": torch.zeros(2)}
    bare = tree.bare(batch)
    assert type(bare["x"]) is torch.Tensor
    assert bare["y"] is batch["y"]
    broken = tree.dressed(tree.replace(bare, {"x": (bare["x"] * 2).clone()}), like=batch)
    assert type(broken["x"]) is Named
    assert broken["x"].names_of_columns == ["a", "b", "c"]
    assert broken["x"].sum() == 12
    assert tree.bare(batch["y"]) is batch["y"]
