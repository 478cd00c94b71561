"""What the target profile says of the first training step, the same in both frameworks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import cross_entropy

from faultlab.frameworks.torch import layers
from faultlab.frameworks.torch.batch_roles import DataFlow
from tests.zoo import distillation


def followed(step: object) -> DataFlow:
    """Return the data flow of a function that returns a loss."""
    flow = DataFlow()
    with flow:
        loss = step()  # type: ignore[operator]
    flow.reached_loss(loss)
    return flow


def test_only_detached_tensors_that_the_loss_is_computed_from_are_stops() -> None:
    model, x = nn.Linear(3, 2), torch.randn(4, 3)
    shown: list[object] = []

    def step() -> torch.Tensor:
        output = model(x)
        loss = (output - output.flip(0).detach() * 2).square().mean()
        shown.append((float(loss.detach()), output.detach().argmax(1)))
        with torch.no_grad():
            loss.detach()
        return loss + x.detach().mean()

    (line,) = followed(step).stops
    assert line == f"test_first_step.py:{step.__code__.co_firstlineno + 2}"


def test_weights_of_classes_count_if_they_differ_and_under_any_name_of_the_loss() -> None:
    scores, labels = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    unequal, equal = torch.tensor([1.0, 2.0, 1.0]), torch.ones(3)
    for weighted in (
        lambda: cross_entropy(scores, labels, unequal),
        lambda: nn.NLLLoss(unequal)(scores.log_softmax(1), labels),
        lambda: F.binary_cross_entropy_with_logits(scores, torch.ones(4, 3), pos_weight=unequal),
    ):
        assert followed(weighted).step_calls.weighted
    for plain in (lambda: F.cross_entropy(scores, labels), lambda: cross_entropy(scores, labels, equal)):
        assert not followed(plain).step_calls.weighted


def test_values_that_cannot_be_read_are_no_facts_and_no_errors() -> None:
    q, masks, labels = torch.randn(2, 5, 4), torch.ones(2, 5, 5).tril().bool(), torch.tensor([0, 1, 2])

    def step() -> torch.Tensor:
        attended = torch.vmap(lambda q, mask: F.scaled_dot_product_attention(q, q, q, attn_mask=mask))(q, masks)
        losses = torch.vmap(lambda scores, weight: cross_entropy(scores, labels, weight))(
            torch.randn(2, 3, 4), torch.rand(2, 4)
        )
        return attended.sum() + losses.sum()

    calls = followed(step).step_calls
    assert not calls.causal
    assert not calls.weighted


def test_resting_parts_are_the_outermost_frozen_ones_in_eval_mode_while_the_rest_trains() -> None:
    model = nn.ModuleDict({"student": nn.Linear(2, 2), "teacher": nn.Sequential(nn.Linear(2, 2), nn.Dropout())})
    assert layers.resting(model) == []
    model["teacher"].requires_grad_(False)
    assert layers.resting(model) == [], "it is frozen, and in training mode"
    model["teacher"].eval()
    model["student"].eval()
    assert layers.resting(model) == [model["teacher"]], "the student is not frozen"
    assert layers.resting(model.eval()) == []


def test_tied_weights_are_shared_by_layers_and_not_by_two_names_of_one_layer() -> None:
    model = nn.ModuleDict({"first": nn.Linear(2, 2, bias=False), "second": nn.Linear(2, 2, bias=False)})
    model["again"] = model["first"]
    assert layers.tied(model) == []
    model["second"].weight = model["first"].weight
    assert layers.tied(model) == [[(model["first"], "weight"), (model["second"], "weight")]]
    model.requires_grad_(False)
    assert layers.tied(model) == []


def test_an_adapter_is_two_trainable_layers_through_a_narrow_space_beside_a_frozen_one() -> None:
    adapted = distillation.Adapted()
    model = nn.Sequential(nn.Sequential(adapted), nn.Linear(8, 3))
    assert layers.adapters(model) == [adapted.up]
    adapted.base.requires_grad_(True)
    assert layers.adapters(model) == [], "the base is trained, too"
    assert layers.adapters(distillation.Adapted(rank=20)) == [], "it is not narrow"
    assert layers.adapters(nn.Sequential(nn.Linear(8, 3).requires_grad_(False), nn.Linear(8, 3), nn.Linear(3, 8))) == []
