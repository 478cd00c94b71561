"""pytest-torch: its assertions about models and short trainings, as tests of the project would call them."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run
from benchmarks.realbugs.training import optimizer_of


class _Objective(nn.Module):
    """The model with its loss, as a module of the batch."""

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *parts: Any, **fields: Any) -> torch.Tensor:
        return self.loss(self.model, fields or (parts if len(parts) > 1 else parts[0]))


@detector(
    "pytest-torch",
    "public",
    "Tests with check_inference_contract, assert_gradients_finite, assert_all_params_receive_grad, "
    "assert_optimizer_coverage, assert_overfits_one_batch and a short run that is asserted to be healthy, of the model "
    "with its own loss and optimizer.",
    environment="peers",
    package="pytest-torch",
    module="pytest_torch",
    before=True,
)
def watch(run: Run) -> None:
    import pytest_torch as pt

    parts, batch = run.parts, run.batch()
    model = _Objective(copy.deepcopy(parts.model), parts.loss)

    def passed(output: Any, *_: Any) -> Any:
        return output

    def healthy() -> None:
        if run.framework == "lightning":
            setup, step = pt.from_lightning(lambda: copy.deepcopy(parts.model), epoch_length=len(parts.loader))
        else:
            step = pt.standard_step(lambda whole, batch: parts.loss(whole.model, batch))

            def setup() -> Any:
                whole = _Objective(copy.deepcopy(parts.model), parts.loss)
                return pt.TrainingSetup(whole, optimizer_of(parts, whole.model))

        pt.run_training(setup, [run.batch() for _ in range(8)], step, steps=20, seed=run.seed).assert_healthy()

    tests: dict[str, Callable[[], Any]] = {
        "gradients_finite": lambda: pt.assert_gradients_finite(model, batch, passed),
        "all_params_receive_grad": lambda: pt.assert_all_params_receive_grad(model, batch, passed),
        "optimizer_coverage": lambda: pt.assert_optimizer_coverage(parts.model, optimizer_of(parts)),
        "overfits_one_batch": lambda: pt.assert_overfits_one_batch(model, batch, passed),
        "healthy": healthy,
    }
    if run.framework != "transformers":
        inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
        tests["inference_contract"] = lambda: pt.check_inference_contract(copy.deepcopy(parts.model).eval(), inputs)
    for name, test in tests.items():
        try:
            test()
        except AssertionError as failure:
            run.alert(name, str(failure))
