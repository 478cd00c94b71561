"""Copies of a module that guards try out: their number, and what they leave unchanged."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faultlab.guards import (
    ClippingActs,
    EvaluationRepeats,
    Guard,
    LearningRate,
    MetricsRecomputed,
    SamplesIndependent,
    StepsTaken,
)
from faultlab.guards.support import draws, trials
from faultlab.guards.support.idle_trainer import IdleTrainer
from faultlab.guards.support.training_view import TrainingView
from tests.guards.rig import Healthy, alarm_of, fit


class Asked(TrainingView):
    """A trainer with only what copies need."""

    global_step = 0
    sanity_checking = False


def none(why: str) -> None:
    raise AssertionError(why)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the modules that copies are made of from now on."""
    found: list[Any] = []
    copied = trials.copied

    def counting(value: Any, memo: Any) -> Any:
        if isinstance(value, Healthy):
            found.append(type(value))
        return copied(value, memo)

    monkeypatch.setattr(trials, "copied", counting)
    return found


def test_guards_that_look_at_one_moment_share_a_copy() -> None:
    module, trainer = Healthy(), Asked()
    first = trials.shared(module, trainer, none)
    assert first is not None
    assert trials.shared(module, trainer, none) is first
    assert trials.own(module, trainer, none) is not first


def _takes_a_step(module: Healthy, trainer: Asked) -> None:
    trainer.global_step += 1


def _ends_the_sanity_check(module: Healthy, trainer: Asked) -> None:
    trainer.sanity_checking = True


def _writes(module: Healthy, trainer: Asked) -> None:
    with torch.no_grad():
        module.head.weight.zero_()


def _keeps_apart(module: Healthy, trainer: Asked) -> None:
    trials.keep_apart(module)


@pytest.mark.parametrize("change", [_takes_a_step, _ends_the_sanity_check, _writes, _keeps_apart])
def test_a_copy_of_another_moment_is_not_shared(change: Callable[[Healthy, Asked], None]) -> None:
    module, trainer = Healthy(), Asked()
    first = trials.shared(module, trainer, none)
    change(module, trainer)
    assert trials.shared(module, trainer, none) is not first


def test_a_copy_without_a_reference_is_freed() -> None:
    module, trainer = Healthy(), Asked()
    trials.shared(module, trainer, none)
    gc.collect()
    assert trials._SHARED[module][1]() is None


def test_a_shared_copy_runs_in_eval_mode_or_in_the_modes_that_it_was_copied_in() -> None:
    module = Healthy()
    module.body[1].eval()
    trial = trials.shared(module, Asked(), none)
    assert trial is not None
    modes = [part.training for part in module.modules()]
    for evaluates in (False, True, False):
        with trial.running(evaluates=evaluates):
            assert [part.training for part in trial.module.modules()] == [not evaluates and mode for mode in modes]
    assert [part.training for part in module.modules()] == modes


def test_a_network_that_draws_nothing_in_validation_is_not_copied_to_see_whether_it_repeats(made: list[Any]) -> None:
    guard = EvaluationRepeats()
    fit(guard)
    assert guard.looked == 1
    assert made == []


def test_a_healthy_training_is_copied_once_a_validation_and_once_an_epoch(made: list[Any]) -> None:
    fit([EvaluationRepeats(), MetricsRecomputed(), SamplesIndependent()])
    assert len(made) == 3 + 2


def test_guards_share_the_copy_of_a_network_that_draws(made: list[Any]) -> None:
    class Forgetful(Healthy):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(F.dropout(inputs, 0.2))

    alarm = alarm_of([EvaluationRepeats(), MetricsRecomputed()], Forgetful())
    assert alarm is not None
    assert (alarm.guard, alarm.check) == ("EvaluationRepeats", "dropout")
    assert made == [Forgetful]


def test_other_weights_are_tried_only_where_it_is_in_question_whether_two_losses_are_one() -> None:
    class Smoothed(Healthy):
        steps = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            Smoothed.steps += trials.trying()
            return F.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.3)

    fit(MetricsRecomputed(), Smoothed())
    assert Smoothed.steps == 3 * 2


def test_chance_is_found_where_half_of_the_samples_is_refused() -> None:
    class Fixed(Healthy):
        def forward(self, inputs: Tensor) -> Tensor:
            source = torch.Generator()
            source.seed()
            outputs = super().forward(inputs.reshape(16, 4))
            return outputs + torch.randn(outputs.shape, generator=source)

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    alarm = alarm_of(SamplesIndependent(), Fixed())
    assert alarm is not None
    assert alarm.check == "random"


def test_a_mark_shows_whether_random_numbers_were_drawn() -> None:
    before = draws.mark()
    assert not draws.since(before)
    with draws.undrawn():
        torch.rand(1)
        assert draws.since(before)
    assert not draws.since(before)


def test_a_step_behind_a_decorator_gets_the_index_that_it_takes() -> None:
    def logged(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return step(*args, **kwargs)

        return wrapper

    class Decorated(Healthy):
        @logged
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return batch, batch_idx

        @logged
        def validation_step(self, batch: Any) -> Any:  # type: ignore[override]
            return batch

    trial = trials.own(Decorated(), Asked(), none)
    assert trial is not None
    assert trial.step("a batch", 3) == ("a batch", 3)
    assert trial.step("a batch", 3, "validation_step") == "a batch"


class Manual(Healthy):
    """Optimizes by hand: two optimizers, a schedule, clipping, and everything that reads the Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        first, second = self.optimizers()
        assert isinstance(first, torch.optim.SGD)
        assert self.trainer.max_epochs == 2
        self.toggle_optimizer(first)
        assert not self.head.weight.requires_grad
        self.untoggle_optimizer(first)
        loss = F.cross_entropy(self(batch[0]), batch[1])
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        assert self.head.weight.grad is not None
        self.clip_gradients(second, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        first.step()
        second.step(lambda: None)
        self.lr_schedulers().step()
        self.log("rate", self.lr_schedulers().get_last_lr()[0])
        return loss

    def configure_optimizers(self) -> Any:
        first, second = torch.optim.SGD(self.body.parameters(), 0.1), torch.optim.Adam(self.head.parameters(), 0.02)
        return [first, second], [torch.optim.lr_scheduler.OneCycleLR(second, 0.02, total_steps=100)]


class _Tries(Guard):
    """Runs the step of a copy in every batch."""

    level = "cheap"
    checks: ClassVar[dict[str, str]] = {}

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        trial = trials.own(pl_module, trainer, self.skip)
        assert trial is not None
        with trial.running():
            assert trial.step(batch, batch_idx) is not None


def test_the_step_of_a_copy_runs_under_manual_optimization_and_leaves_the_training_as_it_is() -> None:
    ends = []
    for guards in ([], [_Tries(), ClippingActs(), StepsTaken(), LearningRate()]):
        module = Manual()
        torch.manual_seed(1)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        fit(guards, module)
        ends.append([*module.state_dict().values()])
    assert all(map(torch.equal, *ends))


def test_a_copy_can_read_its_trainer_under_automatic_optimization() -> None:
    class Reads(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            assert self.trainer.num_training_batches == 8
            assert self.current_epoch == self.trainer.current_epoch
            return super().training_step(batch, batch_idx)

    fit(_Tries(), Reads())


def test_a_copy_does_not_wait_for_other_processes() -> None:
    class Many:
        world_size = 2
        optimizers = ()
        lr_scheduler_configs = ()
        strategy = None

    module = Healthy()
    trainer = IdleTrainer(Many(), module, {})
    with pytest.raises(RuntimeError, match="the other processes don't run it"):
        trainer.strategy.all_gather(None)
