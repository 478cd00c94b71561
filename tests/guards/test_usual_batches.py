"""Hooks that are held back in usual batches: the guards raise the same alarms, in the same call, as if none were."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from faultlab import guards
from faultlab.guards import Alarm, Guard
from faultlab.guards.support import listening, pace

AT = 90
"""A step between looks, after a batch in which all hooks were called."""


class Told(Guard):
    """Keeps the loop's steps of its hooks, which are all marked as those of unusual batches."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.calls: list[tuple[str, int]] = []

    @pace.unusual
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self.calls.append(("backward", self.loop.step))

    @pace.unusual
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.calls.append(("step", self.loop.step))

    @pace.unusual
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.calls.append(("end", self.loop.step))


class Loop:
    """A loop over one epoch, whose step ``AT`` is changed by ``ill``."""

    def __init__(self, optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        self.optimizer = optimizer(self.model.parameters(), lr=1e-3)
        self.batches: Any = DataLoader(torch.randn(1024, 4), batch_size=8)
        self.step = 0

    def run(self, watched: list[Any], ill: Callable[[Loop, torch.Tensor], None] | None = None, steps: int = 120) -> Any:
        """Return the step and the text of the alarm, None without one."""
        try:
            self.watching = guards.watch(self.model, self.optimizer, guards=watched, loader=self.batches)
            with self.watching:
                for step, batch in zip(range(steps), self.batches):
                    self.step = step
                    loss = self.model(batch).square().mean() + 1
                    if ill is not None and self.step == AT:
                        ill(self, loss)
                    else:
                        self.update(loss)
        except Alarm as alarm:
            return self.step, str(alarm)
        return None

    def update(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _step_twice(loop: Loop, loss: torch.Tensor) -> None:
    loop.update(loss)
    loop.optimizer.step()


def _lose_state(loop: Loop, loss: torch.Tensor) -> None:
    loop.optimizer.state.clear()
    loop.update(loss)


ILL: dict[str, Callable[[Loop, torch.Tensor], None]] = {
    "stepped twice": _step_twice,
    "no state": _lose_state,
    "loss not finite": lambda loop, loss: loop.update(loss * float("nan")),
    "usual": lambda loop, loss: loop.update(loss),
    "no step": lambda loop, loss: loss.backward(),
}


@pytest.mark.parametrize("name", ILL)
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD])
def test_the_alarm_is_that_of_guards_that_see_every_batch(
    name: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen() -> list[Any]:
        return [guards.StepsTaken(), guards.LossContract(leave_out=["stuck"])]

    rarely = Loop(make).run(chosen(), ILL[name])
    monkeypatch.setattr(pace, "unusual", lambda hook: hook)
    for guard in (guards.StepsTaken, guards.LossContract):
        for hook in ("on_before_backward", "on_before_optimizer_step", "on_train_batch_end"):
            if hook in vars(guard):
                monkeypatch.delattr(vars(guard)[hook], "unusual", raising=False)
                monkeypatch.delattr(vars(guard)[hook].__wrapped__, "unusual", raising=False)
    always = Loop(make).run(chosen(), ILL[name])
    assert rarely == always
    if name in ("stepped twice", "loss not finite") or (name == "no state" and make is torch.optim.Adam):
        assert always[0] == AT
    if name == "usual":
        assert always is None


def test_the_hooks_are_called_around_looks_and_not_in_usual_batches_between_them() -> None:
    loop = Loop()
    told = Told(loop)
    assert loop.run([told], steps=110) is None
    called = {step for kind, step in told.calls if kind == "backward"}
    # Two looks, the batch after them, and a usual one before any hook is held back; and the one before the next looks.
    assert {step for step in called if step >= 64} == {*range(64, 68), *range(79, 84), *range(95, 100)}


def test_hooks_that_were_held_back_are_called_in_their_order() -> None:
    loop = Loop()
    told = Told(loop)
    loop.run([told], _step_twice, steps=AT + 1)
    assert told.calls[-4:] == [("backward", AT), ("step", AT), ("step", AT), ("end", AT)]
    assert ("backward", AT - 1) not in told.calls


def test_a_watchful_guard_is_called_in_every_batch() -> None:
    loop = Loop()
    told = Told(loop)
    told.watchful = True
    loop.run([told], steps=110)
    assert [step for kind, step in told.calls if kind == "backward"] == list(range(110))


def _evaluate(loop: Loop, loss: torch.Tensor) -> None:
    loop.update(loss)
    loop.model.eval()
    with torch.no_grad():
        loop.model(torch.ones(2, 4))
    loop.model.train()


def _call_again(loop: Loop, loss: torch.Tensor) -> None:
    loop.update(loss + loop.model(torch.ones(2, 4)).mean())


def _accumulate(loop: Loop, loss: torch.Tensor) -> None:
    loop.optimizer.zero_grad()
    (loss / 2).backward()
    (loop.model(torch.ones(2, 4)).square().mean() / 2).backward()
    loop.optimizer.step()


def _search(loop: Loop, loss: torch.Tensor) -> None:
    def closure() -> torch.Tensor:
        loop.optimizer.zero_grad()
        again = loop.model(torch.ones(2, 4)).square().mean()
        again.backward()
        return again

    loop.optimizer.step(closure)


KINDS = [_evaluate, _call_again, _accumulate, _search, _step_twice, ILL["usual"]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_course_of_the_training_is_the_same_whether_hooks_are_left_out_or_not(kind: Any) -> None:
    courses = []
    for watchful in (False, True):
        loop = Loop()
        told = Told(loop)
        told.watchful = watchful
        losses = guards.LossFalls()
        loop.run([told, losses], kind, steps=110)
        view = loop.watching.trainer
        losses._settle()
        courses.append((view.global_step, view.batch_idx, view.total_batch_idx, losses._losses, told.calls))
    (*rarely, called), (*always, all_calls) = courses
    assert rarely == always
    assert len(rarely[3]) >= 109
    assert [call for call in called if call[1] == AT] in ([], [call for call in all_calls if call[1] == AT])


def test_an_exception_between_looks_finds_the_batch_that_it_is_raised_in() -> None:
    loop = Loop()

    def fail(loop: Loop, loss: torch.Tensor) -> None:
        loop.update(loss)
        raise KeyError("mine")

    told = Told(loop)
    with pytest.raises(KeyError, match="mine"):
        loop.run([told], fail)
    assert (told.calls[-1], loop.watching.trainer.global_step) == (("step", AT), AT + 1)


def test_a_loss_is_not_kept_after_its_batch() -> None:
    loop = Loop()
    kept: list[Any] = []

    def keep(loop: Loop, loss: torch.Tensor) -> None:
        kept.append(weakref.ref(loss))
        loop.update(loss)

    loop.run([guards.StepsTaken()], keep)
    assert kept[0]() is None


def test_the_calls_of_the_model_are_not_observed_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where another test of this process has compiled something, the registered hooks stay.
    monkeypatch.setattr(listening, "_compiles", lambda: False)
    loop = Loop()
    hooked = []

    def note(loop: Loop, loss: torch.Tensor) -> None:
        loop.update(loss)

    original = loop.update

    def update(loss: torch.Tensor) -> None:
        hooked.append(bool(loop.model._forward_pre_hooks))
        original(loss)

    loop.update = update  # type: ignore[method-assign]
    assert loop.run([Told(loop)], note, steps=110) is None
    assert all(hooked[: pace.FIRST]), "every step is looked at"
    resting = [step for step, has in enumerate(hooked) if not has]
    assert resting == [*range(69, 79), *range(85, 95), *range(101, 110)]
    assert not loop.model._forward_pre_hooks


def _leave_out(loop: Loop, loss: torch.Tensor) -> None:
    """A batch that is not trained on, or is skipped before the model is called."""


def _step_alone(loop: Loop, loss: torch.Tensor) -> None:
    loop.optimizer.step()


def _scale(loop: Loop, loss: torch.Tensor) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    loop.optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(loop.optimizer)
    scaler.update()


@pytest.mark.parametrize("kind", [_leave_out, _step_alone, _scale])
def test_an_unusual_batch_is_seen_for_what_it_is_although_calls_of_the_model_are_not_observed(kind: Any) -> None:
    loop = Loop()
    told = Told(loop)
    assert loop.run([told, guards.StepsTaken(patience=3), guards.LossFalls()], kind, steps=120) is None
    assert (("step", AT) in told.calls) is (kind is _step_alone)
    assert loop.watching.trainer.is_scaled is (kind is _scale)
    steps = 119 if kind is _leave_out else 120
    assert loop.watching.trainer.global_step == steps


class Epochs(Guard):
    """Keeps the steps of its hooks at the starts and ends of epochs, which are called rarely."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.first_batches: list[int] = []

    @pace.sparse
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.starts.append(trainer.global_step)

    @pace.sparse
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.ends.append(trainer.global_step)

    @pace.sparse
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and not _is_looked_at(trainer.global_step):
            self.first_batches.append(trainer.global_step)


def _is_looked_at(step: int) -> bool:
    """Return whether all hooks are called in a step, because of looks in it or before it."""
    return pace.is_look(step) or pace.is_look(step - 1)


class EveryEpoch(Epochs):
    """The same, but called in every epoch."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.starts.append(trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.ends.append(trainer.global_step)


def test_the_starts_of_short_epochs_are_events_as_rarely_as_looks() -> None:
    loop = Loop()
    loop.batches = DataLoader(torch.randn(80, 4), batch_size=8)
    rarely, always = Epochs(), EveryEpoch()
    with guards.watch(loop.model, loop.optimizer, guards=[rarely, always], loader=loop.batches):
        for _ in range(80):
            for batch in loop.batches:
                loop.update(loop.model(batch).square().mean() + 1)
    assert always.starts == [*range(0, 800, 10)]
    assert always.ends == [*range(10, 810, 10)]
    assert rarely.starts == [*range(0, 70, 10), *range(80, 260, 20), *range(280, 520, 40), 610, 740]
    assert rarely.ends == [*rarely.starts[1:], 800], "the last epoch is judged, too"
    assert rarely.first_batches == [step for step in rarely.starts if not _is_looked_at(step)]


def test_guards_of_ranks_rest_between_looks_where_there_is_one_rank() -> None:
    together = [guards.Stragglers(), guards.RanksAgree(), guards.DataSharded(), guards.CollectivesAgree()]
    assert Loop().run(together) is None
    assert all(guard.dormant for guard in together)
