"""One step computed in two ways: accumulated, compiled, in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from faultlab.errors import UsageError
from faultlab.testing import (
    assert_accumulation_equivalent,
    assert_compiled_equivalent,
    assert_double_precision_equivalent,
)
from scenarios.digits.model import LitDigits
from scenarios.text import answers, tuning
from tests.frameworks.hand_written import Net
from tests.guards.rig import Healthy, points

Different = AssertionError


def _points(n: int = 32) -> Any:
    return points(n).tensors


def _rows(n: int = 16) -> Any:
    data = answers.Answers(n, seed=0)
    return default_collate([data[index] for index in range(n)])


def _images(n: int = 8) -> Any:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 10


def _loss(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_mean_over_samples_accumulates() -> None:
    assert_accumulation_equivalent(Healthy(), _points(33), parts=4)
    assert_accumulation_equivalent(Net(), _points(), _loss)


def test_a_mean_over_tokens_does_not_accumulate_over_parts_of_different_length() -> None:
    with pytest.raises(Different, match=r"2 accumulated parts are not those of the whole.* 11 of 11 differ: .*tokens"):
        assert_accumulation_equivalent(tuning.LitAnswerer(), _rows())


def test_an_accumulation_of_ones_own_that_weighs_by_tokens_passes_and_one_that_forgets_to_divide_fails() -> None:
    def by_tokens(model: Any, parts: list[Any]) -> None:
        learned = [int((part["labels"][:, 1:] != answers.IGNORED).sum()) for part in parts]
        for part, count in zip(parts, learned):
            (model.training_step(part, 0) * count / sum(learned)).backward()

    def summed(model: Any, parts: list[Any]) -> None:
        for part in parts:
            _loss(model, part).backward()

    assert_accumulation_equivalent(tuning.LitAnswerer(), _rows(), accumulate=by_tokens)
    with pytest.raises(Different, match="are not those of the whole batch"):
        assert_accumulation_equivalent(Net(), _points(), _loss, accumulate=summed)


def test_batch_normalization_is_named_where_it_makes_the_difference() -> None:
    with pytest.raises(Different, match=r"norm normalize each part by its own statistics"):
        assert_accumulation_equivalent(Net(), _points(), _loss, training=True)


def test_a_batch_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(UsageError, match="3 samples can't be split into 4 parts"):
        assert_accumulation_equivalent(Net(), _points(3), _loss, parts=4)
    with pytest.raises(UsageError, match="no common first dimension"):
        assert_accumulation_equivalent(Net(), (torch.zeros(4, 4), torch.zeros(3)), _loss)


def test_a_compiled_model_is_the_eager_one() -> None:
    assert_compiled_equivalent(Healthy(), _points(), backend="eager")
    assert_compiled_equivalent(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), _points(), _loss, backend="aot_eager")


def _miscompiling(forward: float, backward: float) -> Any:
    """A backend that multiplies what compiled forward and backward passes return."""
    from torch._dynamo.backends.common import aot_autograd

    def scaling(factor: float) -> Any:
        def compile_(graph: Any, inputs: Any) -> Any:
            return lambda *args: [out * factor if _is_float(out) else out for out in graph(*args)]

        return compile_

    from functorch.compile import make_boxed_func

    def boxed(factor: float) -> Any:
        made = scaling(factor)
        return lambda graph, inputs: make_boxed_func(made(graph, inputs))

    return aot_autograd(fw_compiler=boxed(forward), bw_compiler=boxed(backward))


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def test_a_miscompiled_backward_is_detected_though_the_loss_is_right() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    with pytest.raises(
        Different, match="has the loss of the eager one, but not its gradients: 4 of 4 differ"
    ) as failed:
        assert_compiled_equivalent(network, _points(), _loss, backend=_miscompiling(1.0, 1.5))
    assert f"torch {torch.__version__}" in str(failed.value)


def test_a_miscompiled_forward_is_detected_by_the_loss() -> None:
    network = nn.Linear(4, 3)
    with pytest.raises(Different, match="the loss of the compiled model is not that of the eager one"):
        assert_compiled_equivalent(network, _points(), _loss, backend=_miscompiling(1.5, 1.0))


def test_a_step_that_calls_no_module_compiles_nothing() -> None:
    with pytest.raises(UsageError, match="calls no module"):
        assert_compiled_equivalent(
            nn.Linear(4, 3), _points(), lambda model, batch: (batch[0] @ model.weight.T).pow(2).mean()
        )


def test_double_precision_changes_little_in_a_sound_model() -> None:
    assert_double_precision_equivalent(LitDigits(), _images())
    assert_double_precision_equivalent(answers.Answerer(), _rows(), lambda model, rows: answers.loss(model, rows)[0])


class Cancelling(Net):
    """Subtracts numbers that are almost equal."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        scores = super().forward(points)
        return ((1e7 + scores).pow(2) - 1e14) / 2e7


def test_a_subtraction_of_almost_equal_numbers_is_detected() -> None:
    with pytest.raises(Different, match=r"in double precision the (loss|gradients)"):
        assert_double_precision_equivalent(Cancelling(), _points(), _loss)


def test_the_model_keeps_its_weights_gradients_modes_and_the_random_numbers() -> None:
    model = Net().train()
    _loss(model, _points()).backward()
    before = [(p.clone(), p.grad.clone()) for p in model.parameters() if p.grad is not None]
    mean, state = model.norm.running_mean.clone(), torch.get_rng_state()  # type: ignore[union-attr]
    assert_accumulation_equivalent(model, _points(), _loss)
    assert_compiled_equivalent(model, _points(), _loss, backend="eager")
    assert_double_precision_equivalent(model, _points(), _loss)
    assert all(torch.equal(p, old) and torch.equal(p.grad, grad) for p, (old, grad) in zip(model.parameters(), before))
    assert torch.equal(model.norm.running_mean, mean)  # type: ignore[arg-type]
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert next(model.parameters()).dtype is torch.float32
    assert model._compiled_call_impl is None


def test_a_model_without_a_step_needs_a_loss() -> None:
    with pytest.raises(UsageError, match="Net has no training_step: pass a function"):
        assert_double_precision_equivalent(Net(), _points())
