"""The terms of a loss, and what becomes of the gradients if one is detached."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from faultlab.injection.loss_terms import terms

Parameters = tuple[nn.Parameter, nn.Parameter, nn.Parameter]


@pytest.fixture
def parameters() -> Parameters:
    return nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(0.5))


@pytest.mark.parametrize(
    ("loss", "number"),
    [
        (lambda a, b, c: a.square().mean() + b.square(), 2),
        (lambda a, b, c: (a.mean() + 0.1 * (b - c)) / 2, 3),
        (lambda a, b, c: sum([a.mean(), b.square(), c.square()]), 3),
        (lambda a, b, c: a.square().mean() - 0.1 * b.reshape(1), 2),
        (lambda a, b, c: 0.5 * (a.mean() * c + b), 2),
        (lambda a, b, c: a.mean() + 1.0, 0),
        (lambda a, b, c: (a.square() + a).mean(), 0),
        (lambda a, b, c: a.mean() * (b + c), 0),
        (lambda a, b, c: a.mean().detach() + b, 0),
        (lambda a, b, c: b, 0),
        (lambda a, b, c: a + b, 0),
    ],
    ids=["two", "a multiple", "a list", "minus", "weighed", "an offset", "within a mean", "a product", "detached",
         "a parameter", "several numbers"],
)  # fmt: skip
def test_the_terms_of_a_loss_are_the_summands_that_have_gradients(
    parameters: Parameters, loss: Callable[..., Tensor], number: int
) -> None:
    assert len(terms(loss(*parameters))) == number


def test_a_detached_term_gives_no_gradient_even_to_what_other_terms_share(parameters: Parameters) -> None:
    a, b, c = parameters
    shared = a.square().mean()
    loss = shared + 0.1 * (shared * b) - c
    terms(loss)[1].detach()
    loss.backward()
    assert torch.equal(a.grad, a.detach())
    assert b.grad is None, "it has no gradient, as after detach, instead of zeros"
    assert c.grad == -1
