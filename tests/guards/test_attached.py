"""attach: guards in a training loop of the user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from faultlab.guards import Alarm, StepsTaken, all, attach
from tests.guards.rig import Healthy, loaders


class ByHand(torch.nn.Module):
    """The healthy module's parts as a plain torch module."""

    def __init__(self) -> None:
        super().__init__()
        inner = Healthy()
        self.body, self.head = inner.body, inner.head
        self.seen: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(batch_idx)
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])


def loop(module: Any, guards: Any = None, epochs: int = 2, step: bool = True, mode: bool = True) -> Any:
    """Run a plain loop over two epochs with guards attached."""
    torch.manual_seed(0)
    train, validation = loaders()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    with attach(module, guards, optimizer, train_dataloader=train) as attached:
        for _ in range(epochs):
            module.train(mode)
            for index, batch in enumerate(train):
                optimizer.zero_grad()
                module.training_step(batch, index).backward()
                if step:
                    optimizer.step()
            module.eval()
            with torch.no_grad():
                for index, batch in enumerate(validation):
                    module.validation_step(batch, index)
    return attached


@pytest.mark.parametrize("cls", [ByHand, Healthy])
@pytest.mark.parametrize("level", ["cheap", "full"])
def test_a_healthy_loop_is_allowed(cls: Any, level: Any) -> None:
    attached = loop(cls(), all(level))
    assert (attached.trainer.global_step, attached.trainer.current_epoch) == (16, 1)


def test_a_loop_that_never_steps_is_detected_where_the_second_batch_begins() -> None:
    with pytest.raises(Alarm, match="ended without an optimizer step"):
        loop(module := ByHand(), StepsTaken(), step=False)
    assert module.seen == [0]


def test_a_loop_that_trains_in_eval_mode_is_detected() -> None:
    with pytest.raises(Alarm, match="eval mode"):
        loop(ByHand(), mode=False)


def test_a_metric_that_is_stuck_is_detected() -> None:
    class Stuck(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_loss", 0.7)

    with pytest.raises(Alarm, match="constant"):
        loop(Stuck(), epochs=3)


def test_a_loss_that_is_not_driven_backwards_is_detected_at_that_batch() -> None:
    module, (train, _) = ByHand(), loaders()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def forgetful() -> None:
        with attach(module, StepsTaken(), optimizer):
            for index, batch in enumerate(train):
                module.training_step(batch, index)
                optimizer.step()

    with pytest.raises(Alarm, match="ended without a backward pass"):
        forgetful()
    assert module.seen == [0]


def test_accumulated_batches_are_allowed() -> None:
    module, (train, _) = ByHand(), loaders()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    with attach(module, optimizers=optimizer, accumulate_grad_batches=4) as attached:
        for index, batch in enumerate(train):
            (module.training_step(batch, index) / 4).backward()
            if index % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert attached.trainer.global_step == 2


@pytest.mark.parametrize("fails", [True, False])
def test_everything_is_put_back(fails: bool) -> None:
    module = ByHand()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = dict(vars(module))
    try:
        with attach(module, optimizers=optimizer):
            assert "training_step" in vars(module)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert dict(vars(module)) == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_the_course_of_training_is_the_same_with_guards() -> None:
    def weights(guards: Any) -> torch.Tensor:
        torch.manual_seed(1)
        loop(module := ByHand(), guards)
        return module.head.weight.detach()

    assert torch.equal(weights([]), weights(all("full")))
